// Package session holds logins: their record, the refresh tokens that continue them, the decision about each token that
// is presented, and the Store that keeps the records.
//
// A session's record counts its refreshes, and that counter is all that there is to store. The refresh token of each
// generation is a function of the record and of a key, so nothing is kept per token, and a repeated request gets the very
// same answer:
//
//	generation    0        1        2                 3
//	token         used ──► used ──► previous ───────► current
//	presented     reuse    reuse    in the grace      generation 4,
//	                                window: again 3;  one write
//	                                later: reuse
//
// Reuse ends the session: two parties hold its tokens.
package session

import (
	"slices"
	"time"
)

// Times in a record are UTC, and no finer than every store can keep: what is immutable in whole seconds, what changes in
// microseconds.
const (
	factPrecision  = time.Second
	statePrecision = time.Microsecond
)

// Session is the record of one login.
type Session struct {
	Facts
	State
	// Version changes at every write of the record. It is the store's own, and compared for equality only.
	Version string
}

// Facts are what never changes in a session. The refresh tokens vouch for all of them but Issuer.Namespace and
// Issuer.Name: when any other is edited in the store, every token of the session turns invalid.
type Facts struct {
	// ID is also the claim "sid" of the session's access tokens. It is not secret.
	ID ID
	// Issuer is the TokenIssuer that the session belongs to.
	Issuer IssuerReference
	// IssuerURL is the value of the claim "iss".
	IssuerURL string
	// Subject is the value of the claim "sub": 1 to 256 bytes.
	Subject string
	// ClientID is the OAuth client that the refresh tokens are bound to (RFC 6749 section 6): 1 to 256 bytes.
	ClientID string
	// Scopes are those that were granted, at most 64, sorted.
	Scopes []string
	// Audiences are the applications that access tokens may be for: 1 to 32, sorted.
	Audiences []string
	// Claims is what the login said beside the subject: a JSON object of at most 8 KiB, or "" for nothing. It is text,
	// because a store that parsed and wrote it anew would change the bytes that the refresh tokens vouch for.
	Claims string
	// Source is how the subject was authenticated.
	Source Source
	// Salt makes the key of the session's tokens different from that of every other. It is random, and not secret: without
	// the issuer's key nobody can do anything with it.
	Salt Salt
	// CreatedAt is when the login happened, and ExpiresAt when the session ends however often it is refreshed. In whole
	// seconds.
	CreatedAt, ExpiresAt time.Time
}

// State is what changes in a session, all in one write. In microseconds.
type State struct {
	// Generation counts the refreshes. It is that of the one token that the next refresh must present.
	Generation uint64
	// RotatedAt is when Generation became what it is: at first the time of the login.
	RotatedAt time.Time
	// IdleUntil is when the session ends unless it is refreshed before. Never after ExpiresAt.
	IdleUntil time.Time
	// EndedAt is when somebody ended the session; zero if nobody did.
	EndedAt time.Time
	// EndReason is why. Empty if and only if EndedAt is zero.
	EndReason EndReason
}

// IssuerReference names a TokenIssuer.
type IssuerReference struct{ Namespace, Name string }

// Source is how a subject was authenticated at login.
type Source string

// The sources of logins.
const (
	// SourceWorkload is a workload that has authenticated the subject itself, and may issue by RBAC.
	SourceWorkload Source = "Workload"
	// SourcePassword is a user name and a password.
	SourcePassword Source = "Password"
	// SourceUpstream is an ID token of a trusted issuer, exchanged (RFC 8693).
	SourceUpstream Source = "Upstream"
)

// Live reports whether the session can be refreshed at the moment, as far as its record says.
func (s *Session) Live(now time.Time) bool {
	return s.EndedAt.IsZero() && now.Before(s.IdleUntil) && now.Before(s.ExpiresAt)
}

// DeadSince is the earliest moment from which the session could not be refreshed. It lies in the future of a live one.
func (s *Session) DeadSince() time.Time {
	dead := earlier(s.IdleUntil, s.ExpiresAt)
	if !s.EndedAt.IsZero() {
		dead = earlier(dead, s.EndedAt)
	}
	return dead
}

// Clone returns a copy that shares nothing with the session.
func (s *Session) Clone() *Session {
	copied := *s
	copied.Scopes, copied.Audiences = slices.Clone(s.Scopes), slices.Clone(s.Audiences)
	return &copied
}

// Ended returns the state of a session that was ended at this moment.
func (s State) Ended(now time.Time, reason EndReason) State {
	s.EndedAt, s.EndReason = now.UTC().Truncate(statePrecision), reason
	return s
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
