package token

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
)

func accessToken() *AccessToken {
	return &AccessToken{
		Issuer: issuerURL, Subject: "alice", ClientID: "web", SessionID: "sid-1",
		Audiences: []string{"shop-api"}, Scopes: []string{"orders:read", "orders:write"},
		IssuedAt: noon.Add(999 * time.Millisecond), Expiry: noon.Add(10 * time.Minute).Add(400 * time.Millisecond),
		Extra: map[string]any{"groups": []string{"staff"}},
	}
}

func newTestSigner(t testing.TB, algorithm jose.SignatureAlgorithm) *Signer {
	t.Helper()
	signer, err := NewSigner(&jose.JSONWebKey{Key: signers[algorithm], KeyID: string(algorithm)}, algorithm, 15*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func TestWhatIsSignedIsAllowed(t *testing.T) {
	for algorithm := range signers {
		t.Run(string(algorithm), func(t *testing.T) {
			w := newWorld()
			w.change(func(issuer *Issuer) { issuer.Types = []string{"at+jwt"} })
			raw, err := newTestSigner(t, algorithm).Sign(accessToken())
			if err != nil {
				t.Fatal(err)
			}
			result := w.verifier().Verify(raw, Want{Scopes: []string{"orders:read"}})
			if !result.Allowed() {
				t.Fatalf("denied: %s", result.Reason)
			}
			if groups := result.Claims.Groups("groups"); !cmp.Equal(groups, []string{"staff"}) {
				t.Errorf("the groups are %v", groups)
			}
		})
	}
}

func TestClaimsOfAnAccessToken(t *testing.T) {
	header, claims := signAndRead(t, accessToken())
	if diff := cmp.Diff(map[string]any{"alg": "EdDSA", "kid": "EdDSA", "typ": "at+jwt"}, header); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	if id, _ := claims["jti"].(string); len(id) != 22 {
		t.Errorf("jti is %q", id)
	}
	delete(claims, "jti")
	at := float64(noon.Unix())
	if diff := cmp.Diff(map[string]any{
		"iss": issuerURL, "sub": "alice", "client_id": "web", "sid": "sid-1", "aud": []any{"shop-api"},
		"iat": at, "nbf": at, "exp": at + 600, "scope": "orders:read orders:write", "groups": []any{"staff"},
	}, claims); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
}

func TestEachAccessTokenHasAnIDOfItsOwn(t *testing.T) {
	_, first := signAndRead(t, accessToken())
	_, second := signAndRead(t, accessToken())
	if first["jti"] == second["jti"] {
		t.Errorf("both are %v", first["jti"])
	}
}

// TestExtraClaimsReplaceNothing because what a login says must not decide what a token is.
func TestExtraClaimsReplaceNothing(t *testing.T) {
	token := accessToken()
	token.Scopes = nil
	token.Extra = map[string]any{}
	own := []string{"iss", "sub", "client_id", "sid", "aud", "iat", "nbf", "exp", "jti", "scope"}
	for _, name := range own {
		token.Extra[name] = "forged"
	}
	_, claims := signAndRead(t, token)
	for _, name := range own {
		if claims[name] == "forged" {
			t.Errorf("the login decides on %q", name)
		}
	}
	if scope, found := claims["scope"]; found {
		t.Errorf("without scopes there is the claim scope: %v", scope)
	}
}

func TestNoTokenOutlivesWhatItsKeyMayVouchFor(t *testing.T) {
	token := accessToken()
	token.Expiry = noon.Add(time.Hour)
	_, claims := signAndRead(t, token)
	if want := noon.Add(15 * time.Minute); claims["exp"] != float64(want.Unix()) || !token.Expiry.Equal(want) {
		t.Errorf("exp is %v, and the caller learns %v; want %v", claims["exp"], token.Expiry, want)
	}
}

func TestKeyThatDoesNotSuitTheAlgorithm(t *testing.T) {
	_, err := NewSigner(&jose.JSONWebKey{Key: signers[jose.ES256], KeyID: "k1"}, jose.RS256, time.Minute)
	if err == nil || !strings.Contains(err.Error(), "k1") {
		t.Errorf("the error is %v", err)
	}
}

func signAndRead(t *testing.T, token *AccessToken) (header, claims map[string]any) {
	t.Helper()
	raw, err := newTestSigner(t, jose.EdDSA).Sign(token)
	if err != nil {
		t.Fatal(err)
	}
	parts, reason := decode(raw)
	if reason != Allowed {
		t.Fatal(reason)
	}
	for document, into := range map[string]*map[string]any{string(parts.header): &header, string(parts.payload): &claims} {
		if err := json.Unmarshal([]byte(document), into); err != nil {
			t.Fatal(err)
		}
	}
	return header, claims
}

func BenchmarkSign(b *testing.B) {
	for _, algorithm := range []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA, jose.RS256, jose.HS256} {
		b.Run(string(algorithm), func(b *testing.B) {
			signer := newTestSigner(b, algorithm)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := signer.Sign(accessToken()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
