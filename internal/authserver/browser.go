package authserver

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/keyturn/keyturn/internal/audit"
	"github.com/keyturn/keyturn/internal/login"
	"github.com/keyturn/keyturn/internal/session"
)

// defaultBrowserClient is the client id of a login that names none.
const defaultBrowserClient = "browser"

// loginRequest is what a page sends to log in: a user name and a password, or an ID token.
type loginRequest struct {
	Username string `json:"username"`
	Password string `json:"password"`
	IDToken  string `json:"id_token"`
	ClientID string `json:"client_id"`
	Scope    string `json:"scope"`
	Audience texts  `json:"audience"`
}

// serveLogin logs somebody in with a browser. The refresh token goes into a cookie that no script can read.
func (s *Server) serveLogin(ctx context.Context, c *call) (answer, *refusal) {
	key, number := s.limits.byAddress(c), c.authority.Spec.RateLimits.LoginPerAddress
	if refused := s.take(c, limitAddress, key, number); refused != nil {
		return answer{}, refused
	}
	var request loginRequest
	if refused := c.readJSON(&request); refused != nil {
		return answer{}, refused
	}
	request.ClientID = cmp.Or(request.ClientID, defaultBrowserClient)
	identity, refused := s.identify(ctx, c, &request)
	if refused != nil {
		return answer{}, refused
	}
	g, response, refused := s.open(ctx, c, opening{
		identity: identity, clientID: request.ClientID,
		wish: wish{audiences: request.Audience, scopes: strings.Fields(request.Scope)},
	})
	if refused != nil {
		return answer{}, refused
	}
	return s.browserAnswer(c, g, response), nil
}

// browserAnswer puts the refresh token into the cookie.
func (s *Server) browserAnswer(c *call, g grant, response *tokenResponse) answer {
	s.setCookie(c, g.refreshToken, c.authority.Session.Policy.RefreshExpiry(g.session))
	response.SessionID, response.Subject = g.session.ID.String(), g.session.Subject
	return answer{body: response}
}

// identify finds out who logs in.
func (s *Server) identify(ctx context.Context, c *call, request *loginRequest) (login.Identity, *refusal) {
	password := request.Username != "" || request.Password != ""
	switch {
	case password == (request.IDToken != ""):
		return login.Identity{}, invalidRequest("Send either username and password, or id_token.")
	case password:
		return s.checkPassword(ctx, c, request)
	}
	upstreams := c.authority.Spec.Login.Upstreams
	if len(upstreams) == 0 {
		return login.Identity{}, invalidRequest("The issuer offers no login with an ID token.")
	}
	identity, err := s.options.Upstreams.Authenticate(ctx, upstreams, request.IDToken)
	if err != nil {
		return login.Identity{}, s.refuseUpstream(c, request.ClientID, err, invalidGrant)
	}
	return identity, nil
}

func (s *Server) checkPassword(ctx context.Context, c *call, request *loginRequest) (login.Identity, *refusal) {
	a := c.authority
	users := a.Spec.Login.Htpasswd
	if users == nil {
		return login.Identity{}, invalidRequest("The issuer offers no login with a user name and a password.")
	}
	key := s.limits.key(c, request.Username)
	if refused := s.take(c, limitUser, key, a.Spec.RateLimits.LoginPerUser); refused != nil {
		return login.Identity{}, refused
	}
	identity, err := s.options.Passwords.Check(ctx, a.Name.Namespace, users, request.Username, request.Password)
	switch {
	case err == nil:
		return identity, nil
	case errors.Is(err, login.ErrRefused):
		event := audit.Event{ClientID: plausible(request.ClientID)}
		if user := plausible(request.Username); user != "" {
			event.Subject = users.SubjectPrefix + user
		}
		s.loginFailed(c, session.SourcePassword, event, failedCredentials)
		return login.Identity{}, invalidGrant("The user name or the password is wrong.")
	case errors.Is(err, login.ErrNotOffered):
		return login.Identity{}, invalidRequest("The issuer offers no login with a user name and a password.")
	}
	return login.Identity{}, s.unavailable(c, "checking a password", err)
}

// maxPlausible bounds in bytes what of a failed login is told to the audit log.
const maxPlausible = 64

// plausible returns a name that has the form of one, and otherwise nothing: whoever types his password into the wrong field
// must not find it in a log.
func plausible(name string) string {
	if len(name) > maxPlausible || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:_@-") != "" {
		return ""
	}
	return name
}

// serveRenew refreshes the session of the cookie. A browser without one is not logged in, and no attacker.
func (s *Server) serveRenew(ctx context.Context, c *call) (answer, *refusal) {
	token, refused := c.refreshToken()
	if refused != nil {
		return answer{}, refused
	}
	if token == "" {
		return answer{}, notLoggedIn()
	}
	g, response, refused := s.refresh(ctx, c, session.Request{Token: token}, wish{})
	if refused != nil {
		if refused.definite() {
			c.clearCookie()
		}
		return answer{}, refused
	}
	return s.browserAnswer(c, g, response), nil
}

func notLoggedIn() *refusal { return invalidGrant("Nobody is logged in with this browser; log in.") }

// serveLogout ends the session of the cookie. Where there is none the browser is logged out already.
func (s *Server) serveLogout(ctx context.Context, c *call) (answer, *refusal) {
	for _, token := range c.refreshTokens() {
		if _, refused := s.end(ctx, c, token, ""); refused != nil {
			return answer{}, refused
		}
	}
	c.clearCookie()
	return answer{status: http.StatusNoContent}, nil
}
