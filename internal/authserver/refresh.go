package authserver

import (
	"context"
	"errors"

	"github.com/keyturn/keyturn/internal/audit"
	"github.com/keyturn/keyturn/internal/session"
)

// refresh answers a refresh token, for the token endpoint and for browsers. A forged one is refused before anything else
// is looked at: no limit remembers it, and no store hears of it.
func (s *Server) refresh(ctx context.Context, c *call, request session.Request, asked wish) (grant, *tokenResponse, *refusal) {
	a := c.authority
	if a.Session.Keys == nil {
		return grant{}, nil, s.unavailable(c, "refreshing a session", errNoRefreshKeys)
	}
	presented, reason := a.Session.Keys.Read(request.Token, a.Session.URL)
	if reason != session.Good {
		s.countRefresh(c, string(reason))
		return grant{}, nil, invalidGrant(reason.Sentence())
	}
	key := s.limits.bySession(c, presented.SessionID)
	if refused := s.take(c, limitRefresh, key, a.Spec.RateLimits.RefreshPerSession); refused != nil {
		return grant{}, nil, refused
	}
	signer, err := s.options.Signers.Signer(ctx, a)
	if err != nil {
		s.countRefresh(c, undecided)
		return grant{}, nil, s.unavailable(c, "refreshing a session", err)
	}
	var g grant
	start := s.options.Clock.Now()
	result, err := s.manager(s.recheckOf(c, signer, asked, &g)).Refresh(ctx, &a.Session, request)
	s.metrics.refreshTook(s.options.Clock.Since(start))
	if err != nil {
		return grant{}, nil, s.refreshFailed(c, result, err)
	}
	s.countRefresh(c, string(result.Reason))
	s.refreshed(c, result)
	if !result.Reason.Granted() {
		return grant{}, nil, invalidGrant(s.sentence(result))
	}
	g.session, g.refreshToken = result.Session, result.RefreshToken
	response, refused := s.respond(c, signer, g)
	return g, response, refused
}

// refreshFailed is the answer to a refresh that was not decided, or that the recheck refused without a decision. A reuse
// is told to the audit log even if the store could not end the session: the thief may be the one who makes it fail.
func (s *Server) refreshFailed(c *call, result session.Result, err error) *refusal {
	if result.Reason == session.Reused && result.Session != nil {
		event := c.event(audit.Reuse, result.Session)
		event.Reason = "the session could not be ended: the store failed"
		s.options.Audit.Record(event)
	}
	if refused := (*refusal)(nil); errors.As(err, &refused) {
		s.countRefresh(c, refused.code)
		return refused
	}
	s.countRefresh(c, undecided)
	s.metrics.storeFailed(operationRefresh, err)
	if errors.Is(err, errTooLarge) {
		return s.fault(c, "refreshing a session", err)
	}
	return s.unavailable(c, "refreshing a session", err)
}

// refreshed tells the audit log what became of a refresh, and everybody of a session that it has ended.
func (s *Server) refreshed(c *call, result session.Result) {
	switch {
	case result.Reason.Granted():
		event := c.event(audit.Refresh, result.Session)
		event.Reason = string(result.Reason)
		s.options.Audit.Record(event)
	case result.Ended && result.Reason == session.Reused:
		s.ended(c, result.Session, audit.Reuse)
	case result.Ended:
		s.ended(c, result.Session, audit.SessionEnded)
	}
}

// sentence says why a refresh was refused, and more precisely where the recheck found it out.
func (s *Server) sentence(result session.Result) string {
	if result.Reason == session.Rechecked {
		return result.Session.EndReason.Sentence()
	}
	return result.Reason.Sentence()
}

func (s *Server) countRefresh(c *call, reason string) {
	s.metrics.refreshed.WithLabelValues(issuerName(c.authority), reason).Inc()
}
