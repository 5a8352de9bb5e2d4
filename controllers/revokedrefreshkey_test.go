package controllers

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keyturn/keyturn/api/v1alpha1"
)

// heardOfRefreshKey waits until the replica has the keys for refresh tokens as they are.
func (r *replica) heardOfRefreshKey(issuer string) {
	r.Helper()
	eventually(r, "the keys for refresh tokens of "+issuer, func() error {
		if !r.registry.RefreshKeyKnown(r.request(issuer).NamespacedName, r.newestRefreshKey(issuer)) {
			return errNotYet
		}
		return nil
	})
}

// A revoked key for refresh tokens leaves at once, and another one opens sessions. The ring is left alone.
func TestRevokedRefreshKey(t *testing.T) {
	w := newWorld(t)
	w.settled("shop", sessions)
	r := w.replica()
	r.heard("shop")
	r.heardOfRefreshKey("shop")
	bad, ring := w.newestRefreshKey("shop"), w.ringSecret("shop").ResourceVersion
	w.told()
	revocation := w.revoke("leak", "shop", key(bad))
	if again := r.assessedLate(revocation).RequeueAfter; again <= 0 || again > slowestRetry {
		t.Errorf("RequeueAfter = %s, want a short time", again)
	}
	w.wantRevocation("leak", v1alpha1.ConditionEnforced, metav1.ConditionFalse, v1alpha1.ReasonNotYetApplied)

	w.reconcile("shop")
	w.wantReady("shop")
	w.wantRefreshKeys("shop", w.newestRefreshKey("shop"))
	if w.newestRefreshKey("shop") == bad {
		t.Fatal("the revoked key is still in the Secret")
	}
	if told := strings.Join(w.told(), "\n"); !strings.Contains(told, "Warning RefreshKeyRevoked Key "+bad) {
		t.Errorf("no RefreshKeyRevoked in the events:\n%s", told)
	}
	if w.ringSecret("shop").ResourceVersion != ring {
		t.Error("the ring was written")
	}
	r.heardOfRefreshKey("shop")
	r.assessed(revocation)
	w.wantEnforced("leak")
	status := w.revocation("leak").Status
	if message := status.Conditions[1].Message; !strings.Contains(message, "refresh tokens are refused") {
		t.Errorf("the condition says %q", message)
	}
	// The access tokens of its sessions are the last that it can hit.
	if want := revocation.CreationTimestamp.Add(lifetime + skew); status.ExpiresAt == nil || status.ExpiresAt.Time.Before(want) {
		t.Errorf("expiresAt = %v, want at least %s", status.ExpiresAt, want)
	}
	// Lifting it brings the key not back.
	w.remove(revocation)
	w.reconcile("shop")
	w.wantRefreshKeys("shop", w.newestRefreshKey("shop"))
}

// An id of the same form that the issuer never had is most likely a mistake.
func TestRevocationOfARefreshKeyThatIsNotThere(t *testing.T) {
	w := newWorld(t)
	w.settled("shop", sessions)
	r := w.replica()
	r.heardOfRefreshKey("shop")
	bad := w.newestRefreshKey("shop")
	for name, id := range map[string]string{"unknown": "00000000", "capitals": strings.ToUpper(bad) + "A"} {
		revocation := w.revoke(name, "shop", key(id))
		w.reconcile("shop")
		r.assessed(revocation)
		w.wantRevocation(name, v1alpha1.ConditionEnforced, metav1.ConditionFalse, v1alpha1.ReasonKeyNotFound)
	}
	w.wantRefreshKeys("shop", bad)
}

// Where sessions were taken out of the spec nobody accepts a token of the key, and nobody drops it: its revocation must be
// there when they come back.
func TestRevokedRefreshKeyOfAnIssuerWithoutSessions(t *testing.T) {
	w := newWorld(t)
	issuer := w.settled("shop", sessions)
	r := w.replica()
	r.heardOfRefreshKey("shop")
	bad := w.newestRefreshKey("shop")
	edit(w, issuer, func(i *v1alpha1.TokenIssuer) { i.Spec.Sessions = nil })
	revocation := w.revoke("leak", "shop", key(bad))
	w.reconcile("shop")
	r.assessed(revocation)
	w.wantEnforced("leak")
	status := w.revocation("leak").Status
	if status.ExpiresAt != nil || !strings.Contains(status.Conditions[1].Message, "keep this revocation") {
		t.Errorf("status = %+v, want no end, and why", status)
	}
	edit(w, issuer, sessions)
	w.reconcile("shop")
	w.wantReady("shop")
	if got := w.newestRefreshKey("shop"); got == bad {
		t.Error("the revoked key is still there")
	}
	r.heardOfRefreshKey("shop")
	r.assessed(revocation)
	w.wantEnforced("leak")
	if w.revocation("leak").Status.ExpiresAt == nil {
		t.Error("expiresAt is empty, want the end of the last access token")
	}
}
