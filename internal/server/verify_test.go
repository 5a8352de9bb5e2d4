package server

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/token"
)

// Each file is a request as the gateway of its name sends it. In all of them the client tries to change what is
// required, and to pass as somebody else.
func TestGatewaysAsTheyAre(t *testing.T) {
	named := token.Want{Audiences: []string{"shop-api"}, Scopes: []string{"orders:read"}}
	wants := map[string]token.Want{
		"nginx":             named,
		"ingress-nginx":     named,
		"traefik":           named,
		"caddy":             named,
		"envoy":             {},
		"envoy-requirement": named,
	}
	verifier := newFakeVerifier()
	server := start(t, Options{Verifier: verifier})
	for gateway, want := range wants {
		content, err := os.ReadFile(filepath.Join("testdata", gateway+".http"))
		if err != nil {
			t.Fatal(err)
		}
		with := func(token string) string { return strings.ReplaceAll(string(content), "TOKEN", token) }
		t.Run(gateway, func(t *testing.T) {
			allowed := server.raw(t, with("good"))
			if allowed.StatusCode != http.StatusOK || allowed.body != "" {
				t.Errorf("a good token: %d %q, want exactly 200 without a body", allowed.StatusCode, allowed.body)
			}
			identity := map[string]string{
				headerSubject: "alice", headerSession: "s-1", headerScopes: "orders:read",
				headerIssuer: "https://tokens.example.com/shop", headerClient: "web",
			}
			for name, value := range identity {
				if diff := cmp.Diff([]string{value}, allowed.Header[name]); diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
			}
			if got := allowed.Header.Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control = %q", got)
			}
			if diff := cmp.Diff(want, verifier.lastWant(t)); diff != "" {
				t.Errorf("required (-want +got):\n%s", diff)
			}

			denied := server.raw(t, with("revoked"))
			if denied.StatusCode != http.StatusUnauthorized {
				t.Errorf("a revoked token: %d, want 401", denied.StatusCode)
			}
			wantChallenge := `Bearer error="invalid_token", error_description="Revoked: ` + token.Revoked.Sentence() + `"`
			if got := denied.Header.Get("WWW-Authenticate"); got != wantChallenge {
				t.Errorf("challenge %s, want %s", got, wantChallenge)
			}
			if _, found := denied.Header[headerSubject]; found {
				t.Error("a denial names a subject")
			}
		})
	}
}

// invalid is how the challenge for a bad token begins.
const invalid = `Bearer error="invalid_token"`

var denials = []struct {
	name   string
	target string
	// authorization are the lines of the header.
	authorization []string
	status        int
	// challenge is how WWW-Authenticate begins; the whole of it where it is "Bearer".
	challenge string
	reason    token.Reason
}{
	{"no token", "/verify", nil, 401, "Bearer", token.TokenMissing},
	{"an empty header", "/verify", []string{""}, 401, "Bearer", token.TokenMissing},
	{"a scheme without token", "/verify", []string{"Bearer"}, 401, "Bearer", token.TokenMissing},
	{"another scheme", "/verify", []string{"Basic YTpi"}, 401, "Bearer", token.TokenMissing},
	{"two tokens", "/verify", []string{"Bearer good", "Bearer good"}, 401, invalid, token.TokenAmbiguous},
	{"two tokens in one line", "/verify", []string{"Bearer good, Bearer good"}, 401, invalid, token.TokenAmbiguous},
	{"before the first sync", "/verify", []string{"Bearer early"}, 401, invalid, token.NotSynced},
	{"an unknown issuer", "/verify", []string{"Bearer foreign"}, 401, invalid, token.IssuerUnknown},
	{"no JWT", "/verify", []string{"Bearer x y"}, 401, invalid, token.Malformed},
	{"another audience", "/verify?audience=bank", []string{"Bearer good"}, 401, invalid, token.AudienceMismatch},
	{"a token in the query", "/verify/?access_token=good", nil, 401, "Bearer", token.TokenMissing},
	{"too little scope", "/verify?scope=a+b", []string{"Bearer good"}, 403,
		`Bearer error="insufficient_scope", error_description="ScopeInsufficient: `, token.ScopeInsufficient},
	{"a requirement that is not understood", "/verify?audiance=shop-api", []string{"Bearer good"}, 401,
		`Bearer error="invalid_request", error_description="RequirementInvalid: `, RequirementInvalid},
	{"no requirement where one must be", "/verify-for", []string{"Bearer good"}, 401,
		`Bearer error="invalid_request"`, RequirementInvalid},
	{"an empty requirement", "/verify-for//orders", []string{"Bearer good"}, 401,
		`Bearer error="invalid_request"`, RequirementInvalid},
	{"a fault of ours", "/verify", []string{"Bearer panic"}, 401, invalid, InternalError},
}

