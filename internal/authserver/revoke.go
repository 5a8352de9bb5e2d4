package authserver

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/session"
	"github.com/keyturn/keyturn/internal/token"
)

// serveRevoke is the revocation endpoint (RFC 7009): with a refresh token or an access token its session ends, and with
// that all tokens of it. A token that is not good for anything is answered as one that was revoked (section 2.2). The
// token says by its form what it is, so token_type_hint is not needed.
func (s *Server) serveRevoke(ctx context.Context, c *call) (answer, *refusal) {
	form, clientID, refused := c.clientForm()
	if refused != nil {
		return answer{}, refused
	}
	presented := form.get("token")
	switch {
	case presented == "":
		return answer{}, invalidRequest("The parameter token is missing in the body.")
	case strings.HasPrefix(presented, session.Prefix):
		reason, refused := s.end(ctx, c, presented, clientID)
		if refused == nil && reason == session.ClientMismatch {
			refused = invalidGrant(reason.Sentence()) // RFC 7009 section 2.1: the client is told.
		}
		return answer{}, refused
	}
	return answer{}, s.revokeAccessToken(ctx, c, presented, clientID)
}

// revokeAccessToken ends the session of an access token. One that some workload signed with the mounted key has none; that
// it goes on being good must not be told as success.
func (s *Server) revokeAccessToken(ctx context.Context, c *call, presented, clientID string) *refusal {
	a := c.authority
	claims, refused := s.verify(c, presented)
	if refused != nil || claims == nil {
		return refused
	}
	if clientID != "" && claims.ClientID != clientID {
		return invalidGrant("The token was issued to another client; use the one that it was issued to.")
	}
	id, err := session.ParseID(claims.SessionID)
	if err != nil {
		return noSession()
	}
	if refused := s.take(c, limitEnd, s.limits.bySession(c, id), a.Spec.RateLimits.RefreshPerSession); refused != nil {
		return refused
	}
	result, err := s.manager(nil).EndSession(ctx, &a.Session, id, session.EndLogout)
	if err != nil {
		s.metrics.storeFailed(operationEnd, err)
		return s.unavailable(c, "ending a session", err)
	}
	if result.Reason == session.NotFound {
		return noSession()
	}
	s.denyEnded(c, result)
	return nil
}

func noSession() *refusal {
	return &refusal{
		status: http.StatusBadRequest, code: codeUnsupportedTokenType,
		description: "The access token belongs to no session, so there is nothing to end; deny it with a TokenRevocation.",
	}
}

// verify returns the claims of an access token of this issuer that is good at the moment, and nil for any other. Which
// application it is for does not matter, nor what it may do.
func (s *Server) verify(c *call, presented string) (*token.Claims, *refusal) {
	a := c.authority
	result := s.options.Verifier.Verify(presented, token.Want{
		Audiences: slices.Concat(a.Verification.Audiences, a.Session.Policy.Audiences), AnyScope: true,
	})
	switch {
	case result.Reason == token.NotSynced, result.Reason == token.KeysStale:
		return nil, s.unavailable(c, "verifying an access token", errNotSynced)
	case !result.Allowed(), result.Claims.Issuer != a.Session.URL:
		return nil, nil
	}
	return result.Claims, nil
}

var errNotSynced = errors.New("the verifier does not know all revocations yet")
