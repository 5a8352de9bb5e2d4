package issuers

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/keyring"
	"github.com/keyturn/keyturn/internal/revocation"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func duration(d time.Duration) metav1.Duration { return metav1.Duration{Duration: d} }

// newIssuer is an issuer with signing, with the defaults that the API server would fill in.
func newIssuer(name, url string, age time.Duration) *v1alpha1.TokenIssuer {
	return &v1alpha1.TokenIssuer{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: name, UID: types.UID(name), CreationTimestamp: metav1.NewTime(epoch.Add(-age)),
		},
		Spec: v1alpha1.TokenIssuerSpec{
			IssuerURL: url, Audiences: []string{"api"},
			Signing: &v1alpha1.Signing{
				Algorithm: "ES256", Rotation: v1alpha1.RotationPolicy{Period: duration(time.Hour)},
				Secret: v1alpha1.SigningSecret{PropagationDelay: duration(2 * time.Minute)},
			},
			Tokens: v1alpha1.TokenPolicy{ClockSkew: duration(30 * time.Second), GroupsClaim: "groups"},
			JWKS:   v1alpha1.JWKSPolicy{MaxAge: duration(10 * time.Minute)},
		},
	}
}

func newRing(t testing.TB, issuer *v1alpha1.TokenIssuer) *keyring.Ring {
	t.Helper()
	decision, err := keyring.Plan(epoch, SigningPolicy(issuer), nil, keyring.Seen{}, keyring.Generate)
	if err != nil {
		t.Fatal(err)
	}
	return decision.Ring
}

func add(t testing.TB, r *Registry, issuer *v1alpha1.TokenIssuer, ring *keyring.Ring) {
	t.Helper()
	if err := r.setIssuer(issuer, func(*entry) {}); err != nil {
		t.Fatal(err)
	}
	if err := r.setRing(nameOf(issuer), ring); err != nil {
		t.Fatal(err)
	}
}

func TestNothingIsKnownBeforeTheFirstSync(t *testing.T) {
	r := NewRegistry()
	issuer := newIssuer("shop", "https://shop.example", 0)
	add(t, r, issuer, newRing(t, issuer))
	if r.Synced() || r.ByURL("https://shop.example") != nil || r.PublicationByName("default", "shop") != nil {
		t.Fatal("something is answered before the first sync")
	}
	r.markSynced()
	if !r.Synced() || r.ByURL("https://shop.example") == nil || r.PublicationByName("default", "shop") == nil {
		t.Fatal("nothing is answered after it")
	}
}

func TestTheOlderIssuerKeepsTheURL(t *testing.T) {
	r := NewRegistry()
	r.markSynced()
	older := newIssuer("older", "https://shop.example", time.Hour)
	younger := newIssuer("a-younger", "https://shop.example", time.Minute)
	add(t, r, younger, newRing(t, younger))
	if got := r.ByURL("https://shop.example").Name; got != "a-younger" {
		t.Fatalf("the only issuer does not own its URL: %s", got)
	}
	add(t, r, older, newRing(t, older))
	if got := r.ByURL("https://shop.example").Name; got != "older" {
		t.Errorf("the URL belongs to %s", got)
	}
	if r.PublicationByName("default", "a-younger") != nil {
		t.Error("an issuer without its URL publishes keys")
	}
	r.deleteIssuer(nameOf(older))
	if got := r.ByURL("https://shop.example").Name; got != "a-younger" {
		t.Errorf("after the owner has gone the URL belongs to %s", got)
	}
}

func TestSameAgeIsDecidedByName(t *testing.T) {
	a, b := newIssuer("a", "https://x.example", 0), newIssuer("b", "https://x.example", 0)
	for _, order := range [][]v1alpha1.TokenIssuer{{*a, *b}, {*b, *a}} {
		if owner := URLOwner(order); owner.Name != "a" {
			t.Errorf("the owner is %s", owner.Name)
		}
	}
	if URLOwner(nil) != nil {
		t.Error("nobody's URL has an owner")
	}
}

func TestUnchangedKeysKeepTheirPointer(t *testing.T) {
	r := NewRegistry()
	r.markSynced()
	issuer := newIssuer("shop", "https://shop.example", 0)
	ring := newRing(t, issuer)
	add(t, r, issuer, ring)
	before := r.ByURL("https://shop.example")

	edited := issuer.DeepCopy()
	edited.Spec.Audiences = []string{"another"}
	add(t, r, edited, ring)
	after := r.ByURL("https://shop.example")
	if !slices.Equal(after.Audiences, []string{"another"}) || slices.Equal(before.Audiences, after.Audiences) {
		t.Errorf("audiences before %v and after %v: snapshots must not change", before.Audiences, after.Audiences)
	}
	for id, key := range before.Keys {
		if after.Keys[id] != key {
			t.Errorf("the key %s has another pointer after an edit of the audiences", id)
		}
	}
	edited = edited.DeepCopy()
	edited.Spec.Tokens.MaxLifetime = &metav1.Duration{Duration: time.Hour}
	add(t, r, edited, ring)
	next := ring.Next().ID
	if key := r.ByURL("https://shop.example").Keys[next]; key == before.Keys[next] || key.MaxLifetime != time.Hour {
		t.Error("the next key does not take over the new lifetime")
	}
	if key := r.ByURL("https://shop.example").Keys[ring.Active().ID]; key.MaxLifetime != 15*time.Minute {
		t.Error("the active key vouches for a lifetime that the ring has not recorded")
	}
}

