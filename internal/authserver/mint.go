package authserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/revocation"
	"github.com/keyturn/keyturn/internal/session"
	"github.com/keyturn/keyturn/internal/token"
)

// grant is what one request gets: of a session, an access token for these audiences and scopes.
type grant struct {
	session *session.Session
	wish
	refreshToken session.RefreshToken
}

// respond signs the access token of a grant. The refresh token is left out: where it goes is the endpoint's to say.
func (s *Server) respond(c *call, signer *token.Signer, g grant) (*tokenResponse, *refusal) {
	now := s.options.Clock.Now()
	t, err := accessToken(c.authority, &g.session.Facts, g.wish)
	if err != nil {
		return nil, s.fault(c, "preparing an access token", err)
	}
	t.IssuedAt, t.Expiry = now, c.authority.Session.Policy.AccessExpiry(g.session, now)
	raw, err := signer.Sign(t)
	if err != nil {
		return nil, s.fault(c, "signing an access token", err)
	}
	return &tokenResponse{
		AccessToken: raw, TokenType: bearer, ExpiresIn: max(0, int64(t.Expiry.Sub(now)/time.Second)), Scope: joined(g.scopes),
	}, nil
}

// accessToken is the access token of a session, without its times. What the policy says about claims holds from the next
// token on, also for sessions that were opened before.
func accessToken(a *issuers.Authority, facts *session.Facts, w wish) (*token.AccessToken, error) {
	extra := make(map[string]any, len(a.FixedClaims))
	for name, value := range a.FixedClaims {
		extra[name] = value
	}
	if facts.Claims != "" {
		// Each value stays as it is, digit by digit.
		var said map[string]json.RawMessage
		if err := json.Unmarshal([]byte(facts.Claims), &said); err != nil {
			return nil, fmt.Errorf("reading the claims of session %s: %w", facts.ID, err)
		}
		for _, name := range a.Spec.Claims.FromLogin {
			if value, found := said[string(name)]; found {
				extra[string(name)] = value
			}
		}
	}
	return &token.AccessToken{
		Issuer: a.Session.URL, Subject: facts.Subject, ClientID: facts.ClientID, SessionID: facts.ID.String(),
		Audiences: w.audiences, Scopes: w.scopes, Extra: extra,
	}, nil
}

// maxPayloadBytes leaves room for the header and for the signature of the largest key, in the token that verifiers look
// at: base64 makes four characters of three bytes.
const maxPayloadBytes = (token.MaxTokenBytes - 2<<10) / 4 * 3

// timesBytes is more than the claims take up that a token has beside those in fits: times, "jti", and all names.
const timesBytes = 256

// errTooLarge says that no verifier would look at the token.
var errTooLarge = errors.New("the access token would be larger than verifiers accept (16 KiB): ask for fewer audiences " +
	"and scopes, or shorten spec.sessions.claims")

// fits says whether verifiers would look at the token.
func fits(t *token.AccessToken) error {
	rendered, err := json.Marshal([]any{t.Extra, t.Issuer, t.Subject, t.ClientID, t.SessionID, t.Audiences, t.Scopes})
	if err != nil {
		return fmt.Errorf("rendering the claims of an access token: %w", err)
	}
	if len(rendered)+timesBytes > maxPayloadBytes {
		return errTooLarge
	}
	return nil
}

// longestWait is for how long a request waits for a revocation to be over. Logging out everywhere denies what is issued
// in the very second, and so the next login waits for that second to end, by whichever replica's clock it was counted.
const longestWait = time.Second + session.DefaultClockError

var (
	// errRevoked says that a TokenRevocation would deny the token.
	errRevoked = errors.New("a TokenRevocation denies what would be issued")
	// errKeyRevoked says that one denies the key.
	errKeyRevoked = fmt.Errorf("%w: its key has just been revoked", issuers.ErrCannotSign)
)

// await waits until a token with these facts, but for the time, is one that no TokenRevocation denies. It does so before
// anything is written: a session that was opened earlier would be denied by its own beginning.
func (s *Server) await(ctx context.Context, a *issuers.Authority, facts revocation.Facts) error {
	for {
		now := s.options.Clock.Now().UTC()
		facts.IssuedAt = now.Truncate(time.Second)
		rule, denied := a.Verification.Revocations.Match(&facts)
		if !denied {
			return nil
		}
		var left time.Duration
		switch rule.Kind {
		case revocation.KeyID:
			return errKeyRevoked
		case revocation.Subject, revocation.ClientID, revocation.Audience, revocation.All:
			left = wholeSecond(rule.IssuedBefore).Sub(now)
		default:
			return errRevoked
		}
		if left > longestWait {
			return errRevoked
		}
		if err := s.wait(ctx, left); err != nil {
			return fmt.Errorf("waiting for the second of a TokenRevocation to end: %w", err)
		}
	}
}

// wholeSecond rounds up to a second.
func wholeSecond(t time.Time) time.Time {
	return t.UTC().Add(time.Second - time.Nanosecond).Truncate(time.Second)
}

func (s *Server) wait(ctx context.Context, duration time.Duration) error {
	timer := s.options.Clock.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-timer.C():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
