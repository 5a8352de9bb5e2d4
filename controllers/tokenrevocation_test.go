package controllers

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/audit"
	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/token"
)

// assess runs the revocation reconciler once, with what this replica knows.
func (r *replica) assess(name string) (ctrl.Result, error) {
	return r.assessWith(r.journal.record(withFields(r.WithWatch)), name)
}

func (r *replica) assessWith(c client.Client, name string) (ctrl.Result, error) {
	r.revocations.Client, r.revocations.Clock, r.revocations.Verifiers = c, r.clock, r.registry
	r.revocations.Audit = audit.New(r.audited, r.clock)
	return r.revocations.Reconcile(r.Context(), r.request(name))
}

// assessedLate is assessed, and again when it is time to say that it takes long.
func (r *replica) assessedLate(revocation *v1alpha1.TokenRevocation) ctrl.Result {
	r.Helper()
	if again := r.assessed(revocation).RequeueAfter; again <= 0 || again > usualDelay {
		r.Errorf("RequeueAfter = %s, want a short time", again)
	}
	r.clock.Step(usualDelay)
	return r.assessed(revocation)
}

// assessed creates nothing: it waits until the replica has heard of the revocation, and runs the reconciler.
func (r *replica) assessed(revocation *v1alpha1.TokenRevocation) ctrl.Result {
	r.Helper()
	eventually(r, "the rule of "+revocation.Name, func() error {
		if !r.registry.RuleApplied(issuers.IssuerOf(revocation), issuers.Rule(revocation)) {
			return errNotYet
		}
		return nil
	})
	result, err := r.assess(revocation.Name)
	if err != nil {
		r.Fatalf("reconciling the TokenRevocation %s: %v", revocation.Name, err)
	}
	return result
}

func (w *world) revocation(name string) *v1alpha1.TokenRevocation {
	return fetch(w, name, &v1alpha1.TokenRevocation{})
}

func (w *world) wantRevocation(name, kind string, status metav1.ConditionStatus, reason string) {
	w.Helper()
	revocation := w.revocation(name)
	condition := meta.FindStatusCondition(revocation.Status.Conditions, kind)
	switch {
	case condition == nil:
		w.Errorf("%s has no condition %s: %+v", name, kind, revocation.Status.Conditions)
	case condition.Status != status || condition.Reason != reason:
		w.Errorf("%s: %s=%s (%s: %s), want %s (%s)", name, kind, condition.Status, condition.Reason, condition.Message, status, reason)
	case condition.ObservedGeneration != revocation.Generation || revocation.Status.ObservedGeneration != revocation.Generation:
		w.Errorf("%s: %s is not about generation %d", name, kind, revocation.Generation)
	}
}

func (w *world) wantEnforced(name string) {
	w.Helper()
	w.wantRevocation(name, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted)
	w.wantRevocation(name, v1alpha1.ConditionEnforced, metav1.ConditionTrue, v1alpha1.ReasonEnforced)
}

// heard waits until the replica has the issuer's ring as it is.
func (r *replica) heard(name string) {
	r.Helper()
	r.wantSoon(r.token(r.issuer(name)), token.Allowed)
}

func TestRevocationOfEveryKind(t *testing.T) {
	tests := []struct {
		target string
		spec   func(*v1alpha1.TokenRevocationSpec)
		want   token.Reason
		// timed kinds hit what was issued before; the others whatever was signed by the creation.
		timed bool
	}{
		{"tokenID=token-1", func(s *v1alpha1.TokenRevocationSpec) { s.TokenID = "token-1" }, token.Revoked, false},
		{"sessionID=session-1", func(s *v1alpha1.TokenRevocationSpec) { s.SessionID = "session-1" }, token.Revoked, false},
		{"subject=alice", func(s *v1alpha1.TokenRevocationSpec) { s.Subject = "alice" }, token.Revoked, true},
		{"clientID=shop", func(s *v1alpha1.TokenRevocationSpec) { s.ClientID = "shop" }, token.Revoked, true},
		{"audience=shop-api", func(s *v1alpha1.TokenRevocationSpec) { s.Audience = "shop-api" }, token.Revoked, true},
		{"all", func(s *v1alpha1.TokenRevocationSpec) { s.All = ptr.To(true) }, token.Revoked, true},
	}
	w := newWorld(t)
	issuer := w.settled("shop")
	r := w.replica()
	for _, test := range tests {
		t.Run(test.target, func(t *testing.T) {
			earlier := w.token(issuer)
			r.wantSoon(earlier, token.Allowed)
			// The API server keeps the creation to the second, and a token of that very second is good.
			w.clock.SetTime(w.clock.Now().Add(time.Second))
			revocation := w.revoke("r", "shop", test.spec, func(s *v1alpha1.TokenRevocationSpec) {
				if test.timed {
					s.IssuedBefore = ptr.To(metav1.NewTime(w.clock.Now()))
				}
			})
			r.wantSoon(earlier, test.want)
			r.assessed(revocation)
			w.wantEnforced("r")
			got := w.revocation("r").Status
			if got.Target != test.target {
				t.Errorf("target = %q, want %q", got.Target, test.target)
			}
			want := revocation.CreationTimestamp.Add(time.Second + skew + lifetime + skew)
			if test.timed {
				want = w.clock.Now().Truncate(time.Second).Add(lifetime + skew)
			}
			if got.ExpiresAt == nil || !got.ExpiresAt.Time.Equal(want) {
				t.Errorf("expiresAt = %v, want %s", got.ExpiresAt, want)
			}
			w.remove(revocation)
			r.wantSoon(earlier, token.Allowed)
		})
	}
}

