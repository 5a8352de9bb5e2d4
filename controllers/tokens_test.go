package controllers

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/keyring"
	"github.com/keyturn/keyturn/internal/testenv"
	"github.com/keyturn/keyturn/internal/token"
)

// coherent says what is wrong with an issuer's objects, which must all show the same ring.
func (w *world) coherent(name string) error {
	w.Helper()
	issuer, ring, config := w.issuer(name), w.ring(name), w.jwks(name)
	want, err := ring.JWKS()
	if err != nil {
		return err
	}
	active := ring.Active()
	published := keyring.PublishedIDs([]byte(config.Data[v1alpha1.DataJWKS]))
	var listed []string
	for _, key := range issuer.Status.Keys {
		listed = append(listed, key.ID)
	}
	var kept []string
	for i := range ring.Keys {
		kept = append(kept, ring.Keys[i].ID)
		if key := &ring.Keys[i]; key.State == keyring.Retiring && !key.Symmetric() && !key.JWK.IsPublic() {
			return fmt.Errorf("%s: the private half of a retired key is still in the ring", name)
		}
	}
	switch {
	case config.Data[v1alpha1.DataJWKS] != string(want):
		return fmt.Errorf("%s: the ConfigMap holds the keys %v, and the ring %v", name, published, kept)
	case config.Annotations[v1alpha1.AnnotationActiveKey] != active.ID:
		return fmt.Errorf("%s: the ConfigMap names another active key than the ring", name)
	case active.Symmetric() == slices.Contains(published, active.ID):
		return fmt.Errorf("%s: the %s key that signs is published: %t", name, active.Algorithm, !active.Symmetric())
	case issuer.Status.ActiveKeyID != active.ID || !slices.Equal(listed, kept):
		return fmt.Errorf("%s: the status lists %v, and the ring holds %v", name, listed, kept)
	case strings.Contains(string(want), `"d":`) || strings.Contains(string(want), `"k":`):
		return fmt.Errorf("%s: the ConfigMap holds a private key", name)
	}
	if export := issuer.Spec.Signing.Secret.Export; export != nil && !*export {
		return nil
	}
	if kid := string(w.mounted(name).Data[v1alpha1.DataKeyID]); kid != active.ID {
		return fmt.Errorf("%s: the mounted key is %s, and the active one %s", name, kid, active.ID)
	}
	return nil
}

// claims are those of a good token of the issuer, for ten minutes from now.
func (w *world) claims(issuer *v1alpha1.TokenIssuer) map[string]any {
	now := w.clock.Now()
	return map[string]any{
		"iss": issuer.Spec.IssuerURL, "aud": "shop-api", "sub": "alice", "jti": "token-1", "sid": "session-1",
		"client_id": "shop", "iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(),
	}
}

// token is signed as a workload signs it: with the mounted files and nothing else.
func (w *world) token(issuer *v1alpha1.TokenIssuer) string {
	w.Helper()
	return signWith(w, w.mounted(issuer.Name).Data, w.claims(issuer))
}

func signWith(t testing.TB, files map[string][]byte, claims map[string]any) string {
	t.Helper()
	algorithm := jose.SignatureAlgorithm(files[v1alpha1.DataAlgorithm])
	options := (&jose.SignerOptions{}).WithType("at+jwt").WithHeader("kid", string(files[v1alpha1.DataKeyID]))
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: privateKey(t, files)}, options)
	if err != nil {
		t.Fatalf("the mounted key cannot sign %s: %v", algorithm, err)
	}
	signed, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatalf("signing with the mounted key: %v", err)
	}
	return signed
}

