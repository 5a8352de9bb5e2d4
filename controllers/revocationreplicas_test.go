package controllers

import (
	"context"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/audit"
	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/replicas"
)

// leader is the revocation reconciler of a replica that leads, among replicas of which the test says how far they are.
type leader struct {
	*replica
	*TokenRevocationReconciler
	fleet *fakeFleet
	queue workqueue.TypedRateLimitingInterface[reconcile.Request]
}

// fakeFleet are replicas with the latest version that each has in force.
type fakeFleet struct {
	applied   map[string]string
	listeners []func()
	clock     clock.PassiveClock
	deaf      bool
}

func (f *fakeFleet) Coverage(namespace, version string) replicas.Coverage {
	c := replicas.Coverage{Known: len(f.applied) > 0 && !f.deaf, Live: len(f.applied), Until: f.clock.Now().Add(replicas.LeaseDuration)}
	for name, at := range f.applied {
		if (replicas.Position{"": at}).Reached(namespace, version) {
			c.Applied++
		} else {
			c.Lagging = append(c.Lagging, name)
		}
	}
	return c
}

func (f *fakeFleet) OnChange(_ context.Context, tell func()) { f.listeners = append(f.listeners, tell) }

func (r *replica) lead() *leader {
	fleet := &fakeFleet{applied: map[string]string{}, clock: r.clock}
	l := &leader{
		replica: r, fleet: fleet,
		TokenRevocationReconciler: &TokenRevocationReconciler{
			Client: withFields(r.WithWatch), Clock: r.clock, Verifiers: r.registry, Audit: audit.New(r.audited, r.clock),
			Replicas: fleet,
		},
		queue: workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]()),
	}
	r.Cleanup(l.queue.ShutDown)
	if err := l.wakeups().Start(r.Context(), l.queue); err != nil {
		r.Fatal(err)
	}
	return l
}

// says is what happens when a replica says how far it is; "" is that it is gone.
func (l *leader) says(name, version string) {
	if l.fleet.applied[name] = version; version == "" {
		delete(l.fleet.applied, name)
	}
	for _, tell := range l.fleet.listeners {
		tell()
	}
}

// woken takes what this has put into the queue.
func (l *leader) woken() (names []string) {
	for l.queue.Len() > 0 {
		request, _ := l.queue.Get()
		l.queue.Done(request)
		names = append(names, request.Name)
	}
	return names
}

// revoked makes a revocation and waits until this replica has it in force.
func (l *leader) revoked(name string) *v1alpha1.TokenRevocation {
	l.Helper()
	revocation := l.revoke(name, "shop", func(s *v1alpha1.TokenRevocationSpec) { s.Subject = name })
	eventually(l.replica, "the rule of "+name, func() error {
		if !l.registry.RuleApplied(issuers.IssuerOf(revocation), issuers.Rule(revocation)) {
			return errNotYet
		}
		return nil
	})
	return revocation
}

func (l *leader) reconciled(name string) reconcile.Result {
	l.Helper()
	result, err := l.Reconcile(l.replica.Context(), l.request(name))
	if err != nil {
		l.Fatalf("reconciling %s: %v", name, err)
	}
	return result
}

func (l *leader) want(name string, status metav1.ConditionStatus, count, message string) {
	l.Helper()
	revocation := l.revocation(name)
	condition := meta.FindStatusCondition(revocation.Status.Conditions, v1alpha1.ConditionEnforced)
	if condition == nil {
		l.Fatalf("%s has no condition Enforced", name)
	}
	if condition.Status != status || revocation.Status.Replicas != count || !strings.Contains(condition.Message, message) {
		l.Errorf("%s: Enforced=%s, replicas %q, %q; want %s, %q, and %q in the message",
			name, condition.Status, revocation.Status.Replicas, condition.Message, status, count, message)
	}
}

func newLeader(t *testing.T) *leader {
	w := newWorld(t)
	w.settled("shop")
	r := w.replica()
	r.heard("shop")
	return r.lead()
}

