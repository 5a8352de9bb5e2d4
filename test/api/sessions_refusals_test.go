package api

import (
	"fmt"
	"slices"
	"strings"
)

// sessionsIssuer is the smallest TokenIssuer with sessions.
const sessionsIssuer = signingIssuer + `
sessions: {login: {serviceAccounts: {}}}`

// sessionsRefusals are TokenIssuers whose sessions are invalid.
var sessionsRefusals = slices.Concat(
	missingFields(issuer, sessionsIssuer, "spec.sessions.login"),
	durationBounds("spec.sessions.accessLifetime", "9s", "sessions.accessLifetime must be from 10s to 24h"),
	durationBounds("spec.sessions.idleLifetime", "8761h", "sessions.idleLifetime must be from 20s to 8760h"),
	durationBounds("spec.sessions.absoluteLifetime", "19s", "sessions.absoluteLifetime must be from 20s to 8760h"),
	durationBounds("spec.sessions.graceWindow", "61s", "sessions.graceWindow must be from 0s to 1m"),
	numberBounds(issuer, sessionsIssuer, "spec.sessions.maxPerSubject", 1, 100),
	listBounds(issuer, sessionsIssuer, "spec.sessions.audiences", 1, 32),
	itemBounds(issuer, sessionsIssuer, "spec.sessions.audiences", 1, 256),
	setBounds(issuer, sessionsIssuer, "spec.sessions.audiences", "a"),
	scopeBounds(issuer, sessionsIssuer, "spec.sessions.scopes", 64),
	setBounds(issuer, sessionsIssuer, "spec.sessions.scopes", "a"),
	numberBounds(issuer, sessionsIssuer, "spec.sessions.rateLimits.loginPerAddress", 1, 100000),
	numberBounds(issuer, sessionsIssuer, "spec.sessions.rateLimits.loginPerUser", 1, 100000),
	numberBounds(issuer, sessionsIssuer, "spec.sessions.rateLimits.refreshPerSession", 1, 100000),
	[]refusal{
		{name: "sessions of an external issuer", base: externalIssuer, change: `sessions: {login: {serviceAccounts: {}}}`,
			claim: issuer("spec", "sessions need signing: tokens of an external issuer are minted by somebody else")},
		{name: "access tokens that would be refused", base: sessionsIssuer, change: `sessions: {accessLifetime: 15m1s}`,
			claim: issuer("spec", accessTooLong)},
		{name: "access tokens over a short maxLifetime", base: sessionsIssuer, change: `tokens: {maxLifetime: 9m}`,
			claim: issuer("spec", accessTooLong)},
		{name: "idle before the access token", base: sessionsIssuer, change: `sessions: {idleLifetime: 9m59s}`,
			claim: issuer("spec.sessions", "sessions.idleLifetime must be at least sessions.accessLifetime, or sessions would end while they are in use")},
		{name: "idle after the end", base: sessionsIssuer, change: `sessions: {absoluteLifetime: 71h}`,
			claim: issuer("spec.sessions", "sessions.idleLifetime must be at most sessions.absoluteLifetime")},
		{name: "another rollback policy", base: sessionsIssuer, change: `sessions: {afterRollback: Panic}`,
			claim: issuer("spec.sessions.afterRollback", "Unsupported value")},

		{name: "a cookie without its prefix", base: sessionsIssuer, change: `sessions: {cookie: {name: keyturn}}`,
			claim: issuer("spec.sessions.cookie.name", `should match '^__Secure-[A-Za-z0-9._-]+$'`)},
		{name: "a long name of a cookie", base: sessionsIssuer, change: `sessions: {cookie: {name: __Secure-` + strings.Repeat("a", 56) + `}}`,
			claim: issuer("spec.sessions.cookie.name", "may not be more than 64 bytes")},
		{name: "a cookie for all sites", base: sessionsIssuer, change: `sessions: {cookie: {sameSite: None}}`,
			claim: issuer("spec.sessions.cookie.sameSite", "Unsupported value")},

		{name: "an origin over http", base: sessionsIssuer, change: `sessions: {allowedOrigins: ["http://shop.example"]}`, claim: issuer(origins, badOrigin)},
		{name: "an origin with a path", base: sessionsIssuer, change: `sessions: {allowedOrigins: ["https://shop.example/"]}`, claim: issuer(origins, badOrigin)},
		{name: "every origin", base: sessionsIssuer, change: `sessions: {allowedOrigins: ["*"]}`, claim: issuer(origins, badOrigin)},
		{name: "any origin of a domain", base: sessionsIssuer, change: `sessions: {allowedOrigins: ["https://*.shop.example"]}`, claim: issuer(origins, badOrigin)},
		{name: "a long origin", base: sessionsIssuer, change: `sessions: {allowedOrigins: ["https://` + strings.Repeat("a", 249) + `"]}`,
			claim: issuer(origins, "may not be more than 256 bytes")},
		{name: "33 origins", base: sessionsIssuer, change: `sessions: {allowedOrigins: ` + list(33) + `}`,
			claim: issuer("spec.sessions.allowedOrigins", "must have at most 32 items")},
		{name: "an origin twice", base: sessionsIssuer, change: `sessions: {allowedOrigins: ["https://a.example", "https://a.example"]}`,
			claim: issuer(origins, "Duplicate value")},
	},
	claimPolicyRefusals,
)

