package session

import (
	"context"
	"errors"
	"fmt"
)

// End ends the session of a refresh token: logout, and revocation by RFC 7009. Any token of the session will do that its
// record vouches for, used or not, because whoever holds one may always give it up. The result's Reason is Ended when
// the session is ended now, by this call or an earlier one, and Ended says whether by this one. Any other reason says why
// the token was not good for it; the answer to the client is the same (RFC 7009 section 2.2).
func (m *Manager) End(ctx context.Context, issuer *Issuer, request Request, why EndReason) (Result, error) {
	presented, reason := issuer.Keys.Read(request.Token, issuer.URL)
	if reason != Good {
		return Result{Reason: reason}, nil
	}
	presented.ClientID = request.ClientID
	stored, err := m.read(ctx, issuer, presented.SessionID)
	if err != nil {
		return Result{}, err
	}
	c := classifier{presented: presented, stored: stored}
	for _, check := range []func(*classifier) Reason{checkFound, checkMAC, checkClient} {
		if reason := check(&c); reason != Good {
			return Result{Reason: reason, Session: stored}, nil
		}
	}
	if !stored.EndedAt.IsZero() {
		return Result{Reason: Ended, Session: stored}, nil
	}
	return m.EndSession(ctx, issuer, stored.ID, why)
}

// EndSession ends the session with this id, for callers that may. The result is as that of End.
func (m *Manager) EndSession(ctx context.Context, issuer *Issuer, id ID, why EndReason) (Result, error) {
	now := m.clock.Now().UTC().Truncate(statePrecision)
	ended, err := m.store.End(ctx, issuer.Reference, id, now, why)
	if errors.Is(err, ErrNotFound) {
		return Result{Reason: NotFound}, nil
	}
	if err != nil {
		return Result{}, fmt.Errorf("ending session %s: %w", id, err)
	}
	// Two that end a session at the same moment for the same reason both say so, and no harm is done.
	return Result{Reason: Ended, Session: ended, Ended: ended.EndedAt.Equal(now) && ended.EndReason == why}, nil
}

// EndAll ends every session of a subject, and returns those that it ended: "log me out everywhere". With an error some may
// be left: call it again.
func (m *Manager) EndAll(ctx context.Context, issuer *Issuer, subject string, why EndReason) ([]*Session, error) {
	ended, err := m.store.EndSubject(ctx, issuer.Reference, subject, m.clock.Now().UTC(), why)
	if err != nil {
		return ended, fmt.Errorf("ending every session of a subject at %s, %d of them done: %w", issuer.URL, len(ended), err)
	}
	return ended, nil
}