func TestEnforcedWaitsForEveryLiveReplica(t *testing.T) {
	l := newLeader(t)
	revocation := l.revoked("alice")
	before := revocation.ResourceVersion

	// Nobody has said anything, not even this replica.
	l.reconciled("alice")
	l.clock.Step(usualDelay)
	l.reconciled("alice")
	l.want("alice", metav1.ConditionFalse, "", "cannot say how far")

	l.says("leader", before)
	l.says("second", "1")
	l.reconciled("alice")
	l.want("alice", metav1.ConditionFalse, "", "cannot say how far") // it was said a moment ago
	l.clock.Step(sayingPause)
	if again := l.reconciled("alice").RequeueAfter; again <= 0 || again > replicas.LeaseDuration {
		t.Errorf("looks again after %s, want it before the Lease has run out", again)
	}
	l.want("alice", metav1.ConditionFalse, "1/2", "1 of 2 live replicas deny the tokens that it names. Waiting for second;")

	// Its own status has moved the version, and nobody has to follow that.
	l.woken()
	l.says("second", before)
	if woken := l.woken(); len(woken) != 1 || woken[0] != "alice" {
		t.Errorf("a report has woken %v, want the revocation that waits for it", woken)
	}
	l.reconciled("alice")
	l.want("alice", metav1.ConditionTrue, "2/2", "All live replicas (2/2) deny")
	l.says("second", l.revocation("alice").ResourceVersion)
	if woken := l.woken(); len(woken) > 0 {
		t.Errorf("a report has woken %v, and nothing waits", woken)
	}

	// One more replica has read everything before it says a word: that is no reason to write anything.
	version := l.revocation("alice").ResourceVersion
	l.says("third", version)
	l.reconciled("alice")
	l.want("alice", metav1.ConditionTrue, "2/2", "(2/2)")
	if after := l.revocation("alice").ResourceVersion; after != version {
		t.Error("the status was written again for a replica that has come")
	}
}

// In the milliseconds that replicas take nothing is written that is out of date at once.
func TestNothingIsSaidTooEarly(t *testing.T) {
	l := newLeader(t)
	revocation := l.revoked("alice")
	l.says("leader", revocation.ResourceVersion)
	l.says("second", "1")
	if again := l.reconciled("alice").RequeueAfter; again <= 0 || again > usualDelay {
		t.Errorf("looks again after %s", again)
	}
	if after := l.revocation("alice").ResourceVersion; after != revocation.ResourceVersion {
		t.Error("the status was written at once")
	}
}

// It is looked at again when a Lease runs out, of which nobody tells.
func TestADeadReplicaIsGivenUp(t *testing.T) {
	l := newLeader(t)
	revocation := l.revoked("alice")
	l.says("dead", "1")
	l.says("leader", revocation.ResourceVersion)
	l.reconciled("alice")
	l.clock.Step(usualDelay)
	again := l.reconciled("alice").RequeueAfter
	if again <= 0 || again > replicas.LeaseDuration {
		t.Errorf("looks again after %s", again)
	}
	l.want("alice", metav1.ConditionFalse, "1/2", "Waiting for dead;")
	l.says("dead", "")
	l.reconciled("alice")
	l.want("alice", metav1.ConditionTrue, "1/1", "(1/1)")
}

// A replica that comes and goes all the time is no reason to write the status of each revocation that waits all the time.
func TestWaitingIsSaidSeldom(t *testing.T) {
	l := newLeader(t)
	revocation := l.revoked("alice")
	l.says("leader", "1")
	l.reconciled("alice")
	l.clock.Step(usualDelay)
	l.reconciled("alice")
	written := l.revocation("alice").ResourceVersion
	for range 9 {
		l.clock.Step(time.Second)
		l.says(l.clock.Now().String(), "1")
		if again := l.reconciled("alice").RequeueAfter; again <= 0 || again > sayingPause {
			t.Errorf("looks again after %s", again)
		}
	}
	if now := l.revocation("alice").ResourceVersion; now != written {
		t.Error("the status was written again")
	}
	l.clock.Step(time.Second)
	l.reconciled("alice")
	l.want("alice", metav1.ConditionFalse, "0/10", "and 7 more;")
	// What they all wait for is said at once.
	for name := range l.fleet.applied {
		l.says(name, revocation.ResourceVersion)
	}
	l.reconciled("alice")
	l.want("alice", metav1.ConditionTrue, "10/10", "(10/10)")
}

