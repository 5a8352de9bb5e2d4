package server

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/keyturn/keyturn/internal/token"
)

func TestRequirements(t *testing.T) {
	many := func(parameter string, n int) string {
		return strings.TrimSuffix(strings.Repeat(parameter+"&", n), "&")
	}
	for _, test := range []struct {
		raw     string
		want    token.Want
		mistake error
	}{
		{raw: ""},
		{raw: "audience=a", want: token.Want{Audiences: []string{"a"}}},
		{raw: "audience=a&audience=b", want: token.Want{Audiences: []string{"a", "b"}}},
		{raw: "scope=a&scope=b", want: token.Want{Scopes: []string{"a", "b"}}},
		{raw: "scope=a+b%20c", want: token.Want{Scopes: []string{"a", "b", "c"}}},
		{raw: "audience=https%3A%2F%2Fa%2Fb%3Fc&scope=x:y",
			want: token.Want{Audiences: []string{"https://a/b?c"}, Scopes: []string{"x:y"}}},
		{raw: "audience=é", want: token.Want{Audiences: []string{"é"}}},
		{raw: "issuer=shop/tokens", want: token.Want{Issuers: []string{"shop/tokens"}}},
		{raw: "issuer=shop%2Ftokens&issuer=bank/a.b&audience=a",
			want: token.Want{Issuers: []string{"shop/tokens", "bank/a.b"}, Audiences: []string{"a"}}},
		{raw: "issuer=", mistake: errRequirementIssuer},
		{raw: "issuer=shop", mistake: errRequirementIssuer},
		{raw: "issuer=shop/", mistake: errRequirementIssuer},
		{raw: "issuer=/tokens", mistake: errRequirementIssuer},
		{raw: "issuer=shop/tokens/", mistake: errRequirementIssuer},
		{raw: "issuer=Shop/tokens", mistake: errRequirementIssuer},
		{raw: "issuer=https://tokens.shop.example", mistake: errRequirementIssuer},
		{raw: many("issuer=shop/tokens", 33), mistake: errRequirementIssuer},
		{raw: "audience=", mistake: errRequirementAudience},
		{raw: "audience", mistake: errRequirementAudience},
		{raw: "audience=a&audience=", mistake: errRequirementAudience},
		{raw: "audience=%00", mistake: errRequirementAudience},
		{raw: "audience=%ff", mistake: errRequirementAudience},
		{raw: many("audience=a", 33), mistake: errRequirementAudience},
		{raw: "scope=", mistake: errRequirementScope},
		{raw: "scope=a++b", mistake: errRequirementScope},
		{raw: "scope=%22", mistake: errRequirementScope},
		{raw: "scope=%5C", mistake: errRequirementScope},
		{raw: "scope=é", mistake: errRequirementScope},
		{raw: many("scope=a", 33), mistake: errRequirementScope},
		{raw: "scopes=a", mistake: errRequirementUnknown},
		{raw: "Audience=a", mistake: errRequirementUnknown},
		{raw: "=a", mistake: errRequirementUnknown},
		{raw: "audience=a;b", mistake: errRequirementEncoding},
		{raw: "audience=%", mistake: errRequirementEncoding},
		{raw: "&", mistake: errRequirementMissing},
		{raw: "audience=" + strings.Repeat("a", maxRequirementBytes), mistake: errRequirementTooLong},
	} {
		var cache requirements
		for _, time := range []string{"first", "second"} {
			want, mistake := cache.get(test.raw)
			if diff := cmp.Diff(test.want, want); diff != "" || !errors.Is(mistake, test.mistake) {
				t.Errorf("%.60q the %s time: mistake %v, want %v; (-want +got):\n%s", test.raw, time, mistake, test.mistake, diff)
			}
		}
	}
}

func TestRequirementsAreRememberedWithinABound(t *testing.T) {
	var cache requirements
	for i := range 2 * maxRequirementsKept {
		want, mistake := cache.get(fmt.Sprintf("audience=%d", i))
		if mistake != nil || want.Audiences[0] != fmt.Sprint(i) {
			t.Fatalf("%d: %v, %v", i, want, mistake)
		}
	}
	kept := 0
	cache.parsed.Range(func(any, any) bool { kept++; return true })
	if kept != maxRequirementsKept {
		t.Errorf("%d requirements are remembered, want %d", kept, maxRequirementsKept)
	}
}

// A gateway that is set up wrongly makes one line a minute, without what it sent: there could be a token in it.
func TestMistakesAreLoggedOnceAMinute(t *testing.T) {
	var lines []string
	options := testOptions()
	fake := clocktesting.NewFakeClock(time.Unix(1_800_000_000, 0))
	options.Clock = fake
	options.Logger = funcr.New(func(_, line string) { lines = append(lines, line) }, funcr.Options{})
	s := New(options)
	for range 3 {
		serve(s, "GET", "/verify?access_token=sesame", bearer("good"))
	}
	if len(lines) != 1 || strings.Contains(lines[0], "sesame") || !strings.Contains(lines[0], "192.0.2.1") {
		t.Errorf("logged %q, want one line that names the peer and not the query", lines)
	}
	fake.Step(mistakeLogInterval)
	serve(s, "GET", "/verify?access_token=sesame", bearer("good"))
	if len(lines) != 2 {
		t.Errorf("after a minute logged %q, want a second line", lines)
	}
}

func FuzzRequirement(f *testing.F) {
	for _, seed := range []string{"", "audience=a&scope=b+c", "audience=%00", "scope=%22", "&;=%"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		want, mistake := parseRequirement(raw)
		if mistake != nil {
			if want.Audiences != nil || want.Scopes != nil {
				t.Fatalf("%q is a mistake and requires %v", raw, want)
			}
			return
		}
		if len(want.Audiences)+len(want.Scopes) == 0 {
			t.Fatalf("%q requires nothing", raw)
		}
		for _, scope := range want.Scopes {
			if quotable(scope) != scope || strings.Contains(scope, " ") {
				t.Fatalf("%q requires the scope %q", raw, scope)
			}
		}
	})
}
