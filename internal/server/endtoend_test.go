package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/keyturn/keyturn/internal/revocation"
	"github.com/keyturn/keyturn/internal/token"
)

// directory holds one issuer.
type directory struct{ issuer *token.Issuer }

func (d directory) Synced() bool { return true }

func (d directory) ByURL(url string) *token.Issuer {
	if url != d.issuer.URL {
		return nil
	}
	return d.issuer
}

// signed is a real issuer with a real key.
type signed struct {
	issuer *token.Issuer
	key    *ecdsa.PrivateKey
	now    time.Time
}

func newSigned(t testing.TB) signed {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signed{key: key, now: time.Now().Truncate(time.Second), issuer: &token.Issuer{
		Namespace: "web", Name: "shop", URL: "https://tokens.example.com/shop",
		Keys: map[string]*token.Key{"key-1": {
			ID: "key-1", Algorithms: []jose.SignatureAlgorithm{jose.ES256}, Public: key.Public(), MaxLifetime: time.Hour,
		}},
		Audiences: []string{"shop-api"}, Types: []string{"at+jwt"}, GroupsClaim: "groups",
		Revocations: revocation.NewIndex(),
	}}
}

func (s signed) verifier() *token.Verifier {
	return token.NewVerifier(directory{s.issuer}, clocktesting.NewFakePassiveClock(s.now), token.Options{})
}

// mint signs a token that is good, with changes.
func (s signed) mint(t testing.TB, changes map[string]any) string {
	t.Helper()
	claims := map[string]any{
		"iss": s.issuer.URL, "sub": "alice", "aud": "shop-api", "jti": "id-1", "client_id": "web", "sid": "s-1",
		"iat": s.now.Unix(), "exp": s.now.Add(15 * time.Minute).Unix(), "scope": "orders:read profile",
		"groups": []string{"staff", "system:masters"},
	}
	for name, value := range changes {
		claims[name] = value
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: s.key, KeyID: "key-1"}},
		(&jose.SignerOptions{}).WithType("at+jwt"))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestEndToEnd(t *testing.T) {
	issuer := newSigned(t)
	issuer.issuer.Revocations.Put(revocation.Rule{ID: "r-1", Kind: revocation.SessionID, Value: "s-revoked"})
	server := start(t, Options{Verifier: issuer.verifier()})
	other := newSigned(t)
	for _, test := range []struct {
		name, target, raw string
		status            int
		reason            token.Reason
	}{
		{"good", "/verify", issuer.mint(t, nil), 200, token.Allowed},
		{"good for what is required", "/verify?audience=shop-api&scope=orders:read+profile", issuer.mint(t, nil), 200, token.Allowed},
		{"good for what the path requires", "/verify-for/scope=profile/x?scope=admin", issuer.mint(t, nil), 200, token.Allowed},
		{"another audience", "/verify?audience=bank-api", issuer.mint(t, nil), 401, token.AudienceMismatch},
		{"too little scope", "/verify?scope=admin", issuer.mint(t, nil), 403, token.ScopeInsufficient},
		{"expired", "/verify", issuer.mint(t, map[string]any{"exp": issuer.now.Unix()}), 401, token.Expired},
		{"revoked", "/verify", issuer.mint(t, map[string]any{"sid": "s-revoked"}), 401, token.Revoked},
		{"another key", "/verify", other.mint(t, nil), 401, token.SignatureInvalid},
		{"another issuer", "/verify", issuer.mint(t, map[string]any{"iss": "https://x"}), 401, token.IssuerUnknown},
		{"no token", "/verify", "x.y.z", 401, token.Malformed},
		{"too large", "/verify", strings.Repeat("x", token.MaxTokenBytes+1), 401, token.TokenTooLarge},
		{"a subject to encode", "/verify", issuer.mint(t, map[string]any{"sub": "a\r\nX-Auth-Client: root"}), 200, token.Allowed},
	} {
		t.Run(test.name, func(t *testing.T) {
			answer := server.raw(t, "GET "+test.target+" HTTP/1.1\nHost: a\nAuthorization: Bearer "+test.raw+"\n\n")
			if answer.StatusCode != test.status {
				t.Errorf("status %d, want %d: %s", answer.StatusCode, test.status, answer.body)
			}
			if test.reason != token.Allowed && !strings.Contains(answer.body, string(test.reason)) {
				t.Errorf("body %s, want %s", answer.body, test.reason)
			}
			if test.reason == token.Allowed {
				if got := answer.Header[headerClient]; len(got) != 1 || got[0] != "web" {
					t.Errorf("%s = %q", headerClient, got)
				}
				if got := answer.Header.Get(headerScopes); got != "orders:read profile" {
					t.Errorf("%s = %q", headerScopes, got)
				}
			}
		})
	}
}

func TestEndToEndTokenReview(t *testing.T) {
	issuer := newSigned(t)
	options := testOptions()
	options.Verifier = issuer.verifier()
	s := New(options)
	status := review(t, s, "v1", issuer.mint(t, map[string]any{"aud": []string{"cluster", "shop-api"}}), `["cluster"]`).Status
	if !status.Authenticated || len(status.Audiences) != 1 || status.Audiences[0] != "cluster" {
		t.Errorf("status %+v", status)
	}
	prefix := issuer.issuer.URL + "#"
	if got := strings.Join(status.User.Groups, " "); got != prefix+"staff "+prefix+"system:masters" {
		t.Errorf("groups %s", got)
	}

	many := make([]string, maxGroups+1)
	for i := range many {
		many[i] = "g"
	}
	status = review(t, s, "v1", issuer.mint(t, map[string]any{"groups": many}), `[]`).Status
	if status.Authenticated || !strings.HasPrefix(status.Error, string(ClaimsTooLong)) {
		t.Errorf("with %d groups: %+v", len(many), status)
	}
}
