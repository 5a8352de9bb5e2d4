package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/keyring"
)

const (
	// brisk rotates as often as it may, and its tokens live shortly. steady rotates when asked, and its tokens outlive the
	// suite.
	brisk, steady = "brisk", "steady"
	audience      = "e2e-api"
	clockSkew     = 5 * time.Second
	maxAge        = 5 * time.Second
	briskLifetime = 20 * time.Second
)

// briskPeriod is the shortest that the API allows with these figures.
func (s *suite) briskPeriod() time.Duration { return maxAge + clockSkew + s.propagation }

func (s *suite) makeIssuers(t *testing.T) {
	t.Helper()
	s.create(t, s.issuer(brisk, s.briskPeriod(), briskLifetime))
	s.create(t, s.issuer(steady, 30*24*time.Hour, time.Hour))
}

func (s *suite) issuer(name string, period, lifetime time.Duration) *v1alpha1.TokenIssuer {
	return &v1alpha1.TokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Namespace: shopNamespace, Name: name},
		Spec: v1alpha1.TokenIssuerSpec{
			IssuerURL: "https://tokens.shop.example/" + name,
			Audiences: []string{audience},
			Signing: &v1alpha1.Signing{
				Rotation: v1alpha1.RotationPolicy{Period: metav1.Duration{Duration: period}},
				Secret:   v1alpha1.SigningSecret{PropagationDelay: metav1.Duration{Duration: s.propagation}},
			},
			Tokens: v1alpha1.TokenPolicy{
				MaxLifetime: &metav1.Duration{Duration: lifetime}, ClockSkew: metav1.Duration{Duration: clockSkew},
			},
			JWKS: v1alpha1.JWKSPolicy{MaxAge: metav1.Duration{Duration: maxAge}},
		},
	}
}

func named(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: shopNamespace, Name: name}
}

// patchIssuer changes an issuer by a merge patch.
func (s *suite) patchIssuer(t *testing.T, name string, patch map[string]any) {
	t.Helper()
	encoded, err := json.Marshal(patch)
	if err != nil {
		t.Fatal(err)
	}
	issuer := &v1alpha1.TokenIssuer{ObjectMeta: named(name)}
	if err := s.api.Patch(t.Context(), issuer, client.RawPatch("application/merge-patch+json", encoded)); err != nil {
		t.Fatalf("patching the issuer %s: %v", name, err)
	}
}

// requestRotation asks for a rotation, and returns how the request is called.
func (s *suite) requestRotation(t *testing.T, name string) string {
	t.Helper()
	request := time.Now().UTC().Format(time.RFC3339Nano)
	s.patchIssuer(t, name, map[string]any{"metadata": map[string]any{
		"annotations": map[string]string{v1alpha1.AnnotationRotateRequestedAt: request},
	}})
	return request
}

// keys are the ids of an issuer's keys, as its ring says, and everything that is made from the ring must say the same.
type keys struct {
	active, next string
	// retiring are those that only verify, sorted.
	retiring []string
}

func (k keys) all() []string {
	return slices.Sorted(slices.Values(append([]string{k.active, k.next}, k.retiring...)))
}

// keys reads the ring of an issuer.
func (s *suite) keys(ctx context.Context, name string) (keys, error) {
	secret := &corev1.Secret{ObjectMeta: named(name + "-keyring")}
	if err := s.api.Get(ctx, client.ObjectKeyFromObject(secret), secret); err != nil {
		return keys{}, err
	}
	return keysOf(secret)
}

func keysOf(secret *corev1.Secret) (keys, error) {
	ring, err := keyring.Decode(secret.Data[v1alpha1.DataRing])
	if err != nil {
		return keys{}, err
	}
	var out keys
	for i := range ring.Keys {
		switch key := &ring.Keys[i]; key.State {
		case keyring.Active:
			out.active = key.ID
		case keyring.Next:
			out.next = key.ID
		default:
			out.retiring = append(out.retiring, key.ID)
		}
	}
	slices.Sort(out.retiring)
	return out, nil
}

func (s *suite) mustKeys(t *testing.T, name string) keys {
	t.Helper()
	found, err := s.keys(t.Context(), name)
	if err != nil {
		t.Fatalf("reading the ring of %s: %v", name, err)
	}
	return found
}

// mountedKeyID is the id of the key in the Secret that workloads mount.
func (s *suite) mountedKeyID(ctx context.Context, name string) (string, error) {
	secret := &corev1.Secret{ObjectMeta: named(name + "-signing-key")}
	err := s.api.Get(ctx, client.ObjectKeyFromObject(secret), secret)
	return strings.TrimSpace(string(secret.Data[v1alpha1.DataKeyID])), err
}

// settled says what of an issuer does not agree with its ring, and returns the ring's keys.
func (s *suite) settled(ctx context.Context, name string) (keys, error) {
	ring, err := s.keys(ctx, name)
	if err != nil {
		return keys{}, fmt.Errorf("reading the ring: %w", err)
	}
	mounted, err := s.mountedKeyID(ctx, name)
	if err != nil {
		return keys{}, fmt.Errorf("reading the signing key: %w", err)
	}
	if mounted != ring.active {
		return keys{}, fmt.Errorf("the signing key is %s, want %s", mounted, ring.active)
	}
	published := &corev1.ConfigMap{ObjectMeta: named(name + "-jwks")}
	if err := s.api.Get(ctx, client.ObjectKeyFromObject(published), published); err != nil {
		return keys{}, err
	}
	ids := keyring.PublishedIDs([]byte(published.Data[v1alpha1.DataJWKS]))
	if slices.Sort(ids); !slices.Equal(ids, ring.all()) {
		return keys{}, fmt.Errorf("the JWKS has the keys %v, want %v", ids, ring.all())
	}
	issuer := &v1alpha1.TokenIssuer{ObjectMeta: named(name)}
	if err := s.api.Get(ctx, client.ObjectKeyFromObject(issuer), issuer); err != nil {
		return keys{}, err
	}
	if issuer.Status.ActiveKeyID != ring.active || !meta.IsStatusConditionTrue(issuer.Status.Conditions, v1alpha1.ConditionReady) {
		return keys{}, fmt.Errorf("the status says %s and %v, want %s and Ready", issuer.Status.ActiveKeyID, issuer.Status.Conditions, ring.active)
	}
	return ring, nil
}

// awaitRotation waits until a rotation that was asked for has happened, with all that belongs to it, and returns the keys
// that there are then.
func (s *suite) awaitRotation(t *testing.T, what, name, request string) keys {
	t.Helper()
	var after keys
	await(t, what, long, func(ctx context.Context) (err error) {
		issuer := &v1alpha1.TokenIssuer{ObjectMeta: named(name)}
		if err := s.api.Get(ctx, client.ObjectKeyFromObject(issuer), issuer); err != nil {
			return err
		}
		if issuer.Status.HandledRotateRequest != request {
			return fmt.Errorf("the last request that was answered is %q", issuer.Status.HandledRotateRequest)
		}
		after, err = s.settled(ctx, name)
		return err
	})
	return after
}
