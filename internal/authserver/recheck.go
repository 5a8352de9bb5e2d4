package authserver

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/revocation"
	"github.com/keyturn/keyturn/internal/session"
	"github.com/keyturn/keyturn/internal/token"
)

// recheck says whether the login of a session is still good: it returns "", or why the session must end.
func (s *Server) recheck(ctx context.Context, a *issuers.Authority, stored *session.Session) (session.EndReason, error) {
	if revoked(a, stored) {
		return session.EndRevoked, nil
	}
	known, err := s.known(ctx, a, stored)
	if err != nil {
		return "", err
	}
	if !known {
		return session.EndLoginRemoved, nil
	}
	return "", nil
}

// revoked reports whether a TokenRevocation denies what the session was opened with. It would deny an access token of the
// same moment, and a session is no better than that.
func revoked(a *issuers.Authority, stored *session.Session) bool {
	_, denied := a.Verification.Revocations.Match(&revocation.Facts{
		SessionID: stored.ID.String(), Subject: stored.Subject, ClientID: stored.ClientID, Audiences: stored.Audiences,
		IssuedAt: stored.CreatedAt,
	})
	return denied
}

// known reports whether the subject could still log in the way that it did, as far as that can be found out without it.
func (s *Server) known(ctx context.Context, a *issuers.Authority, stored *session.Session) (bool, error) {
	sources := &a.Spec.Login
	switch stored.Source {
	case session.SourceWorkload:
		return sources.ServiceAccounts != nil, nil
	case session.SourcePassword:
		users := sources.Htpasswd
		if users == nil || !strings.HasPrefix(stored.Subject, users.SubjectPrefix) {
			return false, nil
		}
		known, err := s.options.Passwords.Knows(ctx, a.Name.Namespace, users, stored.Subject)
		if err != nil {
			return false, fmt.Errorf("looking for the user in the Secret %s: %w", users.SecretRef.Name, err)
		}
		return known, nil
	case session.SourceUpstream:
		for i := range sources.Upstreams {
			if strings.HasPrefix(stored.Subject, sources.Upstreams[i].SubjectPrefix) {
				return true, nil
			}
		}
	}
	return false, nil
}

// recheckOf returns the recheck for one request. It runs before anything is written, so it is also the place for whatever
// else could make the answer impossible: then the refresh token is not spent. What was granted is left in g.
func (s *Server) recheckOf(c *call, signer *token.Signer, asked wish, g *grant) session.Recheck {
	a := c.authority
	return func(ctx context.Context, stored *session.Session) (session.EndReason, error) {
		if why, err := s.recheck(ctx, a, stored); why != "" || err != nil {
			return why, err
		}
		granted, refused := asked.within(a.Session.Policy.Grants(stored))
		if refused != nil {
			return "", refused
		}
		t, err := accessToken(a, &stored.Facts, granted)
		if err != nil {
			return "", err
		}
		if err := fits(t); err != nil {
			return "", err
		}
		err = s.await(ctx, a, revocation.Facts{
			SessionID: t.SessionID, Subject: stored.Subject, ClientID: stored.ClientID, KeyID: signer.KeyID(),
			Audiences: granted.audiences,
		})
		if errors.Is(err, errRevoked) {
			return session.EndRevoked, nil
		}
		g.wish = granted
		return "", err
	}
}
