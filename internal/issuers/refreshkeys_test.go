package issuers

import (
	"crypto/rand"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/keyturn/keyturn/internal/session"
)

// TestRefreshKeysByID follows one key from its creation to its revocation, with and without sessions in the spec.
func TestRefreshKeysByID(t *testing.T) {
	r := NewRegistry()
	r.markSynced()
	issuer := withSessions(newIssuer("shop", "https://shop.example", 0))
	name := nameOf(issuer)
	add(t, r, issuer, newRing(t, issuer))
	keys := newRefreshKeys(t, issuer)
	id := keys.All()[0].ID
	want := func(when string, known, dropped bool) {
		t.Helper()
		if got := r.RefreshKeyKnown(name, id.String()); got != known {
			t.Errorf("%s: RefreshKeyKnown() = %v, want %v", when, got, known)
		}
		if got := r.RefreshKeyDropped(name, id.String()); got != dropped {
			t.Errorf("%s: RefreshKeyDropped() = %v, want %v", when, got, dropped)
		}
	}
	set := func(keys *session.Keys) {
		t.Helper()
		if err := r.setRefreshKeys(name, keys); err != nil {
			t.Fatal(err)
		}
	}
	want("before the Secret is known", false, false)
	set(keys)
	want("with the key", true, false)
	for _, other := range []string{"", "00000000", id.String() + "00", "MWtVjzi6p2O4ruhhJYB2KMeF8rpNgzP8fu1VGqUQOCU"} {
		if r.RefreshKeyKnown(name, other) || r.RefreshKeyDropped(name, other) {
			t.Errorf("the key %q is known or dropped, and there is none", other)
		}
	}
	if r.RefreshKeyKnown(types.NamespacedName{Namespace: "elsewhere", Name: "shop"}, id.String()) {
		t.Error("the key is known of another issuer")
	}

	without := issuer.DeepCopy()
	without.Spec.Sessions = nil
	add(t, r, without, newRing(t, without))
	want("without sessions", true, false)
	add(t, r, issuer, newRing(t, issuer))

	policy := RefreshKeyPolicy(issuer)
	policy.Revoked = []session.KeyID{id}
	decision, err := session.PlanKeys(epoch, policy, keys, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	set(decision.Keys)
	want("after the revocation", false, true)
	set(nil)
	want("when the Secret is gone", false, false)
}
