package replicas

import (
	"slices"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fleetOf is a fleet whose leader is "self", and a clock that the test turns.
type fleetOf struct {
	*Fleet
	*testing.T
	clock *clocktesting.FakeClock
}

func newFleet(t *testing.T) *fleetOf {
	clk := clocktesting.NewFakeClock(start)
	return &fleetOf{NewFleet("self", clk), t, clk}
}

// lease is what a replica whose clock is wrong by skew writes now.
func (f *fleetOf) lease(name, applied string, skew time.Duration) *coordinationv1.Lease {
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{appliedAnnotation: `{"":"` + applied + `"}`}},
		Spec: coordinationv1.LeaseSpec{
			RenewTime:            ptr.To(metav1.NewMicroTime(f.clock.Now().Add(skew))),
			LeaseDurationSeconds: ptr.To(int32(LeaseDuration / time.Second)),
		},
	}
}

func (f *fleetOf) want(applied, live int, lagging ...string) {
	f.Helper()
	c := f.Coverage("shop", "100")
	if c.Applied != applied || c.Live != live || !slices.Equal(c.Lagging, lagging) || !c.Known {
		f.Errorf("coverage %+v, want %d of %d and %v", c, applied, live, lagging)
	}
}

func TestCoverage(t *testing.T) {
	f := newFleet(t)
	if c := f.Coverage("shop", "100"); c.Known || c.Applied != 0 {
		t.Errorf("coverage %+v before any Lease was seen", c)
	}
	f.Observe(f.lease("other", "100", 0))
	if c := f.Coverage("shop", "100"); c.Known {
		t.Errorf("coverage %+v before its own Lease was seen", c)
	}
	f.Observe(f.lease("self", "100", 0))
	f.want(2, 2)
	f.clock.Step(time.Second)
	f.Observe(f.lease("third", "99", 0))
	f.want(2, 3, "third")
	if until := f.Coverage("shop", "100").Until; !until.Equal(f.clock.Now().Add(LeaseDuration)) {
		t.Errorf("given up at %s", until)
	}
	f.Forget("third")
	f.want(2, 2)
}

// A replica that is not heard of counts for as long as its Lease, by the leader's clock, and no longer; whatever the
// clock of the replica says.
func TestTheDeadCountUntilTheirLeaseRunsOut(t *testing.T) {
	for _, skew := range []time.Duration{-time.Hour, 0, time.Hour} {
		f := newFleet(t)
		f.Observe(f.lease("self", "100", 0))
		f.Observe(f.lease("dead", "99", skew))
		same := f.lease("dead", "99", skew)
		f.clock.Step(LeaseDuration - time.Millisecond)
		f.Observe(same) // as a relist of the watch would
		f.Observe(f.lease("self", "100", 0))
		f.want(1, 2, "dead")
		f.clock.Step(time.Millisecond)
		f.want(1, 1)
		if c := f.Observe(f.lease("dead", "99", skew)); c != Joined {
			t.Errorf("change %d of a replica that comes back, want that it has joined", c)
		}
		f.want(1, 2, "dead")
	}
}

// A leader that cannot renew its own Lease does not hear of the others either.
func TestALeaderThatIsCutOffSaysNothing(t *testing.T) {
	f := newFleet(t)
	f.Observe(f.lease("self", "100", 0))
	f.clock.Step(LeaseDuration)
	if c := f.Coverage("shop", "100"); c.Known {
		t.Errorf("coverage %+v, want that it is not known", c)
	}
}

func TestChanges(t *testing.T) {
	f := newFleet(t)
	for i, test := range []struct {
		lease *coordinationv1.Lease
		want  Change
	}{
		{f.lease("a", "1", 0), Joined},
		{f.lease("a", "2", 0), Unchanged}, // the same renewal
		{f.lease("a", "1", 1*time.Second), Unchanged},
		{f.lease("a", "2", 2*time.Second), Progressed},
		{&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "not ours"}}, Unchanged},
	} {
		if got := f.Observe(test.lease); got != test.want {
			t.Errorf("%d: change %d, want %d", i, got, test.want)
		}
	}
	unreadable := f.lease("b", "1", 0)
	unreadable.Annotations[appliedAnnotation] = "{"
	f.Observe(unreadable)
	f.Observe(f.lease("self", "100", 0))
	f.want(1, 3, "a", "b")
	endless := f.lease("c", "1", 0)
	endless.Spec.LeaseDurationSeconds = ptr.To[int32](1 << 30)
	f.Observe(endless)
	if f.clock.Step(2 * LeaseDuration); f.Coverage("shop", "100").Live != 0 {
		t.Error("a Lease counts for as long as somebody writes into it")
	}
}

func TestAbandoned(t *testing.T) {
	f := newFleet(t)
	f.Observe(f.lease("dead", "1", 0))
	f.clock.Step(LeaseDuration + abandonedAfter)
	f.Observe(f.lease("self", "1", 0))
	if got := f.abandoned(abandonedAfter); len(got) > 0 {
		t.Errorf("%v are abandoned already", got)
	}
	f.clock.Step(time.Millisecond)
	if got := f.abandoned(abandonedAfter); !slices.Equal(got, []string{"dead"}) {
		t.Errorf("%v are abandoned, want the dead one", got)
	}
}
