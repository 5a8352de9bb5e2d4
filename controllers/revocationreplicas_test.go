package controllers

import (
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/audit"
	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/replicas"
)

// leader is the revocation reconciler of a replica that leads, with Leases that the test writes.
type leader struct {
	*replica
	*TokenRevocationReconciler
	queue workqueue.TypedRateLimitingInterface[reconcile.Request]
}

func (r *replica) lead() *leader {
	l := &leader{
		replica: r,
		TokenRevocationReconciler: &TokenRevocationReconciler{
			Client: withFields(r.WithWatch), Clock: r.clock, Verifiers: r.registry, Audit: audit.New(r.audited, r.clock),
			Replicas: replicas.NewFleet("leader", r.clock),
		},
		queue: workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]()),
	}
	r.Cleanup(l.queue.ShutDown)
	return l
}

// says is the event of a Lease in which a replica says how far it is. The time moves on, as between any two renewals.
func (l *leader) says(name, version string) {
	l.clock.Step(time.Millisecond)
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{"keyturn.dev/applied-revocations": `{"":"` + version + `"}`}},
		Spec:       coordinationv1.LeaseSpec{RenewTime: ptr.To(metav1.NewMicroTime(l.clock.Now())), LeaseDurationSeconds: ptr.To[int32](20)},
	}
	l.onLease().Update(l.replica.Context(), event.UpdateEvent{ObjectOld: lease, ObjectNew: lease}, l.queue)
}

// woken takes what the Leases have put into the queue.
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
	l.want("alice", metav1.ConditionFalse, "", "has not yet reported")

	l.says("leader", before)
	l.says("second", "1")
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

func TestADeadReplicaIsGivenUp(t *testing.T) {
	l := newLeader(t)
	revocation := l.revoked("alice")
	l.says("dead", "1")
	l.clock.Step(replicas.LeaseDuration - time.Second)
	l.says("leader", revocation.ResourceVersion)
	l.reconciled("alice")
	l.clock.Step(usualDelay)
	again := l.reconciled("alice").RequeueAfter
	l.want("alice", metav1.ConditionFalse, "1/2", "Waiting for dead;")
	l.clock.Step(again)
	l.reconciled("alice")
	l.want("alice", metav1.ConditionTrue, "1/1", "(1/1)")

	// It was only cut off, has served on, and does not know of the revocation.
	l.says("dead", "1")
	if woken := l.woken(); len(woken) != 1 {
		t.Errorf("its return has woken %v, want what it lags behind with", woken)
	}
	l.reconciled("alice")
	l.want("alice", metav1.ConditionFalse, "1/2", "Waiting for dead;")
	l.says("dead", revocation.ResourceVersion)
	l.reconciled("alice")
	l.want("alice", metav1.ConditionTrue, "2/2", "(2/2)")
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
