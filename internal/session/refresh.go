package session

import (
	"context"
	"errors"
	"fmt"
)

// Request is a refresh token with what else the request says.
type Request struct {
	// Token is the text of the refresh token, as it was sent.
	Token string
	// ClientID is what the request says about the client; empty if it says nothing. The token of another client is refused
	// (RFC 6749 section 6).
	ClientID string
}

// Result is what became of a refresh.
type Result struct {
	Reason Reason
	// Session is the record as it is after the refresh: to make an access token of when it was granted, to log whose it is
	// when not. Nil when the token named none.
	Session *Session
	// RefreshToken is the successor, when the refresh was granted.
	RefreshToken RefreshToken
	// Audiences and Scopes are what access tokens may hold, when the refresh was granted.
	Audiences, Scopes []string
	// Ended is true when this very refresh has ended the session, so that verifiers and the audit log must hear of it.
	Ended bool
}

// ErrContended says that others changed the session at each attempt. The client asks again.
var ErrContended = errors.New("others were changing the session all the time: ask again")

// attempts bounds the reads of one refresh. A lost race means that somebody else has refreshed; what is read then is
// hardly ever to be written again.
const attempts = 5

// Refresh answers a refresh token: at no cost of I/O if no replica made it, otherwise with one read and at most one write
// that succeeds. Without an error the result is final. With one (ErrUnavailable, ErrContended, or that of the recheck)
// nothing may be answered but that the client must keep its token and ask again; if the write has happened nevertheless,
// the grace window gives the same answer then. The result's Reason says beside an error what could not be written, so
// that the audit log has a reuse also when the store fails.
func (m *Manager) Refresh(ctx context.Context, issuer *Issuer, request Request) (Result, error) {
	presented, reason := issuer.Keys.Read(request.Token, issuer.URL)
	if reason != Good {
		return Result{Reason: reason}, nil
	}
	presented.ClientID = request.ClientID
	for range attempts {
		result, err := m.attempt(ctx, issuer, presented)
		if !errors.Is(err, ErrConflict) {
			return result, err
		}
	}
	return Result{}, fmt.Errorf("refreshing session %s: %w", presented.SessionID, ErrContended)
}

// attempt reads the session and does what Classify says. After an ErrConflict, what it said was about an old record.
func (m *Manager) attempt(ctx context.Context, issuer *Issuer, presented Presented) (Result, error) {
	stored, err := m.read(ctx, issuer, presented.SessionID)
	if err != nil {
		return Result{}, err
	}
	outcome := Classify(presented, stored, m.clock.Now(), issuer.Policy)
	if outcome.Reason.Granted() {
		if outcome, err = m.rechecked(ctx, stored, outcome); err != nil {
			return Result{Session: stored}, err
		}
	}
	result := Result{Reason: outcome.Reason, Session: stored}
	if outcome.Write {
		written, err := m.store.CompareAndSwap(ctx, stored, outcome.State)
		if errors.Is(err, ErrNotFound) {
			return Result{Reason: NotFound}, nil // Deleted after it was read: the same as before.
		}
		if err != nil {
			return result, fmt.Errorf("refreshing session %s: %w", presented.SessionID, err)
		}
		result.Session, result.Ended = written, outcome.Ends()
	}
	if outcome.Reason.Granted() {
		result.Audiences, result.Scopes = issuer.Policy.Grants(stored)
		// With the key of the token: a session keeps its key, so that an answer can be repeated after a rotation of keys.
		result.RefreshToken = presented.key.token(&stored.Facts, outcome.State.Generation)
	}
	return result, nil
}

// read returns nil for a session that is not there.
func (m *Manager) read(ctx context.Context, issuer *Issuer, id ID) (*Session, error) {
	stored, err := m.store.Get(ctx, issuer.Reference, id)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading session %s: %w", id, err)
	}
	return stored, nil
}

// rechecked exchanges a grant for the end of the session when the login is not good any more.
func (m *Manager) rechecked(ctx context.Context, stored *Session, outcome Outcome) (Outcome, error) {
	if m.recheck == nil {
		return outcome, nil
	}
	why, err := m.recheck(ctx, stored.Clone())
	if err != nil {
		return Outcome{}, fmt.Errorf("asking whether the login of session %s is still good: %w", stored.ID, err)
	}
	if why == "" {
		return outcome, nil
	}
	return Outcome{Reason: Rechecked, Write: true, State: stored.Ended(m.clock.Now(), why)}, nil
}