func TestSymmetricKeysAreNeverPublished(t *testing.T) {
	issuer := newIssuer("shop", "https://shop.example", 0)
	issuer.Spec.Signing.Algorithm = "HS256"
	r := NewRegistry()
	r.markSynced()
	ring := newRing(t, issuer)
	add(t, r, issuer, ring)
	secret := r.ByURL(issuer.Spec.IssuerURL).Keys[ring.Active().ID].Public.([]byte)
	if len(secret) != 32 {
		t.Fatalf("the webhook has a secret of %d bytes", len(secret))
	}
	encoded, err := json.Marshal(jose.JSONWebKey{Key: secret})
	if err != nil {
		t.Fatal(err)
	}
	var jwk struct {
		K string `json:"k"`
	}
	if err := json.Unmarshal(encoded, &jwk); err != nil || jwk.K == "" {
		t.Fatal("the secret cannot be looked for")
	}
	publication := r.PublicationByURL(issuer.Spec.IssuerURL)
	for _, document := range []Document{publication.JWKS, publication.Discovery} {
		if bytes.Contains(document.Body, []byte(jwk.K)) {
			t.Error("a published document holds the secret")
		}
	}
	if !bytes.Equal(publication.JWKS.Body, []byte(`{"keys":[]}`)) {
		t.Errorf("the JWKS is %d bytes long", len(publication.JWKS.Body))
	}
}

func TestPublication(t *testing.T) {
	issuer := newIssuer("shop", "https://shop.example/a", 0)
	r := NewRegistry()
	r.markSynced()
	ring := newRing(t, issuer)
	add(t, r, issuer, ring)
	first := r.PublicationByURL("https://shop.example/a")
	var discovery map[string]any
	if err := json.Unmarshal(first.Discovery.Body, &discovery); err != nil {
		t.Fatal(err)
	}
	if discovery["issuer"] != "https://shop.example/a" || discovery["jwks_uri"] != "https://shop.example/a/.well-known/jwks.json" {
		t.Errorf("discovery: %s", first.Discovery.Body)
	}
	if ids := keyring.PublishedIDs(first.JWKS.Body); !slices.Equal(ids, []string{ring.Active().ID, ring.Next().ID}) {
		t.Errorf("the JWKS holds %v", ids)
	}
	if first.MaxAge != 10*time.Minute {
		t.Errorf("max-age %s", first.MaxAge)
	}
	add(t, r, issuer, ring)
	if again := r.PublicationByURL("https://shop.example/a"); again.JWKS.ETag != first.JWKS.ETag {
		t.Error("the same keys have another entity tag")
	}
	add(t, r, issuer, newRing(t, issuer))
	if other := r.PublicationByURL("https://shop.example/a"); other.JWKS.ETag == first.JWKS.ETag {
		t.Error("other keys have the same entity tag")
	}
}

func TestRulesOutliveAndPrecedeTheirIssuer(t *testing.T) {
	r := NewRegistry()
	r.markSynced()
	issuer := newIssuer("shop", "https://shop.example", 0)
	rule := revocation.Rule{ID: "1", Kind: revocation.TokenID, Value: "stolen"}
	r.putRule(nameOf(issuer), rule)
	other := revocation.Rule{ID: "2", Kind: revocation.TokenID, Value: "stolen"}
	if !r.RuleApplied(nameOf(issuer), rule) || r.RuleApplied(nameOf(issuer), other) {
		t.Error("the rule of an issuer that is yet to come is not in force")
	}
	add(t, r, issuer, newRing(t, issuer))
	stolen := &revocation.Facts{TokenID: "stolen"}
	if _, denied := r.ByURL("https://shop.example").Revocations.Match(stolen); !denied {
		t.Error("the rule does not reach the issuer that came after it")
	}
	r.deleteIssuer(nameOf(issuer))
	add(t, r, issuer, newRing(t, issuer))
	if _, denied := r.ByURL("https://shop.example").Revocations.Match(stolen); !denied {
		t.Error("the rule is gone after its issuer was created anew")
	}
	r.deleteRule(nameOf(issuer), rule)
	if _, denied := r.ByURL("https://shop.example").Revocations.Match(stolen); denied {
		t.Error("a deleted rule denies")
	}
}

func TestNothingIsKeptOfWhatIsGone(t *testing.T) {
	r := NewRegistry()
	r.markSynced()
	issuer := newIssuer("shop", "https://shop.example", 0)
	add(t, r, issuer, newRing(t, issuer))
	rule := revocation.Rule{ID: "1", Kind: revocation.All, IssuedBefore: epoch}
	r.putRule(nameOf(issuer), rule)
	r.deleteIssuer(nameOf(issuer))
	r.deleteRule(nameOf(issuer), rule)
	if err := r.setRing(nameOf(issuer), nil); err != nil {
		t.Fatal(err)
	}
	if len(r.entries) != 0 {
		t.Errorf("%d entries are left", len(r.entries))
	}
}

func TestLongestLifetime(t *testing.T) {
	r := NewRegistry()
	r.markSynced()
	issuer := newIssuer("shop", "https://shop.example", 0)
	if _, known := r.LongestLifetime(nameOf(issuer)); known {
		t.Error("an unknown issuer has a lifetime")
	}
	ring := newRing(t, issuer) // under 15 minutes
	issuer.Spec.Tokens.MaxLifetime = &metav1.Duration{Duration: time.Minute}
	add(t, r, issuer, ring)
	if lifetime, known := r.LongestLifetime(nameOf(issuer)); !known || lifetime != 15*time.Minute {
		t.Errorf("a shortened lifetime hides that of a key that has signed under the longer one: %s", lifetime)
	}
	issuer = issuer.DeepCopy()
	issuer.Spec.Tokens.MaxLifetime = &metav1.Duration{Duration: time.Hour}
	add(t, r, issuer, ring)
	if lifetime, _ := r.LongestLifetime(nameOf(issuer)); lifetime != time.Hour {
		t.Errorf("a lengthened lifetime does not count: %s", lifetime)
	}
}
