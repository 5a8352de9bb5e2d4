package api

import (
	"fmt"
	"slices"
	"strings"
)

// The bases of what follows: TokenIssuers with one source of users.
const (
	passwordIssuer = signingIssuer + `
sessions: {login: {htpasswd: {secretRef: {name: users}}}}`
	upstreamURL    = "https://login.shop.example"
	upstreamIssuer = signingIssuer + `
sessions: {login: {upstreams: [{issuerURL: "` + upstreamURL + `", audiences: [web]}]}}`
)

// loginRefusals are TokenIssuers whose ways to log in are invalid.
var loginRefusals = slices.Concat(
	missingFields(issuer, passwordIssuer, "spec.sessions.login.htpasswd.secretRef", "spec.sessions.login.htpasswd.secretRef.name"),
	textBounds(issuer, passwordIssuer, "spec.sessions.login.htpasswd.secretRef.name", 1, 253),
	[]refusal{
		{name: "no way to log in", base: sessionsIssuer, change: `sessions: {login: {serviceAccounts: null}}`, claim: issuer(logins, noLogin)},
		{name: "an empty list of upstreams only", base: sessionsIssuer, change: `sessions: {login: {serviceAccounts: null, upstreams: []}}`, claim: issuer(logins, noLogin)},
		{name: "passwords and an upstream without prefixes", base: upstreamIssuer, change: `sessions: {login: {htpasswd: {secretRef: {name: users}}}}`,
			claim: issuer(logins, samePrefix)},
		{name: "passwords and an upstream with one prefix", base: upstreamIssuer, change: sources("a:", "a:"), claim: issuer(logins, samePrefix)},
		{name: "passwords without a prefix beside an upstream", base: upstreamIssuer, change: sources("", "a:"), claim: issuer(logins, samePrefix)},
		{name: "an upstream without a prefix beside passwords", base: upstreamIssuer, change: sources("a:", ""), claim: issuer(logins, samePrefix)},
		{name: "two upstreams with one prefix", base: upstreamIssuer, change: sources("p:", "a:", "a:"), claim: issuer(logins, samePrefix)},
		{name: "a prefix without a colon", base: passwordIssuer, change: `sessions: {login: {htpasswd: {subjectPrefix: staff}}}`,
			claim: issuer(logins+".htpasswd.subjectPrefix", badPrefix)},
		{name: "a prefix with two colons", base: passwordIssuer, change: `sessions: {login: {htpasswd: {subjectPrefix: "a:b:"}}}`,
			claim: issuer(logins+".htpasswd.subjectPrefix", badPrefix)},
		{name: "a long prefix", base: passwordIssuer, change: `sessions: {login: {htpasswd: {subjectPrefix: "` + strings.Repeat("a", 64) + `:"}}}`,
			claim: issuer(logins+".htpasswd.subjectPrefix", "may not be more than 64 bytes")},
		{name: "nine upstreams", base: upstreamIssuer, change: sources("p:", "a:", "b:", "c:", "d:", "e:", "f:", "g:", "h:", "i:"),
			claim: issuer(logins+".upstreams", "must have at most 8 items")},
	},
	upstreamRefusals(),
)

const (
	logins     = "spec.sessions.login"
	upstreams  = logins + ".upstreams[]"
	noLogin    = "set at least one of serviceAccounts, htpasswd and upstreams, or nobody can log in"
	samePrefix = "where users come from more than one of htpasswd and upstreams, each must have a subjectPrefix of its own, or two people could get the same subject"
	badPrefix  = `should match '^([A-Za-z0-9._-]+:)?$'`
	badURL     = "login.upstreams.issuerURL must be an absolute https URL without user name, query and fragment"
)

