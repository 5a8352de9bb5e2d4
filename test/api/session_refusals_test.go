package api

import (
	"fmt"
	"slices"
	"strings"
)

// sessionID is the name of every Session here, and salt what it could have.
const (
	sessionID = "00112233445566778899aabbccddeeff"
	salt      = "AAECAwQFBgcICQoLDA0ODw"
)

// session is the smallest valid Session. Its table changes spec and state, so both are in it.
const session = `
spec:
  issuerRef: {name: shop}
  issuerURL: https://tokens.shop.example
  subject: alice
  clientID: web
  audiences: [shop-api]
  source: Workload
  salt: ` + salt + `
  createdAt: "2026-01-01T00:00:00Z"
  expiresAt: "2026-01-15T00:00:00Z"
state:
  generation: 0
  rotatedAt: "2026-01-01T00:00:00.000001Z"
  idleUntil: "2026-01-04T00:00:00.000001Z"`

func login(field, says string) claim { return claim{"Session", field, says} }

// sessionRefusals are invalid Sessions.
var sessionRefusals = slices.Concat(
	missingFields(login, session, "spec.audiences", "spec.clientID", "spec.createdAt", "spec.expiresAt", "spec.issuerRef",
		"spec.issuerRef.name", "spec.issuerURL", "spec.salt", "spec.source", "spec.subject",
		"state.generation", "state.idleUntil", "state.rotatedAt"),
	textBounds(login, session, "spec.issuerRef.name", 1, 63),
	textBounds(login, session, "spec.issuerURL", 9, 256),
	textBounds(login, session, "spec.subject", 1, 256),
	textBounds(login, session, "spec.clientID", 1, 256),
	textBounds(login, session, "spec.claims", 0, 8192),
	textBounds(login, session, "state.endReason", 1, 64),
	numberBounds(login, session, "state.generation", 0, 9007199254740991),
	scopeBounds(login, session, "spec.scopes", 64),
	listBounds(login, session, "spec.audiences", 1, 32),
	itemBounds(login, session, "spec.audiences", 1, 256),
	[]refusal{
		{name: "a name that is no id", base: session, objectName: "alice",
			claim: login("<nil>", "the name of a Session must be its id, 32 lower-case hexadecimal digits")},
		{name: "a name in capitals", base: session, objectName: strings.Repeat("g", 32),
			claim: login("<nil>", "the name of a Session must be its id, 32 lower-case hexadecimal digits")},
		{name: "a session of no time", base: session, change: `spec: {expiresAt: "2026-01-01T00:00:00Z"}`,
			claim: login("spec", "expiresAt must be after createdAt")},
		{name: "another source", base: session, change: `spec: {source: Guess}`, claim: login("spec.source", "Unsupported value")},
		{name: "a long salt", base: session, change: `spec: {salt: ` + salt + `A}`, claim: login("spec.salt", "may not be more than 22 bytes")},
		{name: "a short salt", base: session, change: `spec: {salt: ` + salt[1:] + `}`, claim: login("spec.salt", badSalt)},
		{name: "a salt with a bit too many", base: session, change: `spec: {salt: ` + salt[:21] + `B}`, claim: login("spec.salt", badSalt)},
		{name: "an end without a reason", base: session, change: `state: {endedAt: "2026-01-02T00:00:00.000000Z"}`,
			claim: login("state", "endedAt and endReason go together")},
		{name: "a reason without an end", base: session, change: `state: {endReason: Logout}`,
			claim: login("state", "endedAt and endReason go together")},
	},
)

const (
	badSalt       = `should match '^[A-Za-z0-9_-]{21}[AQgw]$'`
	sessionFixed  = "the spec of a Session is immutable, because its refresh tokens vouch for it: log in again"
	noReturn      = "generation must not go down, or a used refresh token would be good again"
	endIsFinal    = "an ended session is final: log in again"
	endedSession  = `state: {endedAt: "2026-01-02T00:00:00.000000Z", endReason: Logout}`
	usedSession   = `state: {generation: 5}`
	scopesPattern = `should match '^[\x21\x23-\x5B\x5D-\x7E]+$'`
)

// forbiddenSessionChanges are updates of Sessions that the API server must refuse.
var forbiddenSessionChanges = []change{
	{name: "the subject", base: session, after: `spec: {subject: root}`, claim: login("spec", sessionFixed)},
	{name: "the scopes, by setting them later", base: session, after: `spec: {scopes: [admin]}`, claim: login("spec", sessionFixed)},
	{name: "the end", base: session, after: `spec: {expiresAt: "2027-01-01T00:00:00Z"}`, claim: login("spec", sessionFixed)},
	{name: "the salt", base: session, after: `spec: {salt: ` + salt[:21] + `Q}`, claim: login("spec", sessionFixed)},
	{name: "the generation, backwards", base: session, before: usedSession, after: `state: {generation: 4}`, claim: login("state", noReturn)},
	{name: "the end, by taking it back", base: session, before: endedSession, after: `state: {endedAt: null, endReason: null}`, claim: login("state", endIsFinal)},
	{name: "the reason of the end", base: session, before: endedSession, after: `state: {endReason: Reuse}`, claim: login("state", endIsFinal)},
	{name: "the generation after the end", base: session, before: endedSession, after: usedSession, claim: login("state", endIsFinal)},
}

