package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"k8s.io/utils/clock"
)

// Issuer is what a manager must know of one issuer: an immutable snapshot.
type Issuer struct {
	// Reference names the TokenIssuer.
	Reference IssuerReference
	// URL is the value of the claim "iss".
	URL string
	// Keys are those for its refresh tokens.
	Keys *Keys
	// Policy has passed Validate.
	Policy Policy
}

// Manager opens, refreshes and ends sessions. It is safe for concurrent use, and keeps nothing: any number of replicas
// may have one over the same Store.
type Manager struct {
	store   Store
	clock   clock.PassiveClock
	recheck Recheck
}

// Recheck says whether a session may still be refreshed: whether its user still exists, may still log in, and was not
// revoked. It returns "", or why the session must end now. It is asked before each refresh is granted, and never for a
// token that is refused anyway. With an error nothing is decided: the client must ask again.
type Recheck func(ctx context.Context, s *Session) (EndReason, error)

// NewManager returns a manager. Without a recheck only the session's own record counts.
func NewManager(store Store, clk clock.PassiveClock, recheck Recheck) *Manager {
	return &Manager{store: store, clock: clk, recheck: recheck}
}

// Login is what somebody who was authenticated asks for.
type Login struct {
	// Subject, ClientID, Scopes, Audiences, Claims and Source are as in Facts, in any order.
	Subject, ClientID string
	Scopes, Audiences []string
	Claims            string
	Source            Source
}

// Opened is a new session.
type Opened struct {
	Session *Session
	// RefreshToken is that of generation 0.
	RefreshToken RefreshToken
	// Superseded are the sessions that were ended because the subject had too many.
	Superseded []*Session
}

// Errors of a Login, with the OAuth errors that they map to.
var (
	// ErrBadLogin says that a login is incomplete or out of bounds: invalid_request (RFC 6749 section 5.2).
	ErrBadLogin = errors.New("the login is not one that a session can be opened for")
	// ErrScope says that the policy does not allow a scope: invalid_scope (RFC 6749 section 5.2).
	ErrScope = errors.New("the issuer does not allow a scope that is asked for: add it to spec.sessions.scopes, or ask for less")
	// ErrAudience says that the policy does not allow an audience: invalid_target (RFC 8707 section 2).
	ErrAudience = errors.New("the issuer does not allow an audience that is asked for: add it to spec.sessions.audiences, or ask for less")
)

// Bounds of a login. Lengths are in bytes.
const (
	maxTextBytes   = 256
	maxScopes      = 64
	maxScopeBytes  = 128
	maxAudiences   = 32
	maxClaimsBytes = 8 << 10
)

// trimmed is how many sessions beyond the allowed number one login ends at most. More can be there after the number was
// lowered; the next logins end them.
const trimmed = 16

// Open opens a session for a login, and ends the subject's oldest ones if there are too many now. The errors are those of
// a Login and of a Store. With an error beside a session, the session is open, and older ones are left over.
func (m *Manager) Open(ctx context.Context, issuer *Issuer, login Login) (Opened, error) {
	if err := login.validate(&issuer.Policy); err != nil {
		return Opened{}, err
	}
	now := m.clock.Now().UTC()
	key := issuer.Keys.Current(now)
	created, err := m.store.Create(ctx, newSession(issuer, key, login, now))
	if err != nil {
		return Opened{}, fmt.Errorf("opening a session at %s: %w", issuer.URL, err)
	}
	opened := Opened{Session: created, RefreshToken: key.token(&created.Facts, created.Generation)}
	opened.Superseded, err = m.endOldest(ctx, issuer, created, now)
	return opened, err
}

func newSession(issuer *Issuer, key *Key, login Login, now time.Time) *Session {
	createdAt := now.Truncate(factPrecision)
	// Not beyond what the key was written with: it is gone afterwards.
	expiresAt := createdAt.Add(min(issuer.Policy.AbsoluteLifetime, key.MaxLifetime)).Truncate(factPrecision)
	rotatedAt := now.Truncate(statePrecision)
	return &Session{
		Facts: Facts{
			ID: NewID(expiresAt), Issuer: issuer.Reference, IssuerURL: issuer.URL,
			Subject: login.Subject, ClientID: login.ClientID, Scopes: sorted(login.Scopes), Audiences: sorted(login.Audiences),
			Claims: login.Claims, Source: login.Source, Salt: NewSalt(), CreatedAt: createdAt, ExpiresAt: expiresAt,
		},
		State: State{RotatedAt: rotatedAt, IdleUntil: earlier(rotatedAt.Add(issuer.Policy.IdleLifetime), expiresAt)},
	}
}

// endOldest keeps a subject within its number of sessions. The new one stays, whatever the list says.
func (m *Manager) endOldest(ctx context.Context, issuer *Issuer, created *Session, now time.Time) ([]*Session, error) {
	allowed := issuer.Policy.MaxPerSubject
	listed, err := m.store.ListSubject(ctx, issuer.Reference, created.Subject, now, allowed+trimmed)
	if err != nil {
		return nil, fmt.Errorf("looking for the oldest sessions of the subject of %s: %w", created.ID, err)
	}
	older := slices.DeleteFunc(listed, func(s *Session) bool { return s.ID == created.ID })
	var ended []*Session
	for _, s := range older[:max(0, len(older)-(allowed-1))] {
		s, err := m.store.End(ctx, issuer.Reference, s.ID, now, EndSuperseded)
		switch {
		case errors.Is(err, ErrNotFound):
		case err != nil:
			return ended, fmt.Errorf("ending one of the oldest sessions of the subject of %s: %w", created.ID, err)
		default:
			ended = append(ended, s)
		}
	}
	return ended, nil
}

func (l *Login) validate(policy *Policy) error {
	for name, text := range map[string]string{"subject": l.Subject, "client id": l.ClientID} {
		if text == "" || len(text) > maxTextBytes || !printable(text) {
			return fmt.Errorf("%w: its %s must be 1 to %d bytes of text without control characters", ErrBadLogin, name, maxTextBytes)
		}
	}
	if len(l.Audiences) < 1 || len(l.Audiences) > maxAudiences || len(l.Scopes) > maxScopes {
		return fmt.Errorf("%w: it must have 1 to %d audiences and at most %d scopes", ErrBadLogin, maxAudiences, maxScopes)
	}
	for _, scope := range l.Scopes {
		if !slices.Contains(policy.Scopes, scope) || len(scope) > maxScopeBytes {
			return ErrScope
		}
	}
	for _, audience := range l.Audiences {
		if !slices.Contains(policy.Audiences, audience) || len(audience) > maxTextBytes {
			return ErrAudience
		}
	}
	if l.Source != SourceWorkload && l.Source != SourcePassword && l.Source != SourceUpstream {
		return fmt.Errorf("%w: nothing says how the subject was authenticated", ErrBadLogin)
	}
	return validateClaims(l.Claims)
}

func validateClaims(claims string) error {
	if claims == "" {
		return nil
	}
	var object map[string]json.RawMessage
	if len(claims) > maxClaimsBytes || !utf8.ValidString(claims) ||
		json.Unmarshal([]byte(claims), &object) != nil || object == nil {
		return fmt.Errorf("%w: its claims must be a JSON object of at most %d bytes", ErrBadLogin, maxClaimsBytes)
	}
	return nil
}

// printable reports whether every store and every log can hold the text as it is.
func printable(text string) bool {
	return utf8.ValidString(text) && strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) < 0
}

func sorted(texts []string) []string {
	copied := slices.Clone(texts)
	slices.Sort(copied)
	return slices.Compact(copied)
}