// upstreamRefusals are upstreams with one thing wrong.
func upstreamRefusals() []refusal {
	var refused []refusal
	for _, test := range []struct{ name, change, field, says string }{
		{"an upstream without a URL", `{issuerURL: null}`, ".issuerURL", "Required value"},
		{"an upstream over http", `{issuerURL: "http://a.example"}`, ".issuerURL", badURL},
		{"an upstream without a host", `{issuerURL: "https:///a"}`, ".issuerURL", badURL},
		{"an upstream with a query", `{issuerURL: "https://a.example?b"}`, ".issuerURL", badURL},
		{"an upstream with a fragment", `{issuerURL: "https://a.example#b"}`, ".issuerURL", badURL},
		{"an upstream with a user", `{issuerURL: "https://me@a.example"}`, ".issuerURL", badURL},
		{"an upstream with a long URL", `{issuerURL: "` + longURL + `"}`, ".issuerURL", "may not be more than 256 bytes"},
		{"an upstream without audiences", `{audiences: null}`, ".audiences", "Required value"},
		{"an upstream for every audience", `{audiences: []}`, ".audiences", "should have at least 1 items"},
		{"an upstream with 17 audiences", `{audiences: ` + list(17) + `}`, ".audiences", "must have at most 16 items"},
		{"an upstream with an audience twice", `{audiences: [a, a]}`, ".audiences[]", "Duplicate value"},
		{"an upstream with an empty audience", `{audiences: [""]}`, ".audiences[]", "should be at least 1 chars long"},
		{"an upstream with a long audience", `{audiences: [` + long + `]}`, ".audiences[]", "may not be more than 256 bytes"},
		{"an upstream without a certificate", `{caBundle: MIIB}`, ".caBundle", "login.upstreams.caBundle must hold at least one certificate in PEM"},
		{"an upstream with a long CA bundle", `{caBundle: ` + strings.Repeat("a", 65537) + `}`, ".caBundle", "may not be more than 65536 bytes"},
		{"an upstream with an empty subject", `{subjectClaim: ""}`, ".subjectClaim", "should be at least 1 chars long"},
		{"an upstream with a long subject", `{subjectClaim: ` + strings.Repeat("a", 129) + `}`, ".subjectClaim", "may not be more than 128 bytes"},
		{"an upstream with a bad prefix", `{subjectPrefix: "a b:"}`, ".subjectPrefix", badPrefix},
		{"an upstream with a long prefix", `{subjectPrefix: "` + strings.Repeat("a", 64) + `:"}`, ".subjectPrefix", "may not be more than 64 bytes"},
		{"an upstream with 33 claims", `{claims: ` + named(33, "from: a") + `}`, ".claims", "must have at most 32 items"},
		{"an upstream with a claim without a name", `{claims: [{from: a}]}`, ".claims[].name", "Required value"},
		{"an upstream with a claim with an empty name", `{claims: [{name: ""}]}`, ".claims[].name", "should be at least 1 chars long"},
		{"an upstream with a claim with a long name", `{claims: [{name: ` + strings.Repeat("a", 129) + `}]}`, ".claims[].name", "may not be more than 128 bytes"},
		{"an upstream that says what scopes a token has", `{claims: [{name: scope}]}`, ".claims[].name", reserved},
		{"an upstream with a claim from nothing", `{claims: [{name: a, from: ""}]}`, ".claims[].from", "should be at least 1 chars long"},
		{"an upstream with a claim from a long name", `{claims: [{name: a, from: ` + strings.Repeat("a", 129) + `}]}`, ".claims[].from", "may not be more than 128 bytes"},
	} {
		refused = append(refused, refusal{
			name: test.name, base: upstreamIssuer, change: `sessions: {login: {upstreams: [` + upstream(test.change) + `]}}`,
			claim: issuer(upstreams+test.field, test.says),
		})
	}
	return refused
}

// upstream is a valid upstream with the fields of change, an object in one line, put over it.
func upstream(change string) string {
	fields := ""
	for _, field := range []string{`issuerURL: "` + upstreamURL + `"`, "audiences: [web]"} {
		if name, _, _ := strings.Cut(field, ":"); !strings.HasPrefix(change, "{"+name+":") {
			fields += field + ", "
		}
	}
	return "{" + fields + change[1:]
}

// sources are users with a password and users of some upstreams, with these prefixes for their subjects.
func sources(passwords string, prefixes ...string) string {
	var list []string
	for i, prefix := range prefixes {
		list = append(list, fmt.Sprintf(`{issuerURL: "%s/%d", audiences: [web], subjectPrefix: %q}`, upstreamURL, i, prefix))
	}
	return fmt.Sprintf(`sessions: {login: {htpasswd: {secretRef: {name: users}, subjectPrefix: %q}, upstreams: [%s]}}`,
		passwords, strings.Join(list, ", "))
}