// claimOf makes claims of one kind, as issuer and login do.
type claimOf func(field, says string) claim

// with returns a change that sets the field at this path. An item of a list is set by a list.
func with(path, value string) string {
	parts := strings.Split(path, ".")
	return "{" + strings.Join(parts, ": {") + ": " + value + strings.Repeat("}", len(parts))
}

// missingFields are objects that lack a required field.
func missingFields(of claimOf, base string, paths ...string) []refusal {
	var refused []refusal
	for _, path := range paths {
		refused = append(refused, refusal{name: "no " + path, base: base, change: inside(of, path, "null"), claim: of(path, "Required value")})
	}
	return refused
}

// inside is with, but for kinds whose tables change the spec only.
func inside(of claimOf, path, value string) string {
	if of("", "").kind != "Session" {
		path = strings.TrimPrefix(path, "spec.")
	}
	return with(path, value)
}

// textBounds are texts that are too short, if any is, and too long.
func textBounds(of claimOf, base, path string, shortest, longest int) []refusal {
	refused := []refusal{{name: "a long " + path, base: base, change: inside(of, path, strings.Repeat("a", longest+1)),
		claim: of(path, fmt.Sprintf("may not be more than %d bytes", longest))}}
	if shortest > 0 {
		refused = append(refused, refusal{name: "a short " + path, base: base, change: inside(of, path, `"`+strings.Repeat("a", shortest-1)+`"`),
			claim: of(path, fmt.Sprintf("should be at least %d chars long", shortest))})
	}
	return refused
}

// numberBounds are numbers that are too small and too large.
func numberBounds(of claimOf, base, path string, smallest, largest int64) []refusal {
	return []refusal{
		{name: "a small " + path, base: base, change: inside(of, path, fmt.Sprint(smallest-1)),
			claim: of(path, fmt.Sprintf("should be greater than or equal to %d", smallest))},
		{name: "a large " + path, base: base, change: inside(of, path, fmt.Sprint(largest+1)),
			claim: of(path, fmt.Sprintf("should be less than or equal to %d", largest))},
	}
}

// listBounds are lists that are too short, if any is, and too long.
func listBounds(of claimOf, base, path string, shortest, longest int) []refusal {
	refused := []refusal{{name: "a long list " + path, base: base, change: inside(of, path, list(longest+1)),
		claim: of(path, fmt.Sprintf("must have at most %d items", longest))}}
	if shortest > 0 {
		refused = append(refused, refusal{name: "an empty list " + path, base: base, change: inside(of, path, "[]"),
			claim: of(path, fmt.Sprintf("should have at least %d items", shortest))})
	}
	return refused
}

// itemBounds are lists with an item that is too short, if any is, or too long.
func itemBounds(of claimOf, base, path string, shortest, longest int) []refusal {
	refused := []refusal{{name: "a long item of " + path, base: base, change: inside(of, path, "["+strings.Repeat("a", longest+1)+"]"),
		claim: of(path+"[]", fmt.Sprintf("may not be more than %d bytes", longest))}}
	if shortest > 0 {
		refused = append(refused, refusal{name: "a short item of " + path, base: base, change: inside(of, path, `[""]`),
			claim: of(path+"[]", fmt.Sprintf("should be at least %d chars long", shortest))})
	}
	return refused
}

// setBounds is a set with an item twice.
func setBounds(of claimOf, base, path, item string) []refusal {
	return []refusal{{name: "an item twice in " + path, base: base, change: inside(of, path, "["+item+", "+item+"]"),
		claim: of(path+"[]", "Duplicate value")}}
}

// scopeBounds are lists of scopes that are no scopes (RFC 6749 section 3.3), or too many, or too long.
func scopeBounds(of claimOf, base, path string, most int) []refusal {
	return append(slices.Concat(listBounds(of, base, path, 0, most), itemBounds(of, base, path, 0, 128)),
		refusal{name: "two scopes in one of " + path, base: base, change: inside(of, path, `["a b"]`), claim: of(path+"[]", scopesPattern)},
		refusal{name: "an empty scope in " + path, base: base, change: inside(of, path, `[""]`), claim: of(path+"[]", scopesPattern)})
}
