package authserver

import (
	"context"
	"net/http"

	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/session"
)

// serveToken is the token endpoint (RFC 6749 section 3.2).
func (s *Server) serveToken(ctx context.Context, c *call) (answer, *refusal) {
	form, clientID, refused := c.clientForm()
	if refused != nil {
		return answer{}, refused
	}
	switch form.get("grant_type") {
	case issuers.GrantRefreshToken:
		return s.grantRefresh(ctx, c, form, clientID)
	case issuers.GrantTokenExchange:
		return s.grantExchange(ctx, c, form, clientID)
	case "":
		return answer{}, invalidRequest("The parameter grant_type is missing in the body.")
	}
	return answer{}, unsupportedGrant("The grant_type must be " + issuers.GrantRefreshToken + " or " + issuers.GrantTokenExchange + ".")
}

// grantRefresh exchanges a refresh token for its successor and an access token (RFC 6749 section 6).
func (s *Server) grantRefresh(ctx context.Context, c *call, form form, clientID string) (answer, *refusal) {
	token := form.get("refresh_token")
	if token == "" {
		return answer{}, invalidRequest("The parameter refresh_token is missing in the body.")
	}
	asked, refused := form.wish()
	if refused != nil {
		return answer{}, refused
	}
	g, response, refused := s.refresh(ctx, c, session.Request{Token: token, ClientID: clientID}, asked)
	if refused != nil {
		return answer{}, refused
	}
	response.RefreshToken = g.refreshToken.Reveal()
	return answer{body: response}, nil
}

func unsupportedGrant(description string) *refusal {
	return &refusal{status: http.StatusBadRequest, code: codeUnsupportedGrantType, description: description}
}