func TestDenials(t *testing.T) {
	for _, test := range denials {
		t.Run(test.name, func(t *testing.T) {
			answer := serve(New(testOptions()), "GET", test.target, http.Header{"Authorization": test.authorization})
			if answer.StatusCode != test.status {
				t.Errorf("status %d, want %d", answer.StatusCode, test.status)
			}
			challenge := answer.Header.Get("WWW-Authenticate")
			if !strings.HasPrefix(challenge, test.challenge) || test.challenge == "Bearer" && challenge != "Bearer" {
				t.Errorf("challenge %s, want %s…", challenge, test.challenge)
			}
			var body denial
			if err := json.Unmarshal([]byte(answer.body), &body); err != nil {
				t.Fatalf("body %q: %v", answer.body, err)
			}
			if body.Reason != test.reason || !strings.HasPrefix(body.Description, string(test.reason)+": ") {
				t.Errorf("body %+v, want the reason %s", body, test.reason)
			}
			if want := test.challenge == "Bearer"; (body.Code == "") != want {
				t.Errorf("error %q in the body", body.Code)
			}
			if got := answer.Header.Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control = %q", got)
			}
			if got, want := answer.Header.Get("Retry-After") != "", test.reason == token.NotSynced; got != want {
				t.Errorf("Retry-After there: %t, want %t", got, want)
			}
		})
	}
}

// The scopes that would have been needed are named: the gateway's, or else the issuer's own.
func TestInsufficientScopeNamesTheScope(t *testing.T) {
	verifier := newFakeVerifier()
	verifier.claims.Scopes = nil
	options := testOptions()
	options.Verifier = verifier
	answer := serve(New(options), "GET", "/verify?scope=a&scope=b+c", bearer("good"))
	if got := answer.Header.Get("WWW-Authenticate"); !strings.HasSuffix(got, `, scope="a b c"`) {
		t.Errorf("challenge %s", got)
	}
	if got := denialOf(token.ScopeInsufficient, neededScopes(token.Want{}, shop)).challenge(); !strings.HasSuffix(got,
		`, scope="orders:read"`) {
		t.Errorf("challenge %s", got)
	}
}

// A gateway copies the headers that it finds, so those without a value must be there too.
func TestIdentityHeadersAreAlwaysSet(t *testing.T) {
	verifier := newFakeVerifier()
	verifier.claims = token.Claims{Audiences: []string{"shop-api"}}
	options := testOptions()
	options.Verifier = verifier
	header := bearer("good")
	for _, name := range []string{headerSubject, headerSession, headerScopes, headerIssuer, headerClient} {
		header.Set(name, "spoofed")
	}
	answer := serve(New(options), "GET", "/verify", header)
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("status %d", answer.StatusCode)
	}
	for _, name := range []string{headerSubject, headerSession, headerScopes, headerClient} {
		if diff := cmp.Diff([]string{""}, answer.Header[name]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if got := answer.Header[headerIssuer]; len(got) != 1 || got[0] != shop.URL {
		t.Errorf("%s = %q", headerIssuer, got)
	}
}

func TestClaimsTooLongForHeadersAreDenied(t *testing.T) {
	verifier := newFakeVerifier()
	verifier.claims.Subject = strings.Repeat("é", maxIdentityBytes/6+1)
	options := testOptions()
	options.Verifier = verifier
	answer := serve(New(options), "GET", "/verify", bearer("good"))
	if answer.StatusCode != http.StatusUnauthorized || !strings.Contains(answer.body, string(ClaimsTooLong)) {
		t.Errorf("%d %s", answer.StatusCode, answer.body)
	}
	if _, found := answer.Header[headerSubject]; found {
		t.Error("a denial names a subject")
	}
}

// Every reason that a token can have must come out as a denial that can stand in a header.
func TestChallengesAreWellFormed(t *testing.T) {
	for _, reason := range []token.Reason{
		token.NotSynced, token.TokenAmbiguous, token.TokenTooLarge, token.Malformed, token.IssuerUnknown, token.KeysStale,
		token.KeyUnknown, token.Expired, token.ScopeInsufficient, token.Revoked, ClaimsTooLong, InternalError,
	} {
		description := describe(reason)
		if quotable(description) != description {
			t.Errorf("the sentence of %s has characters that RFC 6750 section 3 forbids: %s", reason, description)
		}
	}
	for _, mistake := range []error{
		errRequirementMissing, errRequirementTooLong, errRequirementEncoding, errRequirementUnknown,
		errRequirementAudience, errRequirementScope,
	} {
		if quotable(mistake.Error()) != mistake.Error() {
			t.Errorf("the sentence has characters that RFC 6750 section 3 forbids: %s", mistake)
		}
	}
	if got := quotable("a\"b\\c\r\nd\u00e9"); got != "a?b?c??d?" {
		t.Errorf("quotable = %q", got)
	}
}
