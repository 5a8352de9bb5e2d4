package authserver

import (
	"cmp"
	"context"
	"errors"

	"github.com/keyturn/keyturn/internal/audit"
	"github.com/keyturn/keyturn/internal/login"
	"github.com/keyturn/keyturn/internal/session"
)

// The types of tokens that an exchange knows (RFC 8693 section 3).
const (
	tokenTypeID     = "urn:ietf:params:oauth:token-type:id_token"
	tokenTypeJWT    = "urn:ietf:params:oauth:token-type:jwt"
	tokenTypeAccess = "urn:ietf:params:oauth:token-type:access_token"
)

// grantExchange opens a session for the ID token of a trusted issuer (RFC 8693 section 2). Whatever is wrong with that
// token is an invalid_request there (section 2.2.2).
func (s *Server) grantExchange(ctx context.Context, c *call, form form, clientID string) (answer, *refusal) {
	if refused := checkExchange(form); refused != nil {
		return answer{}, refused
	}
	asked, refused := form.wish()
	if refused != nil {
		return answer{}, refused
	}
	a := c.authority
	if len(a.Spec.Login.Upstreams) == 0 {
		return answer{}, unsupportedGrant("The issuer exchanges no tokens: it has no spec.sessions.login.upstreams.")
	}
	key, number := s.limits.byAddress(c), a.Spec.RateLimits.LoginPerAddress
	if refused := s.spent(c, limitExchange, key, number); refused != nil {
		return answer{}, refused
	}
	identity, err := s.options.Upstreams.Authenticate(ctx, a.Spec.Login.Upstreams, form.get("subject_token"))
	if errors.Is(err, login.ErrRefused) {
		s.failed(limitExchange, key, number)
	}
	if err != nil {
		return answer{}, s.refuseUpstream(c, clientID, err, invalidRequest)
	}
	clientID = cmp.Or(clientID, identity.Client)
	if clientID == "" {
		return answer{}, invalidRequest("The subject_token names no client; send the parameter client_id.")
	}
	g, response, refused := s.open(ctx, c, opening{identity: identity, clientID: clientID, wish: asked})
	if refused != nil {
		return answer{}, refused
	}
	response.RefreshToken, response.IssuedTokenType = g.refreshToken.Reveal(), tokenTypeAccess
	return answer{body: response}, nil
}

// checkExchange refuses what is asked for and not offered, rather than to give something else.
func checkExchange(form form) *refusal {
	switch {
	case form.get("subject_token") == "":
		return invalidRequest("The parameter subject_token is missing in the body.")
	case form.get("subject_token_type") != tokenTypeID && form.get("subject_token_type") != tokenTypeJWT:
		return invalidRequest("The subject_token_type must be " + tokenTypeID + " or " + tokenTypeJWT + ".")
	case form.get("requested_token_type") != "" && form.get("requested_token_type") != tokenTypeAccess:
		return invalidRequest("The requested_token_type must be " + tokenTypeAccess + ", or left out.")
	case form.get("actor_token") != "" || form.get("actor_token_type") != "":
		return invalidRequest("An actor_token is not supported: tokens are for the subject alone.")
	}
	return nil
}

// refuseUpstream turns the error of an ID token into an answer. How a bad token is told differs by endpoint.
func (s *Server) refuseUpstream(c *call, clientID string, err error, bad func(string) *refusal) *refusal {
	switch {
	case errors.Is(err, login.ErrRefused):
		s.loginFailed(c, session.SourceUpstream, audit.Event{ClientID: plausible(clientID)}, failedCredentials)
		return bad("The ID token is not one that this issuer accepts: it must be unexpired, of a trusted issuer, and for one " +
			"of its accepted clients.")
	case errors.Is(err, login.ErrNotOffered):
		return invalidRequest("The issuer offers no login with an ID token.")
	}
	return s.unavailable(c, "checking an ID token", err)
}
