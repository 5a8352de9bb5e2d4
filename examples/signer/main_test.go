package main

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-cmp/cmp"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 500_000_000, time.UTC)

func TestSignWithEveryAlgorithm(t *testing.T) {
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[jose.SignatureAlgorithm]any{
		jose.ES256: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)),
		jose.ES384: must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)),
		jose.ES512: must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)),
		jose.EdDSA: edKey,
		jose.RS256: rsaKey, jose.RS384: rsaKey, jose.RS512: rsaKey,
		jose.PS256: rsaKey, jose.PS384: rsaKey, jose.PS512: rsaKey,
		jose.HS256: random(32), jose.HS384: random(48), jose.HS512: random(64),
	}
	for algorithm, key := range tests {
		t.Run(string(algorithm), func(t *testing.T) {
			dir := t.TempDir()
			jwk := jose.JSONWebKey{Key: key, KeyID: "key-1", Algorithm: string(algorithm)}
			write(t, dir, jwk, nil)
			token := issue(t, options{dir: dir, subject: "alice", audience: "shop-api", client: "shop", scope: "orders:read", sid: "s1"})

			parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{algorithm})
			if err != nil {
				t.Fatal(err)
			}
			verification := key // a symmetric key has no public half
			if public := jwk.Public(); public.Key != nil {
				verification = public.Key
			}
			claims := map[string]any{}
			if err := parsed.Claims(verification, &claims); err != nil {
				t.Fatalf("the signature does not verify: %v", err)
			}
			header := parsed.Headers[0]
			if header.KeyID != "key-1" || header.ExtraHeaders[jose.HeaderType] != "at+jwt" {
				t.Errorf("kid = %q and typ = %v, want key-1 and at+jwt", header.KeyID, header.ExtraHeaders[jose.HeaderType])
			}
			if id, _ := claims["jti"].(string); len(id) < 26 {
				t.Errorf("jti = %q, want 26 random letters", id)
			}
			delete(claims, "jti")
			want := map[string]any{
				"iss": "https://tokens.example.com/shop", "sub": "alice", "aud": "shop-api", "client_id": "shop",
				"scope": "orders:read", "sid": "s1",
				"iat": float64(now.Unix()), "nbf": float64(now.Unix()), "exp": float64(now.Unix() + 600),
			}
			if diff := cmp.Diff(want, claims); diff != "" {
				t.Errorf("claims (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLifetime(t *testing.T) {
	tests := map[string]struct {
		allowed  string // max-lifetime of the Secret
		lifetime time.Duration
		want     time.Duration // zero when there is an error
	}{
		"by default 15 minutes":         {"86400", 0, 15 * time.Minute},
		"less where less is allowed":    {"60", 0, time.Minute},
		"what is asked for":             {"600", 5 * time.Minute, 5 * time.Minute},
		"as much as is allowed":         {"600", 10 * time.Minute, 10 * time.Minute},
		"not more":                      {"600", 10*time.Minute + 1, 0},
		"not less than a second":        {"600", time.Millisecond, 0},
		"not negative":                  {"600", -time.Minute, 0},
		"a Secret that allows no token": {"0", 0, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, jose.JSONWebKey{Key: random(32), KeyID: "a", Algorithm: "HS256"}, map[string]string{"max-lifetime": test.allowed})
			token, err := sign(options{dir: dir, subject: "a", audience: "b", client: "c", lifetime: test.lifetime}, now)
			if test.want == 0 {
				if err == nil || !strings.Contains(err.Error(), "-lifetime") {
					t.Errorf("error = %v, want one about -lifetime", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			claims := unverified(t, token)
			if got := claims.Expiry.Time().Sub(claims.IssuedAt.Time()); got != test.want {
				t.Errorf("exp - iat = %s, want %s", got, test.want)
			}
		})
	}
}

func TestIDs(t *testing.T) {
	o := options{dir: t.TempDir(), subject: "a", audience: "b", client: "c"}
	write(t, o.dir, jose.JSONWebKey{Key: random(32), KeyID: "a", Algorithm: "HS256"}, nil)
	first, second := unverified(t, issue(t, o)).ID, unverified(t, issue(t, o)).ID
	if first == second {
		t.Error("two tokens have the same jti")
	}
	o.id = "chosen"
	if id := unverified(t, issue(t, o)).ID; id != "chosen" {
		t.Errorf("jti = %q, want the one that was asked for", id)
	}
}

// The directory looks like one that the kubelet made: files are links through ..data, which a rotation turns.
func TestRotationNeedsNoRestart(t *testing.T) {
	dir := t.TempDir()
	turn := func(version string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, version), jose.JSONWebKey{Key: random(32), KeyID: version, Algorithm: "HS256"}, nil)
		if err := os.Symlink(version, filepath.Join(dir, "..tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	for _, version := range []string{"..first", "..second"} {
		turn(version)
		token := issue(t, options{dir: dir, subject: "a", audience: "b", client: "c"})
		parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.HS256})
		if err != nil {
			t.Fatal(err)
		}
		if got := parsed.Headers[0].KeyID; got != version {
			t.Errorf("kid = %q after the rotation to %q", got, version)
		}
	}
}

// The old files vanish after the key was read and before its id: nothing of the old may be mixed with the new.
func TestRotationWhileReading(t *testing.T) {
	dir := t.TempDir()
	before, after := filepath.Join(dir, "..before"), filepath.Join(dir, "..after")
	for _, version := range []string{before, after} {
		if err := os.Mkdir(version, 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, version, jose.JSONWebKey{Key: random(32), KeyID: filepath.Base(version), Algorithm: "HS256"}, nil)
	}
	old := must(os.ReadFile(filepath.Join(before, "key.jwk")))
	pipe, link := filepath.Join(before, "key.jwk"), filepath.Join(dir, "..data")
	if err := errors.Join(os.Remove(pipe), syscall.Mkfifo(pipe, 0o600), os.Symlink("..before", link)); err != nil {
		t.Fatal(err)
	}
	rotated := make(chan error, 1)
	go func() {
		writer, err := os.OpenFile(pipe, os.O_WRONLY, 0) // waits for the reader
		if err != nil {
			rotated <- err
			return
		}
		err = errors.Join(os.Remove(link), os.Symlink("..after", link), os.RemoveAll(before))
		_, writing := writer.Write(old)
		rotated <- errors.Join(err, writing, writer.Close())
	}()
	secret, err := readSecret(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-rotated; err != nil {
		t.Fatal(err)
	}
	if secret.keyID != "..after" || secret.key.KeyID != "..after" {
		t.Errorf("kid = %q with the key %q, want both from after the rotation", secret.keyID, secret.key.KeyID)
	}
}

func TestSignRefuses(t *testing.T) {
	good := options{subject: "a", audience: "b", client: "c"}
	public := jose.JSONWebKey{Key: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)).Public(), KeyID: "a"}
	tests := map[string]struct {
		options options
		files   map[string]string
		want    string
	}{
		"no subject":            {options{audience: "b", client: "c"}, nil, "-sub"},
		"no audience":           {options{subject: "a", client: "c"}, nil, "-aud"},
		"no client":             {options{subject: "a", audience: "b"}, nil, "-client"},
		"a file is missing":     {good, map[string]string{"kid": ""}, "mount the Secret"},
		"a key that is none":    {good, map[string]string{"key.jwk": "c2VjcmV0"}, "key.jwk"},
		"a public key":          {good, map[string]string{"key.jwk": document(t, public)}, "key.jwk"},
		"another algorithm":     {good, map[string]string{"alg": "ES256"}, "do not belong together"},
		"an unknown algorithm":  {good, map[string]string{"alg": "none"}, "do not belong together"},
		"a lifetime in minutes": {good, map[string]string{"max-lifetime": "15m"}, "number of seconds"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.options.dir = t.TempDir()
			write(t, test.options.dir, jose.JSONWebKey{Key: random(32), KeyID: "a", Algorithm: "HS256"}, test.files)
			token, err := sign(test.options, now)
			if err == nil || !strings.Contains(err.Error(), test.want) || token != "" {
				t.Errorf("error = %v, want one with %q", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "c2VjcmV0") {
				t.Errorf("the error repeats the content of key.jwk: %v", err)
			}
		})
	}
}

// write makes the files of the Secret, with some of them replaced, or left out where the text is empty.
func write(t *testing.T, dir string, key jose.JSONWebKey, replaced map[string]string) {
	t.Helper()
	files := map[string]string{
		"key.jwk": document(t, key), "kid": key.KeyID, "alg": key.Algorithm,
		"issuer": "https://tokens.example.com/shop", "max-lifetime": "600",
	}
	for name, content := range files {
		if replacement, ok := replaced[name]; ok {
			content = replacement
		}
		if content == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func issue(t *testing.T, o options) string {
	t.Helper()
	token, err := sign(o, now)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func unverified(t *testing.T, token string) jwt.Claims {
	t.Helper()
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.HS256})
	if err != nil {
		t.Fatal(err)
	}
	var claims jwt.Claims
	if err := parsed.UnsafeClaimsWithoutVerification(&claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

func document(t *testing.T, key jose.JSONWebKey) string {
	t.Helper()
	content, err := json.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// must is for making keys, which fails only where there is no randomness.
func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func random(size int) []byte {
	secret := make([]byte, size)
	_, _ = rand.Read(secret)
	return secret
}
