package remotejwks

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
)

// algorithmsOf is the result of parsing: the ids of the usable keys with what they verify.
type algorithmsOf = map[string][]jose.SignatureAlgorithm

func TestParseSetAlgorithms(t *testing.T) {
	p384, p521 := ecKey(t, "p384", elliptic.P384()), ecKey(t, "p521", elliptic.P521())
	everything := []any{p256(t, "p256"), p384, p521, edKey(t, "ed"), rsaKey("rsa")}
	tests := map[string]struct {
		allowed []jose.SignatureAlgorithm
		keys    []any
		want    algorithmsOf
	}{
		"a key without alg verifies what fits its type and curve": {
			keys: everything,
			want: algorithmsOf{"p256": {jose.ES256}, "p384": {jose.ES384}, "p521": {jose.ES512}, "ed": {jose.EdDSA},
				"rsa": {jose.RS256, jose.PS256}},
		},
		"and only what the issuer may use": {
			allowed: []jose.SignatureAlgorithm{jose.RS512, jose.ES384},
			keys:    everything,
			want:    algorithmsOf{"p384": {jose.ES384}, "rsa": {jose.RS512}},
		},
		"a key with alg verifies only that": {
			keys: []any{with(t, rsaKey("rsa"), map[string]any{"alg": "PS256"})},
			want: algorithmsOf{"rsa": {jose.PS256}},
		},
		"use and key_ops that allow verifying": {
			keys: []any{
				with(t, p256(t, "sig"), map[string]any{"use": "sig"}),
				with(t, p256(t, "ops"), map[string]any{"key_ops": []string{"encrypt", "verify"}}),
			},
			want: algorithmsOf{"sig": {jose.ES256}, "ops": {jose.ES256}},
		},
		"a certificate that does not fit does no harm: the server vouches for the key": {
			keys: []any{with(t, p256(t, "a"), map[string]any{"x5c": []string{"bm90IGEgY2VydGlmaWNhdGU="}, "x5t": "?"})},
			want: algorithmsOf{"a": {jose.ES256}},
		},
		"symmetric algorithms in the source fit nothing": {
			allowed: []jose.SignatureAlgorithm{jose.HS256, "none", jose.ES256},
			keys:    everything,
			want:    algorithmsOf{"p256": {jose.ES256}},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			source := Source{Algorithms: test.allowed, MaxLifetime: time.Hour}.withDefaults()
			keys, _, err := parseSet(jwks(t, test.keys...), source)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, ids(keys)); diff != "" {
				t.Errorf("usable keys (-want +got):\n%s", diff)
			}
			for id, key := range keys {
				if key.ID != id || key.MaxLifetime != time.Hour {
					t.Errorf("key %q has the id %q and vouches for %s, want 1h", id, key.ID, key.MaxLifetime)
				}
			}
		})
	}
}

