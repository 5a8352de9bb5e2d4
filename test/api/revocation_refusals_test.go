package api

import "strings"

// revocationRefusals are invalid TokenRevocations.
var revocationRefusals = append(targetBounds(),
	refusal{name: "no target", base: revocation, claim: denial("spec", oneTarget)},
	refusal{name: "two targets", base: revocation, change: `{subject: alice, keyID: k1}`, claim: denial("spec", oneTarget)},
	refusal{name: "all beside a target", base: revocation, change: `{all: true, audience: shop-api}`, claim: denial("spec", oneTarget)},
	refusal{name: "all as false", base: revocation, change: `all: false`, claim: denial("spec.all", "all must be true, or left out")},
	refusal{name: "a moment for a token id", base: revocation, change: `{tokenID: t1, issuedBefore: "2026-01-01T00:00:00Z"}`, claim: denial("spec", noMoment)},
	refusal{name: "a moment for a session id", base: revocation, change: `{sessionID: s1, issuedBefore: "2026-01-01T00:00:00Z"}`, claim: denial("spec", noMoment)},
	refusal{name: "a moment for a key id", base: revocation, change: `{keyID: k1, issuedBefore: "2026-01-01T00:00:00Z"}`, claim: denial("spec", noMoment)},
	refusal{name: "no issuer", base: revocation, change: `{issuerRef: null, subject: alice}`, claim: denial("spec.issuerRef", "Required value")},
	refusal{name: "an issuer without a name", base: revocation, change: `{issuerRef: {name: null}, subject: alice}`,
		claim: denial("spec.issuerRef.name", "Required value")},
	refusal{name: "an issuer with an empty name", base: revocation, change: `{issuerRef: {name: ""}, subject: alice}`,
		claim: denial("spec.issuerRef.name", "should be at least 1 chars long")},
	refusal{name: "an issuer with a name that none can have", base: revocation, change: `{issuerRef: {name: ` + strings.Repeat("n", 64) + `}, subject: alice}`,
		claim: denial("spec.issuerRef.name", "may not be more than 63 bytes")},
	refusal{name: "a long reason", base: revocation, change: `{subject: alice, reason: ` + long + `}`,
		claim: denial("spec.reason", "may not be more than 256 bytes")},
)

const (
	oneTarget = "set exactly one of tokenID, sessionID, subject, clientID, audience, keyID and all"
	noMoment  = "issuedBefore goes with subject, clientID, audience or all: a token id, a session id and a key id are denied whenever they were issued"
)

// targetBounds returns the two refusals that all targets have in common: empty and too long.
func targetBounds() []refusal {
	var refused []refusal
	for _, target := range []string{"tokenID", "sessionID", "subject", "clientID", "audience", "keyID"} {
		refused = append(refused,
			refusal{name: "an empty " + target, base: revocation, change: target + `: ""`,
				claim: denial("spec."+target, "should be at least 1 chars long")},
			refusal{name: "a long " + target, base: revocation, change: target + `: ` + long,
				claim: denial("spec."+target, "may not be more than 256 bytes")})
	}
	return refused
}
