package replicas

import (
	"context"
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
	return &fleetOf{NewFleet("self", nil, clk), t, clk}
}

// lease is what a replica whose clock is wrong by skew writes now.
func (f *fleetOf) lease(name, applied string, skew time.Duration) *coordinationv1.Lease {
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{appliedAnnotation: `{"":"` + applied + `"}`}},
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity:       &name,
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
	f.observe(f.lease("other", "100", 0))
	if c := f.Coverage("shop", "100"); c.Known {
		t.Errorf("coverage %+v before its own Lease was seen", c)
	}
	f.observe(f.lease("self", "100", 0))
	f.want(2, 2)
	f.clock.Step(time.Second)
	f.observe(f.lease("third", "99", 0))
	f.want(2, 3, "third")
	if until := f.Coverage("shop", "100").Until; !until.Equal(f.clock.Now().Add(LeaseDuration)) {
		t.Errorf("given up at %s", until)
	}
	gone := f.lease("third", "99", 0)
	gone.Spec.HolderIdentity = ptr.To("")
	f.observe(gone)
	f.want(2, 2)
}

// A Lease that somebody deletes says nothing of its replica, which may live and lag.
func TestADeletedLeaseCountsUntilItRunsOut(t *testing.T) {
	f := newFleet(t)
	f.observe(f.lease("self", "100", 0))
	lease := f.lease("other", "99", 0)
	f.observe(lease)
	f.deleted(lease)
	f.want(1, 2, "other")
	f.observe(f.lease("other", "100", 0)) // it writes its Lease again
	f.want(2, 2)
	f.deleted(lease)
	f.clock.Step(LeaseDuration)
	f.observe(f.lease("self", "100", 0))
	f.want(1, 1)
	if len(f.members) != 1 {
		t.Errorf("%d replicas are remembered, want 1", len(f.members))
	}
}

// A replica that is not heard of counts for as long as its Lease, by the leader's clock, and no longer; whatever the
// clock of the replica says.
func TestTheDeadCountUntilTheirLeaseRunsOut(t *testing.T) {
	for _, skew := range []time.Duration{-clockError, 0, time.Hour} {
		f := newFleet(t)
		f.observe(f.lease("self", "100", 0))
		f.observe(f.lease("dead", "99", skew))
		same := f.lease("dead", "99", skew)
		f.clock.Step(LeaseDuration - time.Millisecond)
		f.observe(same) // as a relist of the watch would
		f.observe(f.lease("self", "100", 0))
		f.want(1, 2, "dead")
		f.clock.Step(time.Millisecond)
		f.want(1, 1)
		f.observe(f.lease("dead", "99", skew))
		f.want(1, 2, "dead")
	}
}

// Who starts does not wait for those that were dead long before.
func TestTheLongDeadDoNotCount(t *testing.T) {
	f := newFleet(t)
	f.observe(f.lease("self", "100", 0))
	f.observe(f.lease("dead", "99", -LeaseDuration-clockError-time.Second))
	f.want(1, 1)
	f.observe(f.lease("slow clock", "99", -LeaseDuration-clockError))
	f.want(1, 2, "slow clock")
}

// A watch that has stalled is not taken for the death of the others.
func TestALeaderThatHearsNothingSaysNothing(t *testing.T) {
	f := newFleet(t)
	f.observe(f.lease("other", "99", 0))
	f.clock.Step(renewPeriod)
	f.observe(f.lease("self", "100", 0))
	for range 2 * LeaseDuration / time.Second {
		f.clock.Step(time.Second)
		if c := f.Coverage("shop", "100"); c.Known && c.Applied == c.Live {
			t.Fatalf("coverage %+v after %s: the other is alive, and only the watch stands still", c, f.clock.Since(start))
		}
	}
}

func TestChanges(t *testing.T) {
	f := newFleet(t)
	ctx, cancel := context.WithCancel(t.Context())
	told := 0
	f.OnChange(ctx, func() { told++ })
	tells := func(what string, lease *coordinationv1.Lease, want bool) {
		t.Helper()
		told = 0
		if f.observe(lease); (told == 1) != want || told > 1 {
			t.Errorf("%s tells %d times, want %t", what, told, want)
		}
	}
	tells("a new replica", f.lease("a", "1", 0), true)
	tells("the same renewal", f.lease("a", "2", 0), false)
	tells("a renewal", f.lease("a", "1", 1*time.Second), false)
	tells("progress", f.lease("a", "2", 2*time.Second), true)
	tells("a Lease that is not ours", &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "not ours"}}, false)
	gone := f.lease("a", "2", 3*time.Second)
	gone.Spec.HolderIdentity = nil
	tells("the end of a replica", gone, true)
	cancel()
	for range 1000 {
		if f.mu.Lock(); len(f.listeners) == 0 {
			f.mu.Unlock()
			break
		}
		f.mu.Unlock()
		time.Sleep(time.Millisecond)
	}
	tells("a replica after the term has ended", f.lease("b", "1", 0), false)
}

func TestHostileLeases(t *testing.T) {
	f := newFleet(t)
	unreadable := f.lease("b", "100", 0)
	unreadable.Annotations[appliedAnnotation] = "{"
	f.observe(unreadable)
	f.observe(f.lease("self", "100", 0))
	f.want(1, 2, "b")
	endless := f.lease("c", "1", 0)
	endless.Spec.LeaseDurationSeconds = ptr.To[int32](1 << 30)
	f.observe(endless)
	if f.clock.Step(2 * LeaseDuration); f.Coverage("shop", "100").Live != 0 {
		t.Error("a Lease counts for as long as somebody writes into it")
	}
}

func TestAbandoned(t *testing.T) {
	f := newFleet(t)
	f.observe(f.lease("dead", "1", 0))
	f.observe(f.lease("slow clock", "1", -2*abandonedAfter))
	f.clock.Step(abandonedAfter)
	f.observe(f.lease("self", "1", 0))
	f.observe(f.lease("slow clock", "1", -2*abandonedAfter))
	if got := f.abandoned(); len(got) > 0 {
		t.Errorf("%v are abandoned already", got)
	}
	f.clock.Step(time.Millisecond)
	if got := f.abandoned(); len(got) != 1 || got[0].Name != "dead" {
		t.Errorf("%v are abandoned, want the dead one", got)
	}
}