func TestParseSetSkips(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	even := new(big.Int).Lsh(big.NewInt(3), 2046)
	tests := map[string]struct {
		key  any
		want string // what the sentence says
	}{
		"symmetric":           {jose.JSONWebKey{KeyID: "bad", Key: []byte("0123456789abcdef0123456789abcdef")}, "symmetric"},
		"private EC":          {jose.JSONWebKey{KeyID: "bad", Key: private}, "private key"},
		"private RSA":         {jose.JSONWebKey{KeyID: "bad", Key: rsaPrivate()}, "private key"},
		"a single CRT member": {with(t, rsaKey("bad"), map[string]any{"dq": "AQAB"}), "private key"},
		"no kid":              {p256(t, ""), "no kid"},
		"long kid":            {p256(t, strings.Repeat("k", maxKeyID+1)), "longer than 256"},
		"for encryption":      {with(t, p256(t, "bad"), map[string]any{"use": "enc"}), `use is "enc"`},
		"cannot verify":       {with(t, p256(t, "bad"), map[string]any{"key_ops": []string{"sign"}}), "key_ops"},
		"no operation at all": {with(t, p256(t, "bad"), map[string]any{"key_ops": []string{}}), "key_ops"},
		"unknown kty":         {with(t, p256(t, "bad"), map[string]any{"kty": "lattice"}), `kty "lattice"`},
		"missing kty":         {with(t, p256(t, "bad"), map[string]any{"kty": nil}), "known type"},
		"unknown curve":       {with(t, p256(t, "bad"), map[string]any{"crv": "secp256k1"}), `crv "secp256k1"`},
		"not on its curve":    {with(t, p256(t, "bad"), map[string]any{"x": strings.Repeat("A", 43)}), "well-formed"},
		"weak RSA":            {jose.JSONWebKey{KeyID: "bad", Key: weakRSA(t)}, "1024 bits"},
		"even modulus":        {jose.JSONWebKey{KeyID: "bad", Key: &rsa.PublicKey{N: even, E: 65537}}, "even"},
		"even exponent":       {with(t, rsaKey("bad"), map[string]any{"e": "BA"}), "even"},
		"huge exponent":       {with(t, rsaKey("bad"), map[string]any{"e": "AQAAAAE"}), "2^31-1"},
		"alg of another type": {with(t, p256(t, "bad"), map[string]any{"alg": "RS256"}), "none of the issuer's algorithms"},
		"alg not allowed":     {with(t, rsaKey("bad"), map[string]any{"alg": "RS384"}), "none of the issuer's algorithms"},
		"alg none":            {with(t, p256(t, "bad"), map[string]any{"alg": "none"}), "none of the issuer's algorithms"},
		"members mistyped":    {with(t, p256(t, "bad"), map[string]any{"x": 7}), "not a JWK"},
		"no object":           {"a string", "not a JWK"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			good := p256(t, "good")
			keys, skipped, err := parseSet(jwks(t, test.key, good), Source{}.withDefaults())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(algorithmsOf{"good": {jose.ES256}}, ids(keys)); diff != "" {
				t.Errorf("usable keys (-want +got):\n%s", diff)
			}
			if len(skipped) != 1 || !strings.Contains(skipped[0], test.want) || !strings.HasPrefix(skipped[0], "key 1 (kid ") {
				t.Errorf("skipped = %q, want one sentence about key 1 with %q", skipped, test.want)
			}
			// Alone in its document, the same key makes the document useless.
			if _, _, err := parseSet(jwks(t, test.key), Source{}.withDefaults()); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error without a usable key = %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestParseSetDuplicateID(t *testing.T) {
	first, second := p256(t, "same"), p256(t, "same")
	unusable := with(t, p256(t, "same"), map[string]any{"use": "enc"})
	tests := map[string]struct {
		keys        []any
		want        jose.JSONWebKey
		wantSkipped int
	}{
		"the first wins":                    {[]any{first, second}, first, 1},
		"the first usable wins":             {[]any{unusable, second, first}, second, 2},
		"an identical one is not mentioned": {[]any{first, first}, first, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			keys, skipped, err := parseSet(jwks(t, test.keys...), Source{}.withDefaults())
			if err != nil {
				t.Fatal(err)
			}
			if !samePublic(keys["same"].Public, test.want.Key) || len(keys) != 1 {
				t.Error("the wrong key won")
			}
			if len(skipped) != test.wantSkipped {
				t.Errorf("skipped = %q, want %d", skipped, test.wantSkipped)
			}
		})
	}
}

func TestParseSetRefusesDocument(t *testing.T) {
	many := make([]any, maxKeys+1)
	for i := range many {
		many[i] = rsaKey(fmt.Sprint(i))
	}
	tests := map[string]struct {
		document []byte
		want     string
	}{
		"empty":            {nil, "not a JWK Set"},
		"a page":           {[]byte("<html></html>"), "not a JWK Set"},
		"keys is a string": {[]byte(`{"keys":"none"}`), "not a JWK Set"},
		"keys twice":       {[]byte(`{"keys":[],"keys":[]}`), "not a JWK Set"},
		"no keys":          {[]byte(`{}`), "it is empty"},
		"wrong case":       {bytes.Replace(jwks(t, p256(t, "a")), []byte(`"keys"`), []byte(`"KEYS"`), 1), "it is empty"},
		"empty set":        {jwks(t), "it is empty"},
		"too many keys":    {jwks(t, many...), "101 keys"},
		"many bad ones":    {jwks(t, 1, 2, 3, 4, 5), "and 2 more"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			keys, _, err := parseSet(test.document, Source{}.withDefaults())
			if err == nil || !strings.Contains(err.Error(), test.want) || keys != nil {
				t.Errorf("keys = %v, error = %v, want none and an error with %q", keys, err, test.want)
			}
		})
	}
	if keys, _, err := parseSet(jwks(t, many[1:]...), Source{}.withDefaults()); err != nil || len(keys) != maxKeys {
		t.Errorf("a set of %d keys gave %d and the error %v, want all", maxKeys, len(keys), err)
	}
}

func TestParseSetKeepsSecretsOut(t *testing.T) {
	secret := strings.Repeat("c2VjcmV0", 5)
	symmetric := map[string]any{"kty": "oct", "kid": "a", "k": secret}
	private := with(t, p256(t, "b"), map[string]any{"d": secret})
	mistyped := with(t, p256(t, "c"), map[string]any{"d": secret, "x": 1})
	_, skipped, err := parseSet(jwks(t, symmetric, private, mistyped), Source{}.withDefaults())
	if err == nil || len(skipped) != 3 {
		t.Fatalf("skipped = %q, error = %v, want three keys skipped and an error", skipped, err)
	}
	if text := err.Error() + strings.Join(skipped, ""); strings.Contains(text, "c2VjcmV0") {
		t.Errorf("key material is repeated in: %s", text)
	}
}

func FuzzParseSet(f *testing.F) {
	f.Add(jwks(f, p256(f, "a"), edKey(f, "b"), rsaKey("c")))
	f.Add(jwks(f, with(f, rsaKey("c"), map[string]any{"alg": "PS256", "use": "sig", "key_ops": []string{"verify"}})))
	f.Add(jwks(f, jose.JSONWebKey{KeyID: "s", Key: []byte("secret")}, jose.JSONWebKey{KeyID: "p", Key: rsaPrivate()}))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","kid":"a"},{"kty":"OKP","crv":"X25519","x":"AA"},null,1]}`))
	f.Add([]byte(`{"keys":` + strings.Repeat("[", 20000)))
	source := Source{}.withDefaults()
	f.Fuzz(func(t *testing.T, document []byte) {
		keys, skipped, err := parseSet(document, source)
		if (len(keys) == 0) != (err != nil) {
			t.Fatalf("%d keys with the error %v", len(keys), err)
		}
		if len(keys)+len(skipped) > maxKeys {
			t.Fatalf("%d keys and %d skipped ones come out, more than a document may hold", len(keys), len(skipped))
		}
		for id, key := range keys {
			if id == "" || id != key.ID || len(id) > maxKeyID || len(key.Algorithms) == 0 {
				t.Fatalf("key %q has the id %q and the algorithms %v", id, key.ID, key.Algorithms)
			}
			for _, algorithm := range key.Algorithms {
				if !fits(algorithm, key.Public) {
					t.Fatalf("key %q of type %T verifies %s", id, key.Public, algorithm)
				}
			}
		}
	})
}

// weakRSA has the shape of a key of 1024 bits. Nothing is ever signed with it.
func weakRSA(t *testing.T) *rsa.PublicKey {
	t.Helper()
	modulus, err := rand.Prime(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	return &rsa.PublicKey{N: modulus, E: 65537}
}
