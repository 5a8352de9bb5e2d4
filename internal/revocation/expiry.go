package revocation

import "time"

// creationPrecision is how much later than its recorded creation an object can really have been made: the API server
// records whole seconds.
const creationPrecision = time.Second

// Expiry returns the moment when the last token that the rule can hit has expired, after which the rule is of no use.
// createdAt is the recorded creation of the rule, maxLifetime the longest "exp" - "iat" that is accepted, and skew the
// leeway in every comparison of a token's times with the clock.
//
// Such a token has an "iat" before IssuedBefore, and is accepted until iat + maxLifetime + skew. TokenID, SessionID and
// KeyID have no such bound: there, the token was signed by the moment of creation, with an "iat" that a fast clock may
// have put one skew ahead, so the skew counts twice.
func Expiry(rule Rule, createdAt time.Time, maxLifetime, skew time.Duration) time.Time {
	lastIssuedAt := createdAt.Add(creationPrecision + skew)
	if rule.Kind.timed() {
		lastIssuedAt = rule.IssuedBefore
	}
	return lastIssuedAt.Add(maxLifetime + skew)
}
