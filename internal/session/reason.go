package session

// Reason says in one stable word what became of a refresh token that was presented. It is a metric label, so the set is
// closed.
type Reason string

// The reasons. The first three grant a refresh.
const (
	// Rotated: the token was the current one. The session moves to the next generation, in one write.
	Rotated Reason = "Rotated"
	// Repeated: the token was the previous one, and the grace window is open. The same successor again, and no write.
	Repeated Reason = "Repeated"
	// MovedForward: the store has forgotten refreshes, and the session moves on from the token.
	MovedForward Reason = "MovedForward"

	// Good is that of a token of which nothing but form and tag was checked.
	Good Reason = "Good"

	// Malformed: the text has not the form of a refresh token.
	Malformed Reason = "Malformed"
	// KeyUnknown: the token names a key that the issuer does not have, or no longer.
	KeyUnknown Reason = "KeyUnknown"
	// TagInvalid: no replica of the issuer made the token.
	TagInvalid Reason = "TagInvalid"
	// NotFound: there is no such session, or no longer.
	NotFound Reason = "NotFound"
	// MACInvalid: the token was not made for the session as its record has it now.
	MACInvalid Reason = "MACInvalid"
	// ClientMismatch: the token is another client's.
	ClientMismatch Reason = "ClientMismatch"
	// Ended: somebody has ended the session.
	Ended Reason = "Ended"
	// Expired: the session is as old as it may become.
	Expired Reason = "Expired"
	// IdleExpired: the session was not refreshed for too long.
	IdleExpired Reason = "IdleExpired"
	// Withdrawn: the policy allows none of the session's audiences any more.
	Withdrawn Reason = "Withdrawn"
	// Reused: the token was used before, and its window is over. The session ends.
	Reused Reason = "Reused"
	// RolledBack: the store has forgotten refreshes, and the policy says that the session ends then.
	RolledBack Reason = "RolledBack"
	// Rechecked: the login is not good any more, as Recheck said. The session ends.
	Rechecked Reason = "Rechecked"
)

// ErrorInvalidGrant is the OAuth error of every refusal (RFC 6749 section 5.2): the client must log in again.
const ErrorInvalidGrant = "invalid_grant"

// ErrorTemporarilyUnavailable is the error for what could not be decided. The client keeps its token and asks again. RFC
// 6749 section 4.1.2.1 has the word for another endpoint; the token endpoint sends it with the status 503.
const ErrorTemporarilyUnavailable = "temporarily_unavailable"

// sentences repeat nothing of the token, and are printable ASCII without quotes and backslashes (RFC 6749 section 5.2).
// What only a forger would learn something from is not told apart.
var sentences = map[Reason]string{
	Rotated:        "The session was refreshed.",
	Repeated:       "The session was refreshed just now, and this is the same answer again.",
	MovedForward:   "The session was refreshed, though the store of sessions had forgotten earlier refreshes.",
	Good:           "The refresh token is well formed.",
	Malformed:      notOurs,
	KeyUnknown:     notOurs,
	TagInvalid:     notOurs,
	NotFound:       "The session does not exist any more; log in again.",
	MACInvalid:     notOurs,
	ClientMismatch: "The refresh token was issued to another client; use the one that it was issued to.",
	Ended:          "The session was ended; log in again.",
	Expired:        "The session has reached its greatest age; log in again.",
	IdleExpired:    "The session was not used for too long; log in again.",
	Withdrawn:      "The issuer does not issue tokens for the audiences of this session any more; log in again.",
	Reused:         "The refresh token was used before, so the session was ended to be safe; log in again.",
	RolledBack:     "The store of sessions was set back to an earlier state, so the session was ended; log in again.",
	Rechecked:      "The login is not good any more, so the session was ended; log in again.",
}

const notOurs = "The refresh token is not one of this issuer; send it exactly as it was issued, or log in again."

// Reasons returns every reason but Good, in the order above.
func Reasons() []Reason {
	return []Reason{
		Rotated, Repeated, MovedForward, Malformed, KeyUnknown, TagInvalid, NotFound, MACInvalid, ClientMismatch, Ended,
		Expired, IdleExpired, Withdrawn, Reused, RolledBack, Rechecked,
	}
}

// Granted reports whether the client gets tokens.
func (r Reason) Granted() bool { return r == Rotated || r == Repeated || r == MovedForward }

// OAuthError returns the value for "error" in the answer, or "" when the refresh was granted.
func (r Reason) OAuthError() string {
	if r.Granted() || r == Good {
		return ""
	}
	return ErrorInvalidGrant
}

// Sentence says what the reason means and what a person can do about it, fit for error_description.
func (r Reason) Sentence() string {
	if sentence, ok := sentences[r]; ok {
		return sentence
	}
	return "The refresh was refused; log in again."
}
