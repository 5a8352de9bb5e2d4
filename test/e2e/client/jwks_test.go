package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyturn/keyturn/api/v1alpha1"
)

// mountKey writes a new key as the kubelet shows it, and returns its public half.
func mountKey(t *testing.T, folder, id string) jose.JSONWebKey {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key := jose.JSONWebKey{Key: private, KeyID: id, Algorithm: string(jose.ES256)}
	encoded, err := key.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(folder, id)
	if err := os.MkdirAll(data, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		v1alpha1.DataKeyJWK: string(encoded), v1alpha1.DataKeyID: id, v1alpha1.DataAlgorithm: string(jose.ES256),
		v1alpha1.DataIssuer: "https://tokens.shop.example", v1alpha1.DataMaxLifetime: "60",
	} {
		if err := os.WriteFile(filepath.Join(data, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_ = os.Remove(filepath.Join(folder, "..data"))
	if err := os.Symlink(id, filepath.Join(folder, "..data")); err != nil {
		t.Fatal(err)
	}
	return key.Public()
}

// TestTheCacheIsAsOldAsItMayBe holds the gateway to the worst that a verifier may do: it knows no newer keys than max-age
// makes it, and rejects tokens of others.
func TestTheCacheIsAsOldAsItMayBe(t *testing.T) {
	folder := t.TempDir()
	var published atomic.Pointer[jose.JSONWebKeySet]
	var asked atomic.Int64
	path, _ := pathTo(t, keptAlive, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("Cache-Control", "public, max-age=3600")
		_ = json.NewEncoder(w).Encode(published.Load())
	})
	cache := &jwksCache{url: "/keys", path: path, audience: "shop-api"}
	sign := func() string {
		t.Helper()
		token, err := signToken(folder, "shop-api")
		if err != nil {
			t.Fatal(err)
		}
		return token
	}

	first := mountKey(t, folder, "first")
	published.Store(&jose.JSONWebKeySet{Keys: []jose.JSONWebKey{first}})
	old := sign()
	said, err := cache.verify(t.Context(), old)
	if err != nil || said.keyID != "first" || len(said.subject) < 10 {
		t.Errorf("a good token: %+v, %v", said, err)
	}
	second := mountKey(t, folder, "second")
	published.Store(&jose.JSONWebKeySet{Keys: []jose.JSONWebKey{second}})
	if _, err := cache.verify(t.Context(), sign()); err == nil {
		t.Error("a token of a key that the cache cannot know passes")
	}
	if _, err := cache.verify(t.Context(), old); err != nil {
		t.Errorf("a token of a key in the cache: %v", err)
	}
	if asked.Load() != 1 {
		t.Errorf("the JWKS was fetched %d times, want once", asked.Load())
	}

	cache.expires = time.Now()
	if _, err := cache.verify(t.Context(), sign()); err != nil {
		t.Errorf("a token of the new key, after max-age: %v", err)
	}
	if _, err := cache.verify(t.Context(), old); err == nil {
		t.Error("a token of a key that has left the JWKS passes after max-age")
	}
	if _, err := (&jwksCache{url: "/keys", path: path, audience: "billing-api"}).verify(t.Context(), sign()); err == nil {
		t.Error("a token for another audience passes")
	}
}
