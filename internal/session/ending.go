package session

// EndReason says in one stable word why a session was ended. It is a metric label, so the set is closed.
type EndReason string

// The reasons. A session that merely expires is not ended by anybody, and has none.
const (
	// EndLogout: the user logged out, or the client revoked its token (RFC 7009).
	EndLogout EndReason = "Logout"
	// EndLogoutEverywhere: every session of the subject was ended at once.
	EndLogoutEverywhere EndReason = "LogoutEverywhere"
	// EndReuse: a used refresh token came back, so two parties hold tokens of the session.
	EndReuse EndReason = "Reuse"
	// EndRollback: the store has forgotten refreshes, and the policy does not allow to move forward.
	EndRollback EndReason = "Rollback"
	// EndSuperseded: the subject opened more sessions than it may have, and this was the oldest.
	EndSuperseded EndReason = "Superseded"
	// EndRevoked: a TokenRevocation names the session, or what it was opened with.
	EndRevoked EndReason = "Revoked"
	// EndLoginRemoved: the source of the login does not know the subject any more.
	EndLoginRemoved EndReason = "LoginRemoved"
)

var endSentences = map[EndReason]string{
	EndLogout:           "The user logged out.",
	EndLogoutEverywhere: "Every session of the user was ended.",
	EndReuse:            "A refresh token came back that had been used before, so somebody else may hold tokens of the session.",
	EndRollback:         "The store of sessions was set back to an earlier state.",
	EndSuperseded:       "The user opened more sessions than allowed, and this was the oldest.",
	EndRevoked:          "The session was revoked.",
	EndLoginRemoved:     "The user may not log in any more.",
}

// EndReasons returns every reason.
func EndReasons() []EndReason {
	return []EndReason{
		EndLogout, EndLogoutEverywhere, EndReuse, EndRollback, EndSuperseded, EndRevoked, EndLoginRemoved,
	}
}

// Sentence says what happened, fit for error_description (RFC 6749 section 5.2).
func (r EndReason) Sentence() string {
	if sentence, ok := endSentences[r]; ok {
		return sentence
	}
	return "The session was ended."
}
