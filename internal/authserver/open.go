package authserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/keyturn/keyturn/internal/audit"
	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/login"
	"github.com/keyturn/keyturn/internal/revocation"
	"github.com/keyturn/keyturn/internal/session"
)

// opening is a session that somebody who was authenticated asks for.
type opening struct {
	identity login.Identity
	clientID string
	wish     wish
	// actor is the workload that asks for the subject, if it does.
	actor string
}

// open opens a session and signs its first access token.
func (s *Server) open(ctx context.Context, c *call, o opening) (grant, *tokenResponse, *refusal) {
	a := c.authority
	if a.Session.Keys == nil {
		return grant{}, nil, s.unavailable(c, "opening a session", errNoRefreshKeys)
	}
	signer, err := s.options.Signers.Signer(ctx, a)
	if err != nil {
		return grant{}, nil, s.unavailable(c, "opening a session", err)
	}
	o.wish = o.wish.orDefault(&a.Session.Policy)
	login, err := o.login(a)
	if err != nil {
		return grant{}, nil, s.refuseLogin(c, o, err)
	}
	facts := session.Facts{Subject: login.Subject, ClientID: login.ClientID, Claims: login.Claims}
	if t, err := accessToken(a, &facts, o.wish); err != nil {
		return grant{}, nil, s.refuseLogin(c, o, err)
	} else if err := fits(t); err != nil {
		return grant{}, nil, s.refuseLogin(c, o, err)
	}
	err = s.await(ctx, a, revocation.Facts{
		Subject: login.Subject, ClientID: login.ClientID, Audiences: login.Audiences, KeyID: signer.KeyID(),
	})
	if err != nil {
		return grant{}, nil, s.refuseLogin(c, o, err)
	}
	opened, err := s.manager(nil).Open(ctx, &a.Session, login)
	if opened.Session == nil {
		return grant{}, nil, s.refuseLogin(c, o, err)
	}
	if err != nil {
		// The session is open. Older ones beyond the number are left over; the next login ends them.
		s.complain(c, operationSupersede, "ending the oldest sessions of a subject", err)
	}
	s.opened(c, o, &opened)
	g := grant{session: opened.Session, refreshToken: opened.RefreshToken, wish: wish{
		audiences: opened.Session.Audiences, scopes: opened.Session.Scopes,
	}}
	response, refused := s.respond(c, signer, g)
	return g, response, refused
}

var errNoRefreshKeys = errors.New("the Secret with the keys for refresh tokens is not known yet")

// login is what package session has to know. What no token may carry is not kept.
func (o *opening) login(a *issuers.Authority) (session.Login, error) {
	l := session.Login{
		Subject: o.identity.Subject, ClientID: o.clientID, Source: o.identity.Source,
		Scopes: o.wish.scopes, Audiences: o.wish.audiences,
	}
	kept := map[string]any{}
	for _, name := range a.Spec.Claims.FromLogin {
		if value, found := o.identity.Claims[string(name)]; found {
			kept[string(name)] = value
		}
	}
	if len(kept) == 0 {
		return l, nil
	}
	rendered, err := json.Marshal(kept)
	if err != nil {
		return session.Login{}, fmt.Errorf("%w: its claims cannot be written as JSON: %w", session.ErrBadLogin, err)
	}
	l.Claims = string(rendered)
	return l, nil
}

// opened tells everybody of a new session, and of those that it has ended.
func (s *Server) opened(c *call, o opening, opened *session.Opened) {
	created := opened.Session
	s.metrics.opened.WithLabelValues(issuerName(c.authority), string(created.Source)).Inc()
	kind := audit.Login
	if created.Source == session.SourceWorkload {
		kind = audit.Issue
	}
	event := c.event(kind, created)
	event.Actor = o.actor
	s.options.Audit.Record(event)
	for _, superseded := range opened.Superseded {
		s.ended(c, superseded, audit.SessionEnded)
	}
}

// refuseLogin turns the error of a login into an answer. Somebody who was authenticated learns what is wrong.
func (s *Server) refuseLogin(c *call, o opening, err error) *refusal {
	switch {
	case errors.Is(err, session.ErrScope):
		return invalidScope("The issuer does not allow a scope that is asked for; ask for less.")
	case errors.Is(err, session.ErrAudience):
		return invalidTarget("The issuer does not allow an audience that is asked for; ask for less.")
	case errors.Is(err, session.ErrBadLogin):
		return invalidRequest("The subject and the client id must be 1 to 256 bytes without control characters, with at most 32 " +
			"audiences, 64 scopes and 8 KiB of claims.")
	case errors.Is(err, errTooLarge):
		return invalidRequest("The access token would be larger than the 16 KiB that verifiers accept; ask for fewer audiences " +
			"and scopes, or send fewer claims.")
	case errors.Is(err, errRevoked):
		s.loginFailed(c, o.identity.Source, audit.Event{Subject: o.identity.Subject, ClientID: o.clientID, Actor: o.actor}, failedRevoked)
		return invalidGrant("What would be issued is revoked; ask whoever runs the issuer.")
	}
	s.metrics.storeFailed(operationOpen, err)
	return s.unavailable(c, "opening a session", err)
}

// Reasons of failed logins, in stable words.
const (
	failedCredentials = "CredentialsRefused"
	failedForbidden   = "Forbidden"
	failedRevoked     = "Revoked"
)

// loginFailed counts a login that was refused and tells the audit log.
func (s *Server) loginFailed(c *call, source session.Source, event audit.Event, reason string) {
	s.metrics.loginsFailed.WithLabelValues(issuerName(c.authority), string(source)).Inc()
	event.Kind, event.Source, event.Reason = audit.LoginFailed, string(source), reason
	event.Issuer, event.IssuerURL, event.Address = c.authority.Name, c.authority.Session.URL, c.address()
	s.options.Audit.Record(event)
}

// unavailable is the answer to what could not be decided.
func (s *Server) unavailable(c *call, doing string, err error) *refusal {
	s.complain(c, "", doing, err)
	return &refusal{
		status: http.StatusServiceUnavailable, code: codeUnavailable, retryAfter: retryAfter,
		description: "The request cannot be decided at the moment; keep your token and ask again.",
	}
}

// fault is the answer to what should not be possible.
func (s *Server) fault(c *call, doing string, err error) *refusal {
	s.complain(c, "", doing, err)
	return &refusal{
		status: http.StatusInternalServerError, code: codeServerError,
		description: "The request could not be answered because of a fault in the server; see its log.",
	}
}

// complain logs an error, at most once in complaintInterval, and counts it if it is the store's and the operation is
// named.
func (s *Server) complain(c *call, operation, doing string, err error) {
	if operation != "" {
		s.metrics.storeFailed(operation, err)
	}
	if s.complaints.AllowN(s.options.Clock.Now(), 1) {
		s.options.Logger.Error(err, "a request for a session could not be answered as it should be; others like it in "+
			"the same second are not logged", "issuer", issuerName(c.authority), "doing", doing)
	}
}
