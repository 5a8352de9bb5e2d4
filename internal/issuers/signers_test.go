package issuers

import (
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/keyring"
	"github.com/keyturn/keyturn/internal/revocation"
	"github.com/keyturn/keyturn/internal/testenv"
	"github.com/keyturn/keyturn/internal/token"
)

func fixedClock(at time.Time) clock.PassiveClock { return testclock.NewFakePassiveClock(at) }

func signFor(t *testing.T, signer *token.Signer, now time.Time) string {
	t.Helper()
	raw, err := signer.Sign(&token.AccessToken{
		Issuer: "https://shop.example", Subject: "alice", ClientID: "web", SessionID: "s1", Audiences: []string{"api"},
		IssuedAt: now, Expiry: now.Add(time.Minute),
	})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// signing is an issuer with sessions in the namespace of a replica, with its ring in the API server.
type signing struct {
	*replica
	issuer *v1alpha1.TokenIssuer
	ring   *keyring.Ring
	secret *corev1.Secret
	clock  *testclock.FakePassiveClock
}

func newSigning(t *testing.T) *signing {
	t.Helper()
	s := &signing{replica: startReplica(t), clock: testclock.NewFakePassiveClock(epoch)}
	s.issuer = withSessions(newIssuer("shop", "https://shop.example", 0))
	s.issuer.Namespace = s.namespace
	s.ring = newRing(t, s.issuer)
	s.secret = &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: RingSecretName("shop"), Labels: map[string]string{
			v1alpha1.LabelComponent: v1alpha1.ComponentKeyring, v1alpha1.LabelIssuer: "shop",
		}},
		Type: v1alpha1.SecretTypeKeyring, Data: map[string][]byte{v1alpha1.DataRing: encodedRing(t, s.ring)},
	}
	s.create(t, s.secret)
	return s
}

func encodedRing(t *testing.T, ring *keyring.Ring) []byte {
	t.Helper()
	document, err := keyring.Encode(ring)
	if err != nil {
		t.Fatal(err)
	}
	return document
}

// authority is what this replica knows: what it was last told, however long ago.
func (s *signing) authority(t *testing.T) *Authority {
	t.Helper()
	r := NewRegistry()
	r.markSynced()
	add(t, r, s.issuer, s.ring)
	return r.AuthorityByURL("https://shop.example")
}

// rotated puts a ring with other keys into the API server, as a leader does that this replica does not hear of.
func (s *signing) rotated(t *testing.T) *keyring.Ring {
	t.Helper()
	next := newRing(t, s.issuer)
	s.secret.Data[v1alpha1.DataRing] = encodedRing(t, next)
	if err := s.client.Update(t.Context(), s.secret); err != nil {
		t.Fatal(err)
	}
	return next
}