const (
	accessTooLong = "sessions.accessLifetime must be at most tokens.maxLifetime (15m when left out), or every access token would be refused"
	origins       = "spec.sessions.allowedOrigins[]"
	badOrigin     = `should match '^(https://[a-z0-9]([a-z0-9.-]*[a-z0-9])?|http://(localhost|127\.0\.0\.1))(:[0-9]{1,5})?$'`
	claims        = "spec.sessions.claims"
	reserved      = "claims that say what a token is, such as iss, sub, aud, exp, sid or scope, are set by Keyturn alone"
	oneValue      = "set exactly one of value (a string) and values (a list of strings)"
)

var claimPolicyRefusals = []refusal{
	{name: "33 fixed claims", base: sessionsIssuer, change: `sessions: {claims: {fixed: ` + named(33, "value: v") + `}}`,
		claim: issuer(claims+".fixed", "must have at most 32 items")},
	{name: "a fixed claim without a name", base: sessionsIssuer, change: `sessions: {claims: {fixed: [{value: a}]}}`,
		claim: issuer(claims+".fixed[].name", "Required value")},
	{name: "a fixed claim with an empty name", base: sessionsIssuer, change: `sessions: {claims: {fixed: [{name: "", value: a}]}}`,
		claim: issuer(claims+".fixed[].name", "should be at least 1 chars long")},
	{name: "a fixed claim with a long name", base: sessionsIssuer, change: `sessions: {claims: {fixed: [{name: ` + strings.Repeat("a", 129) + `, value: a}]}}`,
		claim: issuer(claims+".fixed[].name", "may not be more than 128 bytes")},
	{name: "a fixed subject", base: sessionsIssuer, change: `sessions: {claims: {fixed: [{name: sub, value: root}]}}`,
		claim: issuer(claims+".fixed[].name", reserved)},
	{name: "a fixed claim without a value", base: sessionsIssuer, change: `sessions: {claims: {fixed: [{name: a}]}}`,
		claim: issuer(claims+".fixed[]", oneValue)},
	{name: "a fixed claim with two values", base: sessionsIssuer, change: `sessions: {claims: {fixed: [{name: a, value: b, values: [c]}]}}`,
		claim: issuer(claims+".fixed[]", oneValue)},
	{name: "a long fixed value", base: sessionsIssuer, change: `sessions: {claims: {fixed: [{name: a, value: ` + strings.Repeat("v", 1025) + `}]}}`,
		claim: issuer(claims+".fixed[].value", "may not be more than 1024 bytes")},
	{name: "an empty list of fixed values", base: sessionsIssuer, change: `sessions: {claims: {fixed: [{name: a, values: []}]}}`,
		claim: issuer(claims+".fixed[].values", "should have at least 1 items")},
	{name: "65 fixed values", base: sessionsIssuer, change: `sessions: {claims: {fixed: [{name: a, values: ` + list(65) + `}]}}`,
		claim: issuer(claims+".fixed[].values", "must have at most 64 items")},
	{name: "a long value in a list", base: sessionsIssuer, change: `sessions: {claims: {fixed: [{name: a, values: [` + long + `]}]}}`,
		claim: issuer(claims+".fixed[].values[]", "may not be more than 256 bytes")},
	{name: "33 claims from the login", base: sessionsIssuer, change: `sessions: {claims: {fromLogin: ` + list(33) + `}}`,
		claim: issuer(claims+".fromLogin", "must have at most 32 items")},
	{name: "a claim from the login twice", base: sessionsIssuer, change: `sessions: {claims: {fromLogin: [a, a]}}`,
		claim: issuer(claims+".fromLogin[]", "Duplicate value")},
	{name: "a claim from the login without a name", base: sessionsIssuer, change: `sessions: {claims: {fromLogin: [""]}}`,
		claim: issuer(claims+".fromLogin[]", "should be at least 1 chars long")},
	{name: "a claim from the login with a long name", base: sessionsIssuer, change: `sessions: {claims: {fromLogin: [` + strings.Repeat("a", 129) + `]}}`,
		claim: issuer(claims+".fromLogin[]", "may not be more than 128 bytes")},
	{name: "scopes from the login", base: sessionsIssuer, change: `sessions: {claims: {fromLogin: [scope]}}`,
		claim: issuer(claims+".fromLogin[]", reserved)},
	{name: "a claim that is fixed and from the login", base: sessionsIssuer, change: `sessions: {claims: {fixed: [{name: a, value: b}], fromLogin: [b, a]}}`,
		claim: issuer(claims, "a claim is either in claims.fixed or in claims.fromLogin")},
}

// durationBounds are durations in words, written in a long way, and out of bounds.
func durationBounds(path, outside, says string) []refusal {
	return []refusal{
		{name: "in words " + path, base: sessionsIssuer, change: inside(issuer, path, "long"), claim: issuer(path, duration)},
		{name: "a long way to write " + path, base: sessionsIssuer, change: inside(issuer, path, longDuration), claim: issuer(path, "may not be more than 32 bytes")},
		{name: "out of bounds " + path, base: sessionsIssuer, change: inside(issuer, path, outside), claim: issuer(path, says)},
	}
}

// named returns a YAML list of n objects with different names.
func named(n int, rest string) string {
	items := ""
	for i := range n {
		items += fmt.Sprintf("{name: n%d, %s}, ", i, rest)
	}
	return "[" + items + "]"
}
