package issuers

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/ptr"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/session"
	"github.com/keyturn/keyturn/internal/token"
)

// withSessions gives an issuer sessions, with the defaults that the API server would fill in.
func withSessions(issuer *v1alpha1.TokenIssuer) *v1alpha1.TokenIssuer {
	issuer.Spec.Sessions = &v1alpha1.SessionPolicy{
		Login:          v1alpha1.LoginSources{ServiceAccounts: &v1alpha1.ServiceAccountLogin{}},
		AccessLifetime: duration(10 * time.Minute), IdleLifetime: duration(72 * time.Hour),
		AbsoluteLifetime: duration(336 * time.Hour), GraceWindow: duration(10 * time.Second), MaxPerSubject: 10,
	}
	return issuer
}

func newRefreshKeys(t testing.TB, issuer *v1alpha1.TokenIssuer) *session.Keys {
	t.Helper()
	decision, err := session.PlanKeys(epoch, RefreshKeyPolicy(issuer), nil, randomness{})
	if err != nil {
		t.Fatal(err)
	}
	return decision.Keys
}

func encodedKeys(t testing.TB, issuer *v1alpha1.TokenIssuer) ([]byte, error) {
	t.Helper()
	return session.EncodeKeys(newRefreshKeys(t, issuer))
}

// randomness is none: a test needs keys, not secrets.
type randomness struct{}

func (randomness) Read(p []byte) (int, error) { return len(p), nil }

func TestAuthority(t *testing.T) {
	r := NewRegistry()
	r.markSynced()
	issuer := newIssuer("shop", "https://shop.example", 0)
	add(t, r, issuer, newRing(t, issuer))
	if r.AuthorityByURL("https://shop.example") != nil || r.AuthorityByName("default", "shop") != nil {
		t.Fatal("an issuer without sessions has an authority")
	}
	issuer = withSessions(issuer.DeepCopy())
	issuer.Spec.Sessions.Claims.Fixed = []v1alpha1.FixedClaim{
		{Name: "tenant", Value: ptr.To("acme")}, {Name: "roles", Values: []string{"buyer"}},
	}
	add(t, r, issuer, newRing(t, issuer))
	a := r.AuthorityByURL("https://shop.example")
	if a == nil || a != r.AuthorityByName("default", "shop") {
		t.Fatalf("by URL %v, by name %v", a, r.AuthorityByName("default", "shop"))
	}
	if a.Session.Keys != nil {
		t.Error("there are keys for refresh tokens before their Secret is known")
	}
	keys := newRefreshKeys(t, issuer)
	if err := r.setRefreshKeys(nameOf(issuer), keys); err != nil {
		t.Fatal(err)
	}
	a = r.AuthorityByURL("https://shop.example")
	if a.Session.Keys != keys {
		t.Error("the keys for refresh tokens are not taken over")
	}
	if diff := cmp.Diff(map[string]any{"tenant": "acme", "roles": []string{"buyer"}}, a.FixedClaims); diff != "" {
		t.Errorf("fixed claims (-want +got):\n%s", diff)
	}
	want := session.DefaultPolicy()
	want.Audiences = []string{"api"}
	if diff := cmp.Diff(want, a.Session.Policy); diff != "" {
		t.Errorf("the defaults of the API are not those of the domain (-want +got):\n%s", diff)
	}
	if a.Session.URL != "https://shop.example" || a.Session.Reference != (session.IssuerReference{Namespace: "default", Name: "shop"}) {
		t.Errorf("issuer: %+v", a.Session)
	}
	if err := r.setRefreshKeys(nameOf(issuer), nil); err != nil {
		t.Fatal(err)
	}
	if r.AuthorityByURL("https://shop.example").Session.Keys != nil {
		t.Error("deleted keys are still there")
	}
}

func TestPolicyOfSessions(t *testing.T) {
	issuer := withSessions(newIssuer("shop", "https://shop.example", 0))
	spec := issuer.Spec.Sessions
	spec.AfterRollback = v1alpha1.RollbackEndSession
	spec.Audiences, spec.Scopes, spec.MaxPerSubject = []string{"mail-api"}, []string{"mail:read"}, 3
	spec.GraceWindow = duration(0)
	want := session.DefaultPolicy()
	want.EndAfterRollback, want.MaxPerSubject, want.GraceWindow = true, 3, 0
	want.Audiences, want.Scopes = []string{"mail-api"}, []string{"mail:read"}
	if diff := cmp.Diff(want, SessionPolicy(issuer)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestOnlyTheOwnerOfAURLHasSessions because the other would mint tokens in its name.
func TestOnlyTheOwnerOfAURLHasSessions(t *testing.T) {
	r := NewRegistry()
	r.markSynced()
	for _, issuer := range []*v1alpha1.TokenIssuer{
		newIssuer("older", "https://shop.example", time.Hour),
		withSessions(newIssuer("younger", "https://shop.example", 0)),
	} {
		add(t, r, issuer, newRing(t, issuer))
	}
	if r.AuthorityByURL("https://shop.example") != nil || r.AuthorityByName("default", "younger") != nil {
		t.Error("an issuer opens sessions at another one's URL")
	}
}

// TestDiscovery compares whole documents, because clients read every member.
func TestDiscovery(t *testing.T) {
	issuer := newIssuer("shop", "https://shop.example/eu", 0)
	r := NewRegistry()
	r.markSynced()
	ring := newRing(t, issuer)
	for _, test := range []struct {
		file   string
		issuer *v1alpha1.TokenIssuer
	}{
		{"discovery-signing.json", issuer},
		{"discovery-sessions.json", withSessions(issuer.DeepCopy())},
		{"discovery-signing.json", issuer},
	} {
		add(t, r, test.issuer, ring)
		var want, got any
		golden, err := os.ReadFile(filepath.Join("testdata", test.file))
		if err != nil {
			t.Fatal(err)
		}
		body := r.PublicationByURL("https://shop.example/eu").Discovery.Body
		if err := json.Unmarshal(golden, &want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.file, diff)
		}
	}
}

// TestSignerIsMadeOncePerRing because making one costs more than signing with some algorithms.
func TestSignerIsMadeOncePerRing(t *testing.T) {
	r := NewRegistry()
	r.markSynced()
	issuer := withSessions(newIssuer("shop", "https://shop.example", 0))
	ring := newRing(t, issuer)
	add(t, r, issuer, ring)
	first := r.AuthorityByURL("https://shop.example").signer
	add(t, r, issuer.DeepCopy(), ring)
	if again := r.AuthorityByURL("https://shop.example").signer; first == nil || again != first {
		t.Error("the same ring has another signer")
	}
	rotated := newRing(t, issuer)
	add(t, r, issuer, rotated)
	if signer := r.AuthorityByURL("https://shop.example").signer; signer.KeyID() != rotated.Active().ID {
		t.Error("the signer still has the key of the ring before")
	}
}

func TestSignerOfASymmetricKey(t *testing.T) {
	issuer := withSessions(newIssuer("shop", "https://shop.example", 0))
	issuer.Spec.Signing.Algorithm = "HS256"
	r := NewRegistry()
	r.markSynced()
	add(t, r, issuer, newRing(t, issuer))
	raw := signFor(t, r.AuthorityByURL("https://shop.example").signer, epoch)
	verifier := token.NewVerifier(r, fixedClock(epoch), token.Options{})
	if reason := verifier.Verify(raw, token.Want{}).Reason; reason != token.Allowed {
		t.Errorf("its own token: %s", reason)
	}
}
