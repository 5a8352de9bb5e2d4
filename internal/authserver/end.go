package authserver

import (
	"context"
	"errors"

	"github.com/keyturn/keyturn/internal/audit"
	"github.com/keyturn/keyturn/internal/session"
)

// event is one about a session.
func (c *call) event(kind audit.Kind, about *session.Session) audit.Event {
	return audit.Event{
		Kind: kind, Issuer: c.authority.Name, IssuerURL: c.authority.Session.URL, Subject: about.Subject,
		ClientID: about.ClientID, SessionID: about.ID.String(), Source: string(about.Source), Address: c.address(),
	}
}

// address is the client's, for the audit log.
func (c *call) address() string {
	if !c.info.Client.IsValid() {
		return ""
	}
	return c.info.Client.String()
}

// ended is called for every session that a request has ended, before the request is answered: from then on this replica
// denies its access tokens.
func (s *Server) ended(c *call, ended *session.Session, kind audit.Kind) {
	s.options.Denier.DenySession(c.authority.Name, ended.ID.String())
	s.metrics.ended.WithLabelValues(issuerName(c.authority), string(ended.EndReason)).Inc()
	event := c.event(kind, ended)
	event.Reason = string(ended.EndReason)
	s.options.Audit.Record(event)
}

// end ends the session of a refresh token, whose reading costs nothing where it is forged. The reason is session.Ended
// once the session has ended, and otherwise why the token was not good for it.
func (s *Server) end(ctx context.Context, c *call, token, clientID string) (session.Reason, *refusal) {
	a := c.authority
	if a.Session.Keys == nil {
		return "", s.unavailable(c, "ending a session", errNoRefreshKeys)
	}
	presented, reason := a.Session.Keys.Read(token, a.Session.URL)
	if reason != session.Good {
		return reason, nil
	}
	if refused := s.take(c, limitEnd, s.limits.bySession(c, presented.SessionID), a.Spec.RateLimits.RefreshPerSession); refused != nil {
		return "", refused
	}
	request := session.Request{Token: token, ClientID: clientID}
	result, err := s.manager(nil).End(ctx, &a.Session, request, session.EndLogout)
	if err != nil {
		s.metrics.storeFailed(operationEnd, err)
		return "", s.unavailable(c, "ending a session", err)
	}
	s.denyEnded(c, result)
	return result.Reason, nil
}

// denyEnded tells everybody of a session that has ended. One that had ended before is denied once more: the replica that
// ended it may have stopped before anybody heard of it.
func (s *Server) denyEnded(c *call, result session.Result) {
	switch {
	case result.Ended:
		s.ended(c, result.Session, audit.Logout)
	case result.Reason == session.Ended:
		s.options.Denier.DenySession(c.authority.Name, result.Session.ID.String())
	}
}

// manager returns one with a recheck of this request's own.
func (s *Server) manager(recheck session.Recheck) *session.Manager {
	return session.NewManager(s.options.Store, s.options.Clock, recheck)
}

// judge says what would become of a refresh token, and of which session it is, and changes nothing. The outcome is the
// zero one where the token names no session.
func (s *Server) judge(ctx context.Context, c *call, presented session.Presented) (session.Outcome, *session.Session, *refusal) {
	stored, err := s.options.Store.Get(ctx, c.authority.Session.Reference, presented.SessionID)
	switch {
	case errors.Is(err, session.ErrNotFound):
		stored = nil
	case err != nil:
		s.metrics.storeFailed(operationRead, err)
		return session.Outcome{}, nil, s.unavailable(c, "reading a session", err)
	}
	return session.Classify(presented, stored, s.options.Clock.Now(), c.authority.Session.Policy), stored, nil
}
