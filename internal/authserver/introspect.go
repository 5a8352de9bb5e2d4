package authserver

import (
	"context"
	"strings"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/session"
	"github.com/keyturn/keyturn/internal/token"
)

// introspection says what a token is worth (RFC 7662 section 2.2). Times are in seconds since 1970.
type introspection struct {
	Active    bool   `json:"active"`
	Issuer    string `json:"iss,omitempty"`
	Subject   string `json:"sub,omitempty"`
	Audience  texts  `json:"aud,omitempty"`
	Expiry    int64  `json:"exp,omitempty"`
	IssuedAt  int64  `json:"iat,omitempty"`
	NotBefore int64  `json:"nbf,omitempty"`
	ID        string `json:"jti,omitempty"`
	ClientID  string `json:"client_id,omitempty"`
	Scope     string `json:"scope,omitempty"`
	// TokenType is that of RFC 6749 section 5.1, for access tokens only.
	TokenType string `json:"token_type,omitempty"`
	SessionID string `json:"sid,omitempty"`
}

// serveIntrospect is the introspection endpoint (RFC 7662). Whoever asks must be a workload that RBAC grants the verb
// "introspect", so that nobody can try tokens out here (section 4). A token that is not good is not active, and nothing is
// said about it.
func (s *Server) serveIntrospect(ctx context.Context, c *call) (answer, *refusal) {
	if _, refused := s.authorize(ctx, c, v1alpha1.VerbIntrospect); refused != nil {
		return answer{}, refused
	}
	form, refused := c.form()
	if refused != nil {
		return answer{}, refused
	}
	presented := form.get("token")
	if presented == "" {
		return answer{}, invalidRequest("The parameter token is missing in the body.")
	}
	var found introspection
	if strings.HasPrefix(presented, session.Prefix) {
		found, refused = s.introspectRefreshToken(ctx, c, presented)
	} else {
		found, refused = s.introspectAccessToken(c, presented)
	}
	return answer{body: found}, refused
}

func (s *Server) introspectAccessToken(c *call, presented string) (introspection, *refusal) {
	claims, refused := s.verify(c, presented)
	if refused != nil || claims == nil {
		return introspection{}, refused
	}
	return introspectionOf(claims), nil
}

func introspectionOf(claims *token.Claims) introspection {
	found := introspection{
		Active: true, Issuer: claims.Issuer, Subject: claims.Subject, Audience: claims.Audiences,
		Expiry: claims.Expiry.Unix(), IssuedAt: claims.IssuedAt.Unix(), ID: claims.ID, ClientID: claims.ClientID,
		Scope: joined(claims.Scopes), TokenType: bearer, SessionID: claims.SessionID,
	}
	if !claims.NotBefore.IsZero() {
		found.NotBefore = claims.NotBefore.Unix()
	}
	return found
}

// introspectRefreshToken says that a refresh token is active if it is the current one of a session, and a refresh with it
// would be granted now. Nothing is written: asking about a used token is no reuse.
func (s *Server) introspectRefreshToken(ctx context.Context, c *call, presented string) (introspection, *refusal) {
	a := c.authority
	if a.Session.Keys == nil {
		return introspection{}, s.unavailable(c, "reading a refresh token", errNoRefreshKeys)
	}
	read, reason := a.Session.Keys.Read(presented, a.Session.URL)
	if reason != session.Good {
		return introspection{}, nil
	}
	outcome, stored, refused := s.judge(ctx, c, read)
	if refused != nil || !outcome.Reason.Granted() || !outcome.Write {
		return introspection{}, refused
	}
	why, err := s.recheck(ctx, a, stored)
	if err != nil {
		return introspection{}, s.unavailable(c, "asking whether a login is still good", err)
	}
	if why != "" {
		return introspection{}, nil
	}
	audiences, scopes := a.Session.Policy.Grants(stored)
	return introspection{
		Active: true, Issuer: a.Session.URL, Subject: stored.Subject, Audience: audiences,
		Expiry: a.Session.Policy.RefreshExpiry(stored).Unix(), IssuedAt: stored.RotatedAt.Unix(), ClientID: stored.ClientID,
		Scope: joined(scopes), SessionID: stored.ID.String(),
	}, nil
}