// A key id that no key of the issuer has, nor had, is most likely a mistake. The revocation says so, and stays.
func TestRevocationOfAKeyThatIsNotThere(t *testing.T) {
	w := newWorld(t)
	issuer := w.settled("shop")
	r := w.replica()
	raw := w.token(issuer)
	r.wantSoon(raw, token.Allowed)
	revocation := w.revoke("mistyped", "shop", key("no-such-key"))
	r.assessed(revocation)
	w.wantRevocation("mistyped", v1alpha1.ConditionEnforced, metav1.ConditionFalse, v1alpha1.ReasonKeyNotFound)
	if expiresAt := w.revocation("mistyped").Status.ExpiresAt; expiresAt != nil {
		t.Errorf("expiresAt = %v, want none: nobody would ever see the mistake", expiresAt)
	}
	r.wantSoon(raw, token.Allowed)
}

// Without issuedBefore it is the recorded creation: what was issued before is denied, and what was issued in that very
// second is good.
func TestIssuedBeforeDefaultsToCreation(t *testing.T) {
	w := newWorld(t)
	issuer := w.settled("shop")
	r := w.replica()
	revocation := w.revoke("all", "shop", func(s *v1alpha1.TokenRevocationSpec) { s.All = ptr.To(true) })
	created := revocation.CreationTimestamp.Time
	w.clock.SetTime(created.Add(-time.Second))
	before := w.token(issuer)
	w.clock.SetTime(created)
	r.wantSoon(before, token.Revoked)
	r.wantSoon(w.token(issuer), token.Allowed)
	r.assessed(revocation)
	if got, want := w.revocation("all").Status.ExpiresAt, created.Add(lifetime+skew); got == nil || !got.Time.Equal(want) {
		t.Errorf("expiresAt = %v, want %s", got, want)
	}
}

// Enforced says that the key is out of the JWKS too, and not only denied by the webhook.
func TestRevocationOfKeyIsEnforcedOnceTheRingHasDroppedIt(t *testing.T) {
	w := newWorld(t)
	w.settled("shop")
	r := w.replica()
	bad := w.ring("shop").Active().ID
	r.heard("shop")
	revocation := w.revoke("leak", "shop", key(bad))
	if again := r.assessedLate(revocation).RequeueAfter; again <= 0 || again > slowestRetry {
		t.Errorf("RequeueAfter = %s, want a short time", again)
	}
	w.wantRevocation("leak", v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted)
	w.wantRevocation("leak", v1alpha1.ConditionEnforced, metav1.ConditionFalse, v1alpha1.ReasonNotYetApplied)
	w.reconcile("shop")
	r.heard("shop")
	r.assessed(revocation)
	w.wantEnforced("leak")
}

func TestRevocationBeforeItsIssuer(t *testing.T) {
	w := newWorld(t)
	r := w.replica()
	revocation := w.revoke("all", "shop", func(s *v1alpha1.TokenRevocationSpec) { s.All = ptr.To(true) })
	if result := r.assessed(revocation); result.RequeueAfter != 0 {
		t.Errorf("RequeueAfter = %s, want none: the creation of the issuer is an event", result.RequeueAfter)
	}
	for _, kind := range []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionEnforced} {
		w.wantRevocation("all", kind, metav1.ConditionFalse, v1alpha1.ReasonIssuerNotFound)
	}
	// The rule is in force from the issuer's first moment.
	issuer := w.settled("shop")
	w.clock.SetTime(revocation.CreationTimestamp.Add(-time.Second))
	earlier := w.token(issuer)
	w.clock.SetTime(revocation.CreationTimestamp.Time)
	r.wantSoon(earlier, token.Revoked)
	r.assessed(revocation)
	w.wantEnforced("all")
}

// A leader that has just started says nothing about revocations before it knows them all: each would seem not in force,
// and its status would turn false and true again.
func TestNothingIsSaidBeforeTheFirstSync(t *testing.T) {
	w := newWorld(t)
	w.settled("shop")
	w.revoke("all", "shop", func(s *v1alpha1.TokenRevocationSpec) { s.All = ptr.To(true) })
	unsynced := &replica{world: w, registry: issuers.NewRegistry()}
	w.journal.take()
	result, err := unsynced.assess("all")
	if err != nil || result.RequeueAfter != applyPoll {
		t.Errorf("result %+v, error %v; want another look after %s", result, err, applyPoll)
	}
	if got := w.journal.take(); len(got) > 0 {
		t.Errorf("writes = %v, want none", got)
	}
}

// Where something is in the way for long, looking again costs little.
func TestRevocationWaitsPatientlyForRing(t *testing.T) {
	w := newWorld(t)
	w.create("shop") // and nobody makes its ring
	r := w.replica()
	revocation := w.revoke("all", "shop", func(s *v1alpha1.TokenRevocationSpec) { s.All = ptr.To(true) })
	tests := map[string]struct{ age, want time.Duration }{
		"at once":         {0, raceRetry},
		"after 2 seconds": {2 * time.Second, 2 * time.Second},
		"after an hour":   {time.Hour, slowestRetry},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w.clock.SetTime(revocation.CreationTimestamp.Add(test.age))
			if got := r.assessed(revocation).RequeueAfter; got != test.want {
				t.Errorf("RequeueAfter = %s, want %s", got, test.want)
			}
		})
	}
}