// privateKey reads the mounted key in the form that libraries read, and holds the other form against it.
func privateKey(t testing.TB, files map[string][]byte) any {
	t.Helper()
	var jwk jose.JSONWebKey
	if err := json.Unmarshal(files[v1alpha1.DataKeyJWK], &jwk); err != nil {
		t.Fatalf("%s is no JWK: %v", v1alpha1.DataKeyJWK, err)
	}
	if jwk.KeyID != string(files[v1alpha1.DataKeyID]) || jwk.Algorithm != string(files[v1alpha1.DataAlgorithm]) {
		t.Fatalf("%s is key %s for %s, want %s for %s", v1alpha1.DataKeyJWK, jwk.KeyID, jwk.Algorithm,
			files[v1alpha1.DataKeyID], files[v1alpha1.DataAlgorithm])
	}
	if secret, ok := jwk.Key.([]byte); ok {
		if _, found := files[v1alpha1.DataKeyPEM]; found || !bytes.Equal(secret, files[v1alpha1.DataKeyBytes]) {
			t.Fatalf("%s and %s are not the same key, or there is a %s", v1alpha1.DataKeyJWK, v1alpha1.DataKeyBytes, v1alpha1.DataKeyPEM)
		}
		return files[v1alpha1.DataKeyBytes]
	}
	block, rest := pem.Decode(files[v1alpha1.DataKeyPEM])
	if block == nil || block.Type != "PRIVATE KEY" || len(rest) > 0 {
		t.Fatalf("%s is not one PEM block PRIVATE KEY", v1alpha1.DataKeyPEM)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatalf("%s is no PKCS#8: %v", v1alpha1.DataKeyPEM, err)
	}
	if private, ok := jwk.Key.(interface{ Equal(any) bool }); ok && !private.Equal(key) {
		t.Fatalf("%s and %s are not the same key", v1alpha1.DataKeyJWK, v1alpha1.DataKeyPEM)
	}
	return key
}

// replica is what every replica runs beside the controllers: the registry, fed by watches, and a verifier that asks it.
type replica struct {
	*world
	registry *issuers.Registry
	verifier *token.Verifier
	// revocations remembers from one call to the next, as that of a leader does.
	revocations TokenRevocationReconciler
}

func (w *world) replica() *replica {
	w.Helper()
	registry := issuers.NewRegistry()
	informers := w.cache()
	// The watcher's own clock is for external issuers and for its waiting: nobody turns it here.
	watcher := issuers.NewWatcher(informers, registry, issuers.WatcherOptions{Clock: clock.RealClock{}, Logger: discard})
	go func() {
		if err := watcher.Start(w.Context()); err != nil {
			w.Errorf("the watcher: %v", err)
		}
	}()
	eventually(w, "the first sync of a replica", func() error {
		if !registry.Synced() {
			return fmt.Errorf("not synced")
		}
		return nil
	})
	return &replica{world: w, registry: registry, verifier: token.NewVerifier(registry, w.clock, token.Options{})}
}

// wantSoon waits until the replica's verdict on the token is this one.
func (r *replica) wantSoon(raw string, want token.Reason) {
	r.Helper()
	eventually(r, "the verdict on a token", func() error {
		if got := r.verifier.Verify(raw, token.Want{}).Reason; got != want {
			return fmt.Errorf("%s, want %s", got, want)
		}
		return nil
	})
}

// cacheOptions keep in memory what the operator keeps, of one namespace.
func (w *world) cacheOptions() cache.Options {
	component, err := labels.NewRequirement(v1alpha1.LabelComponent, selection.Exists, nil)
	if err != nil {
		w.Fatal(err)
	}
	ours := cache.ByObject{Label: labels.NewSelector().Add(*component)}
	return cache.Options{
		Scheme:            testScheme,
		DefaultNamespaces: map[string]cache.Config{w.namespace: {}},
		ByObject:          map[client.Object]cache.ByObject{&corev1.Secret{}: ours, &corev1.ConfigMap{}: ours},
	}
}

// cache starts informers of the world's namespace, for as long as the test runs.
func (w *world) cache() cache.Cache {
	w.Helper()
	informers, err := cache.New(testenv.Environment(w).Config, w.cacheOptions())
	if err != nil {
		w.Fatalf("making a cache: %v", err)
	}
	go func() {
		if err := informers.Start(w.Context()); err != nil {
			w.Errorf("the cache: %v", err)
		}
	}()
	return informers
}
