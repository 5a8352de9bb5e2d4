// Package verification measures what a token costs in process, beside the raw signature check of the standard library
// and beside other libraries.
package verification

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"k8s.io/utils/clock"

	"github.com/keyturn/keyturn/internal/token"
	"github.com/keyturn/keyturn/test/bench/revoked"
)

// What every verifier, ours or not, is set up with.
const (
	issuerURL = "https://tokens.example.com/shop"
	audience  = "shop-api"
	skew      = 30 * time.Second
)

// issuer is one with a single key. It is its own directory.
type issuer struct {
	algorithm jose.SignatureAlgorithm
	private   any
	// public is what verifies: the public key, or the secret of HMAC.
	public   any
	snapshot *token.Issuer
}

func (i *issuer) Synced() bool { return true }

func (i *issuer) ByURL(url string) *token.Issuer {
	if url != issuerURL {
		return nil
	}
	return i.snapshot
}

func newIssuer(b *testing.B, algorithm jose.SignatureAlgorithm) *issuer {
	b.Helper()
	private, err := newKey(algorithm)
	if err != nil {
		b.Fatal(err)
	}
	public := private
	if signer, ok := private.(crypto.Signer); ok {
		public = signer.Public()
	}
	return &issuer{algorithm: algorithm, private: private, public: public, snapshot: &token.Issuer{
		Namespace: "shop", Name: "tokens", URL: issuerURL,
		Keys: map[string]*token.Key{"key-1": {
			ID: "key-1", Algorithms: []jose.SignatureAlgorithm{algorithm}, Public: public, MaxLifetime: 24 * time.Hour,
		}},
		Audiences: []string{audience}, Types: []string{"at+jwt"}, ClockSkew: skew, Revocations: revoked.Others(),
	}}
}

func newKey(algorithm jose.SignatureAlgorithm) (any, error) {
	switch algorithm {
	case jose.ES256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jose.EdDSA:
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	case jose.RS256, jose.PS256:
		return rsa.GenerateKey(rand.Reader, 2048)
	case jose.HS256:
		return []byte(rand.Text() + rand.Text()), nil
	}
	return nil, fmt.Errorf("no key for %s", algorithm)
}

// verifier is one of ours, which has seen no token.
func (i *issuer) verifier() *token.Verifier {
	return token.NewVerifier(i, clock.RealClock{}, token.Options{})
}

// mint signs so many good tokens, which differ in their id. They live for a day, which no benchmark outlasts.
func (i *issuer) mint(b *testing.B, count int) []string {
	b.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: i.algorithm, Key: i.private},
		(&jose.SignerOptions{}).WithType("at+jwt").WithHeader("kid", "key-1"))
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	raws := make([]string, count)
	for n := range raws {
		raws[n], err = jwt.Signed(signer).Claims(map[string]any{
			"iss": issuerURL, "sub": "alice", "aud": []string{audience, "mail-api"}, "jti": fmt.Sprintf("jti-%d", n),
			"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(24 * time.Hour).Unix(), "client_id": "web", "sid": "sid-1",
			"scope": "orders:read orders:write", "groups": []string{"buyers", "staff"},
		}).Serialize()
		if err != nil {
			b.Fatal(err)
		}
	}
	return raws
}

// forge gives each token the signature of the next one, so that checking it costs all that a good one does.
func forge(raws []string) []string {
	forged := make([]string, len(raws))
	for n, raw := range raws {
		next := raws[(n+1)%len(raws)]
		forged[n] = raw[:strings.LastIndexByte(raw, '.')] + next[strings.LastIndexByte(next, '.'):]
	}
	return forged
}
