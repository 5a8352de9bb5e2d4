package authserver

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/audit"
	"github.com/keyturn/keyturn/internal/login"
	"github.com/keyturn/keyturn/internal/session"
)

// issueRequest is what a workload asks for that has authenticated a subject itself.
type issueRequest struct {
	Subject  string                     `json:"subject"`
	ClientID string                     `json:"client_id"`
	Scope    string                     `json:"scope"`
	Audience texts                      `json:"audience"`
	Claims   map[string]json.RawMessage `json:"claims"`
}

// serveSessions opens a session for whatever subject a workload names that RBAC grants the verb "issue".
func (s *Server) serveSessions(ctx context.Context, c *call) (answer, *refusal) {
	if c.authority.Spec.Login.ServiceAccounts == nil {
		return answer{}, &refusal{
			status: http.StatusForbidden, code: codeAccessDenied,
			description: "The issuer lets no workload open sessions: it has no spec.sessions.login.serviceAccounts.",
		}
	}
	workload, refused := s.authorize(ctx, c, v1alpha1.VerbIssue)
	if refused != nil {
		return answer{}, refused
	}
	var request issueRequest
	if refused := c.readJSON(&request); refused != nil {
		return answer{}, refused
	}
	if request.Subject == "" {
		return answer{}, invalidRequest("The member subject is missing: say whom the session is for.")
	}
	claims := make(map[string]any, len(request.Claims))
	for name, value := range request.Claims {
		claims[name] = value
	}
	g, response, refused := s.open(ctx, c, opening{
		identity: login.Identity{Subject: request.Subject, Claims: claims, Source: session.SourceWorkload},
		clientID: cmp.Or(request.ClientID, workload.Name), actor: workload.Name,
		wish: wish{audiences: request.Audience, scopes: strings.Fields(request.Scope)},
	})
	if refused != nil {
		return answer{}, refused
	}
	response.RefreshToken, response.SessionID = g.refreshToken.Reveal(), g.session.ID.String()
	return answer{status: http.StatusCreated, body: response}, nil
}

// The challenges to a caller that must be a workload (RFC 6750 section 3).
const (
	challengeMissing = `Bearer`
	challengeRefused = `Bearer error="invalid_token"`
)

// authorize finds out which workload asks, by its ServiceAccount token, and whether RBAC grants it the verb on the issuer.
func (s *Server) authorize(ctx context.Context, c *call, verb string) (login.Workload, *refusal) {
	a := c.authority
	presented := c.bearer()
	if presented == "" {
		return login.Workload{}, unauthorized(challengeMissing)
	}
	key, number := s.limits.byAddress(c), a.Spec.RateLimits.LoginPerAddress
	if refused := s.spent(c, limitWorkload, key, number); refused != nil {
		return login.Workload{}, refused
	}
	workload, err := s.options.Workloads.Authorize(ctx, a.Name, a.Session.URL, presented, verb)
	switch {
	case err == nil:
		return workload, nil
	case errors.Is(err, login.ErrRefused):
		s.failed(limitWorkload, key, number)
		s.workloadFailed(c, verb, "", failedCredentials)
		return login.Workload{}, unauthorized(challengeRefused)
	case errors.Is(err, login.ErrForbidden):
		s.failed(limitWorkload, key, number)
		s.workloadFailed(c, verb, workload.Name, failedForbidden)
		return login.Workload{}, &refusal{
			status: http.StatusForbidden, code: codeAccessDenied, description: "The ServiceAccount lacks the right to do that: " +
				"grant it the verb " + verb + " on the TokenIssuer with a Role and a RoleBinding.",
		}
	}
	return login.Workload{}, s.unavailable(c, "checking a ServiceAccount token", err)
}

// workloadFailed tells the audit log of a workload that may not open sessions. One that may not introspect logs nobody in.
func (s *Server) workloadFailed(c *call, verb, actor, reason string) {
	if verb == v1alpha1.VerbIssue {
		s.loginFailed(c, session.SourceWorkload, audit.Event{Actor: actor}, reason)
	}
}

func unauthorized(challenge string) *refusal {
	return &refusal{
		status: http.StatusUnauthorized, code: codeInvalidToken, challenge: challenge,
		description: "Send a ServiceAccount token as the bearer token, with the issuer URL as its audience.",
	}
}