// nowhere is the client of an API server that is away.
func nowhere(t *testing.T) client.Client {
	t.Helper()
	config := rest.CopyConfig(testenv.Environment(t).Config)
	config.Host = "https://127.0.0.1:1"
	c, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSignerBeforeTheRotationIsDue(t *testing.T) {
	s := newSigning(t)
	a := s.authority(t)
	signers := NewSigners(nowhere(t), s.clock)
	for _, since := range []time.Duration{0, time.Hour, time.Hour + 2*time.Minute} {
		s.clock.SetTime(epoch.Add(since))
		signer, err := signers.Signer(t.Context(), a)
		if err != nil || signer.KeyID() != s.ring.Active().ID {
			t.Errorf("%s after the rotation: %v; the API server need not be asked before the period and the propagation delay are over", since, err)
		}
	}
}

// TestSignerWithoutWord is the promise that nothing is signed with a key that may have left the JWKS.
func TestSignerWithoutWord(t *testing.T) {
	s := newSigning(t)
	signers := NewSigners(nowhere(t), s.clock)
	s.clock.SetTime(epoch.Add(time.Hour + 2*time.Minute + time.Second))
	if _, err := signers.Signer(t.Context(), s.authority(t)); !errors.Is(err, ErrCannotSign) {
		t.Errorf("the error is %v", err)
	}
}

func TestSignerOfAnOverdueRotation(t *testing.T) {
	s := newSigning(t)
	signers := NewSigners(s.client, s.clock)
	s.clock.SetTime(epoch.Add(2 * time.Hour))
	signer, err := signers.Signer(t.Context(), s.authority(t))
	if err != nil || signer.KeyID() != s.ring.Active().ID {
		t.Fatalf("the API server says that the old key is still active: %v", err)
	}
	if reason := token.NewVerifier(s.withRing(t, s.ring), fixedClock(s.clock.Now()), token.Options{}).
		Verify(signFor(t, signer, s.clock.Now()), token.Want{}).Reason; reason != token.Allowed {
		t.Errorf("what it signs: %s", reason)
	}
}

func (s *signing) withRing(t *testing.T, ring *keyring.Ring) *Registry {
	t.Helper()
	r := NewRegistry()
	r.markSynced()
	add(t, r, s.issuer, ring)
	return r
}

// TestSignerOfAnUnnoticedRotation is a watch that has broken without a word.
func TestSignerOfAnUnnoticedRotation(t *testing.T) {
	s := newSigning(t)
	a := s.authority(t)
	signers := NewSigners(s.client, s.clock)
	s.clock.SetTime(epoch.Add(2 * time.Hour))
	next := s.rotated(t)
	signer, err := signers.Signer(t.Context(), a)
	if err != nil || signer.KeyID() != next.Active().ID {
		t.Fatalf("the new key does not sign: %v", err)
	}
	third := s.rotated(t)
	s.clock.SetTime(s.clock.Now().Add(confirmedFor - time.Nanosecond))
	if signer, err = signers.Signer(t.Context(), a); err != nil || signer.KeyID() != next.Active().ID {
		t.Errorf("the API server is asked again within %s: %v", confirmedFor, err)
	}
	s.clock.SetTime(s.clock.Now().Add(time.Nanosecond))
	if signer, err = signers.Signer(t.Context(), a); err != nil || signer.KeyID() != third.Active().ID {
		t.Errorf("the API server is not asked again after %s: %v", confirmedFor, err)
	}
}

func TestSignerWithoutARing(t *testing.T) {
	s := newSigning(t)
	signers := NewSigners(s.client, s.clock)
	if _, err := signers.Signer(t.Context(), s.withRing(t, nil).AuthorityByURL("https://shop.example")); !errors.Is(err, ErrCannotSign) {
		t.Errorf("an issuer without keys: %v", err)
	}
	a := s.authority(t)
	s.clock.SetTime(epoch.Add(2 * time.Hour))
	for name, spoil := range map[string]func(){
		"unreadable": func() { s.secret.Data[v1alpha1.DataRing] = []byte("{") },
		"not ours":   func() { s.secret.Labels = nil },
	} {
		spoil()
		if err := s.client.Update(t.Context(), s.secret); err != nil {
			t.Fatal(err)
		}
		if _, err := NewSigners(s.client, s.clock).Signer(t.Context(), a); !errors.Is(err, ErrCannotSign) {
			t.Errorf("a ring that is %s: %v", name, err)
		}
	}
}

func TestSignerOfARevokedKey(t *testing.T) {
	s := newSigning(t)
	r := s.withRing(t, s.ring)
	r.putRule(nameOf(s.issuer), revocation.Rule{ID: "1", Kind: revocation.KeyID, Value: s.ring.Active().ID})
	if _, err := NewSigners(s.client, s.clock).Signer(t.Context(), r.AuthorityByURL("https://shop.example")); !errors.Is(err, ErrCannotSign) {
		t.Errorf("a revoked key signs: %v", err)
	}
}

func TestWatcherFollowsTheKeysForRefreshTokens(t *testing.T) {
	r := startReplica(t)
	issuer := withSessions(newIssuer("shop", "https://refreshed.example", 0))
	issuer.ResourceVersion, issuer.UID = "", ""
	r.create(t, issuer)
	known := func() bool {
		a := r.registry.AuthorityByURL("https://refreshed.example")
		return a != nil && a.Session.Keys != nil
	}
	document, err := encodedKeys(t, issuer)
	if err != nil {
		t.Fatal(err)
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: RefreshKeysSecretName("shop"), Labels: map[string]string{
			v1alpha1.LabelComponent: v1alpha1.ComponentRefreshKeys, v1alpha1.LabelIssuer: "shop",
		}},
		Type: v1alpha1.SecretTypeRefreshKeys, Data: map[string][]byte{v1alpha1.DataRefreshKeys: document},
	}
	r.create(t, secret)
	eventually(t, "the keys for refresh tokens", known)
	secret.Data[v1alpha1.DataRefreshKeys] = []byte("garbage")
	if err := r.client.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	if err := r.client.Delete(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the keys to be gone", func() bool { return !known() })
}
