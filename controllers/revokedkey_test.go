package controllers

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/keyring"
	"github.com/keyturn/keyturn/internal/token"
)

// revoke creates a revocation of one of the issuer's tokens or keys.
func (w *world) revoke(name, issuer string, edits ...func(*v1alpha1.TokenRevocationSpec)) *v1alpha1.TokenRevocation {
	w.Helper()
	revocation := &v1alpha1.TokenRevocation{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		Spec:       v1alpha1.TokenRevocationSpec{IssuerRef: v1alpha1.IssuerReference{Name: issuer}},
	}
	for _, edit := range edits {
		edit(&revocation.Spec)
	}
	if err := w.Create(w.Context(), revocation); err != nil {
		w.Fatalf("creating the TokenRevocation %s: %v", name, err)
	}
	return revocation
}

func key(id string) func(*v1alpha1.TokenRevocationSpec) {
	return func(spec *v1alpha1.TokenRevocationSpec) { spec.KeyID = id }
}

// A revoked key leaves at once, whatever its state, and the ring is whole again after the same reconciliation.
func TestRevokedKeyLeavesTheRing(t *testing.T) {
	tests := map[keyring.State]struct {
		// takesOver is the state of the key that signs afterwards.
		takesOver keyring.State
		// exception is that of the key which signs afterwards.
		exception string
		// want are the events in order.
		want []string
	}{
		keyring.Active:   {keyring.Next, keyring.ExceptionCompromise, []string{"Warning KeyRevoked", "Normal KeyActivated", "Normal KeyCreated"}},
		keyring.Next:     {keyring.Active, "", []string{"Warning KeyRevoked", "Normal KeyCreated"}},
		keyring.Retiring: {keyring.Active, "", []string{"Warning KeyRevoked"}},
	}
	for state, test := range tests {
		t.Run(string(state), func(t *testing.T) {
			w := newWorld(t)
			w.settled("shop")
			w.clock.Step(period)
			w.reconcile("shop") // now there is a key in each state, and Next has just been published
			ring := w.ring("shop")
			bad, takesOver := first(ring, state).ID, first(ring, test.takesOver).ID
			w.told()

			w.revoke("leak", "shop", key(bad))
			w.reconcile("shop")
			w.wantReady("shop")
			ring = w.ring("shop")
			if ring.Key(bad) != nil || strings.Contains(string(w.ringSecret("shop").Data[v1alpha1.DataRing]), `"kid":"`+bad) {
				t.Error("the revoked key is still in the ring")
			}
			if !slices.Contains(ring.Dropped, bad) {
				t.Error("the ring does not remember that it had the key")
			}
			if ring.Next() == nil || ring.Active().ID != takesOver || ring.Active().Exception != test.exception {
				t.Errorf("Active is %s with exception %q, want %s with %q", ring.Active().ID, ring.Active().Exception, takesOver, test.exception)
			}
			var told []string
			for _, event := range w.told() {
				told = append(told, strings.Join(strings.Fields(event)[:2], " "))
			}
			if !slices.Equal(told, test.want) {
				t.Errorf("events = %q, want %q", told, test.want)
			}
		})
	}
}

func first(ring *keyring.Ring, state keyring.State) *keyring.Key {
	for i := range ring.Keys {
		if ring.Keys[i].State == state {
			return &ring.Keys[i]
		}
	}
	return nil
}

func TestRevokedActiveAndNextAtOnce(t *testing.T) {
	w := newWorld(t)
	issuer := w.settled("shop")
	r := w.replica()
	stolen := w.token(issuer)
	r.wantSoon(stolen, token.Allowed)
	w.revoke("leak-1", "shop", key(w.ring("shop").Active().ID))
	w.revoke("leak-2", "shop", key(w.ring("shop").Next().ID))
	w.reconcile("shop")
	w.wantReady("shop")
	if got := w.ring("shop").Active().Exception; got != keyring.ExceptionCompromise {
		t.Errorf("exception = %q, want %q: there was no key that verifiers could know", got, keyring.ExceptionCompromise)
	}
	r.wantSoon(stolen, token.KeyRevoked)
	r.wantSoon(w.token(issuer), token.Allowed)
}

func TestRevokedUnknownKeyChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.settled("shop")
	w.settled("other")
	w.revoke("unknown", "shop", key("no-such-key"))
	w.revoke("elsewhere", "other", key(w.ring("shop").Active().ID))
	w.journal.take()
	w.reconcile("shop")
	if got := w.journal.take(); len(got) > 0 {
		t.Errorf("writes = %v, want none", got)
	}
	w.wantReady("shop")
}

// A compromised key must go even while somebody else's object is in the way of what is derived from the ring.
func TestRevokedKeyLeavesInSpiteOfConflict(t *testing.T) {
	w := newWorld(t)
	w.settled("shop")
	w.settled("other")
	edit(w, w.mounted("shop"), relabel[*corev1.Secret](v1alpha1.LabelIssuer, "other"))
	bad := w.ring("shop").Active().ID
	w.revoke("leak", "shop", key(bad))
	w.reconcile("shop")
	w.wantCondition("shop", v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict)
	if w.ring("shop").Key(bad) != nil || strings.Contains(w.jwks("shop").Data[v1alpha1.DataJWKS], bad) {
		t.Error("the revoked key is still in the ring or in the JWKS")
	}
	if status := w.issuer("shop").Status; status.ActiveKeyID == "" || status.ActiveKeyID == bad {
		t.Errorf("activeKeyID = %q, want that of the key that took over", status.ActiveKeyID)
	}
}

// Lifting a revocation brings no key back.
func TestRevocationOfKeyLifted(t *testing.T) {
	w := newWorld(t)
	w.settled("shop")
	bad := w.ring("shop").Active().ID
	leak := w.revoke("leak", "shop", key(bad))
	w.reconcile("shop")
	w.remove(leak)
	w.clock.Step(time.Hour)
	w.reconcile("shop")
	w.wantReady("shop")
	if w.ring("shop").Key(bad) != nil {
		t.Error("the key is back")
	}
}
