package authserver

import (
	"context"
	"net/http"
	"time"

	"github.com/keyturn/keyturn/internal/audit"
	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/revocation"
	"github.com/keyturn/keyturn/internal/session"
)

const (
	// rulePoll is how often it is looked whether a new TokenRevocation is in force in this replica. The watch brings it
	// within milliseconds.
	rulePoll = 5 * time.Millisecond
	// rulePatience is for how long. When the watch is broken it comes later, and the answer is no less true: the
	// TokenRevocation is there.
	rulePatience = time.Second
)

// serveEndAll logs the subject of the cookie out everywhere: every session ends, and every token that was issued to the
// subject before now is denied, also within this very second and also one without a session. Any token of the session will
// do, as for a logout, so that a request that was cut short can be repeated.
func (s *Server) serveEndAll(ctx context.Context, c *call) (answer, *refusal) {
	token, refused := c.refreshToken()
	if refused != nil {
		return answer{}, refused
	}
	subject, refused := s.subjectOf(ctx, c, token)
	if refused != nil {
		return answer{}, refused
	}
	if subject != "" {
		if refused := s.endAll(ctx, c, subject); refused != nil {
			return answer{}, refused
		}
	}
	c.clearCookie()
	return answer{status: http.StatusNoContent}, nil
}

// subjectOf returns whose a refresh token is; empty where its session does not vouch for it.
func (s *Server) subjectOf(ctx context.Context, c *call, token string) (string, *refusal) {
	a := c.authority
	if a.Session.Keys == nil {
		return "", s.unavailable(c, "reading a refresh token", errNoRefreshKeys)
	}
	presented, reason := a.Session.Keys.Read(token, a.Session.URL)
	if reason != session.Good {
		return "", nil
	}
	key := s.limits.bySession(c, presented.SessionID)
	if refused := s.take(c, limitEnd, key, a.Spec.RateLimits.RefreshPerSession); refused != nil {
		return "", refused
	}
	outcome, stored, refused := s.judge(ctx, c, presented)
	if refused != nil {
		return "", refused
	}
	switch outcome.Reason {
	case session.NotFound, session.MACInvalid, session.ClientMismatch:
		return "", nil
	}
	return stored.Subject, nil
}

// endAll revokes first: a session that is refreshed meanwhile gets tokens that are denied, and at the next refresh it is
// found revoked.
func (s *Server) endAll(ctx context.Context, c *call, subject string) *refusal {
	a := c.authority
	// Claims have whole seconds: a token of this second can only be denied with all that are issued in it.
	before := s.options.Clock.Now().UTC().Truncate(time.Second).Add(time.Second)
	if err := s.options.Revoker.RevokeSubject(ctx, a.Name, subject, before); err != nil {
		return s.unavailable(c, "revoking the tokens of a subject", err)
	}
	ended, err := s.manager(nil).EndAll(ctx, &a.Session, subject, session.EndLogoutEverywhere)
	for _, one := range ended {
		s.ended(c, one, audit.Logout)
	}
	if err != nil {
		s.metrics.storeFailed(operationEndAll, err)
		return s.unavailable(c, "ending every session of a subject", err)
	}
	s.awaitRule(ctx, a, subject, before)
	return nil
}

// awaitRule waits until this replica denies the tokens that were just revoked: then the answer is true here, and a login
// after it waits for the second to end.
func (s *Server) awaitRule(ctx context.Context, a *issuers.Authority, subject string, before time.Time) {
	facts := revocation.Facts{Subject: subject, IssuedAt: before.Add(-time.Second)}
	start := s.options.Clock.Now()
	for s.options.Clock.Since(start) < rulePatience {
		if _, denied := a.Verification.Revocations.Match(&facts); denied {
			return
		}
		if s.wait(ctx, rulePoll) != nil {
			return
		}
	}
}