// A leader that hears nothing of its own Lease says nothing of the others, and takes nothing back.
func TestADeafLeader(t *testing.T) {
	l := newLeader(t)
	first := l.revoked("alice")
	l.says("leader", first.ResourceVersion)
	l.reconciled("alice")
	l.want("alice", metav1.ConditionTrue, "1/1", "(1/1)")
	second := l.revoked("bob")
	l.says("leader", second.ResourceVersion)
	l.fleet.deaf = true
	for _, name := range []string{"alice", "bob"} {
		l.reconciled(name)
		l.clock.Step(usualDelay)
		l.reconciled(name)
	}
	l.want("alice", metav1.ConditionTrue, "1/1", "(1/1)")
	l.want("bob", metav1.ConditionFalse, "", "cannot say how far")
}

// An issuer that is deleted and made anew takes a revocation back, which is enforced again after that, also by a leader
// that has met it as enforced.
func TestEnforcedAgainUnderANewLeader(t *testing.T) {
	l := newLeader(t)
	revocation := l.revoked("alice")
	l.says("leader", revocation.ResourceVersion)
	l.reconciled("alice")
	next := l.replica.lead()
	next.reconciled("alice")
	next.remove(next.issuer("shop"))
	next.reconciled("alice")
	next.wantRevocation("alice", v1alpha1.ConditionEnforced, metav1.ConditionFalse, v1alpha1.ReasonIssuerNotFound)
	next.create("shop")
	next.world.reconcile("shop")
	next.says("leader", next.revocation("alice").ResourceVersion)
	next.reconciled("alice")
	next.want("alice", metav1.ConditionTrue, "1/1", "(1/1)")
}

// A new leader does not doubt what the last one has found out, although no replica has reported the version that the
// status was written with.
func TestANewLeaderKeepsWhatIsEnforced(t *testing.T) {
	l := newLeader(t)
	revocation := l.revoked("alice")
	l.says("leader", revocation.ResourceVersion)
	l.reconciled("alice")
	l.want("alice", metav1.ConditionTrue, "1/1", "(1/1)")
	version := l.revocation("alice").ResourceVersion

	next := l.lead()
	next.says("leader", revocation.ResourceVersion)
	next.says("second", revocation.ResourceVersion)
	next.reconciled("alice")
	if after := next.revocation("alice").ResourceVersion; after != version {
		t.Error("the new leader has written the status again")
	}
}

// A revocation of the same name, made anew, is another one.
func TestARevocationMadeAnewWaitsAnew(t *testing.T) {
	l := newLeader(t)
	first := l.revoked("alice")
	l.says("leader", first.ResourceVersion)
	l.says("second", first.ResourceVersion)
	l.reconciled("alice")
	l.want("alice", metav1.ConditionTrue, "2/2", "(2/2)")
	l.remove(first)
	second := l.revoked("alice")
	l.says("leader", second.ResourceVersion)
	l.reconciled("alice")
	l.clock.Step(usualDelay)
	l.reconciled("alice")
	l.want("alice", metav1.ConditionFalse, "1/2", "Waiting for second;")
	l.remove(second)
	l.reconciled("alice")
	if len(l.waiting.known) > 0 {
		t.Errorf("%v is remembered of a revocation that is gone", l.waiting.known)
	}
}

func TestSome(t *testing.T) {
	for names, want := range map[string]string{"a": "a", "a b c": "a, b, c", "a b c d e": "a, b, c and 2 more"} {
		if got := some(strings.Fields(names)); got != want {
			t.Errorf("%s: %q, want %q", names, got, want)
		}
	}
}
