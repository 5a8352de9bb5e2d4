package session

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Policy is what the issuer's owner wants of sessions.
type Policy struct {
	// AccessLifetime is that of an access token. Requests cannot be refused before it ends except by asking the webhook.
	AccessLifetime time.Duration
	// IdleLifetime is how long a session lives without a refresh.
	IdleLifetime time.Duration
	// AbsoluteLifetime is how long a session lives at most. Lowering it shortens the sessions that there are; raising it
	// does not lengthen them.
	AbsoluteLifetime time.Duration
	// GraceWindow is for how long after a refresh the same token is answered again with the same successor. It is counted
	// from the one write and never extended. 0: a lost answer costs a login.
	GraceWindow time.Duration
	// ClockError is how far the clocks of two replicas may differ. The window is closed only when it is over by every
	// clock, so that a retry at another replica is not taken for theft. Default of the API: DefaultClockError.
	ClockError time.Duration
	// EndAfterRollback ends a session whose client has a newer token than the store knows of, instead of moving forward.
	EndAfterRollback bool
	// MaxPerSubject is how many live sessions a subject may have; opening one more ends the oldest.
	MaxPerSubject int
	// Audiences and Scopes are what a session may be opened with, and what its access tokens may hold still.
	Audiences, Scopes []string
}

// Defaults, which a review for security should find nothing to object to:
//
// An access token of 10 minutes is at the short end of what is taught (10 to 30), because whoever does not ask the
// webhook sees a revocation only when it expires. Three idle days cover a weekend, so that people who work with an
// application daily need not log in each Monday, and a forgotten browser is out before the next. Two weeks in all are half
// of the 30 days that NIST SP 800-63B allows at its lowest level (section 4.1.3): a thief who is never noticed has that
// long at most. Ten seconds are what a client needs to repeat a request whose answer was lost.
const (
	DefaultAccessLifetime   = 10 * time.Minute
	DefaultIdleLifetime     = 3 * day
	DefaultAbsoluteLifetime = 14 * day
	DefaultGraceWindow      = 10 * time.Second
	DefaultClockError       = 2 * time.Second
	DefaultMaxPerSubject    = 10
)

// Bounds of a policy, both ends allowed.
const (
	MinAccessLifetime    = 10 * time.Second
	MaxAccessLifetime    = 24 * time.Hour
	MinIdleLifetime      = 20 * time.Second
	MaxAbsoluteLifetime  = 365 * day
	MaxGraceWindow       = time.Minute
	MaxClockError        = 10 * time.Second
	LargestMaxPerSubject = 100
)

// ErrBadPolicy says that a policy is out of bounds.
var ErrBadPolicy = errors.New("the policy for sessions is out of bounds")

// DefaultPolicy returns the defaults, with nothing allowed yet.
func DefaultPolicy() Policy {
	return Policy{
		AccessLifetime: DefaultAccessLifetime, IdleLifetime: DefaultIdleLifetime,
		AbsoluteLifetime: DefaultAbsoluteLifetime, GraceWindow: DefaultGraceWindow,
		ClockError: DefaultClockError, MaxPerSubject: DefaultMaxPerSubject,
	}
}

// Validate checks the bounds, which the schema of the API states too.
func (p *Policy) Validate() error {
	for _, bound := range []struct {
		name            string
		value, min, max time.Duration
	}{
		{"the access lifetime", p.AccessLifetime, MinAccessLifetime, MaxAccessLifetime},
		// An idle lifetime below that of an access token would end sessions that are in use.
		{"the idle lifetime", p.IdleLifetime, max(MinIdleLifetime, p.AccessLifetime), p.AbsoluteLifetime},
		{"the absolute lifetime", p.AbsoluteLifetime, MinIdleLifetime, MaxAbsoluteLifetime},
		{"the grace window", p.GraceWindow, 0, MaxGraceWindow},
		{"the clock error", p.ClockError, 0, MaxClockError},
	} {
		if bound.value < bound.min || bound.value > bound.max {
			return fmt.Errorf("%w: %s is %s and must be from %s to %s", ErrBadPolicy, bound.name, bound.value, bound.min, bound.max)
		}
	}
	if p.MaxPerSubject < 1 || p.MaxPerSubject > LargestMaxPerSubject {
		return fmt.Errorf("%w: %d sessions per subject are allowed and it must be 1 to %d", ErrBadPolicy, p.MaxPerSubject, LargestMaxPerSubject)
	}
	return nil
}

// AccessExpiry returns the claim "exp" of an access token that is issued at this moment: never after the session's end.
func (p *Policy) AccessExpiry(s *Session, now time.Time) time.Time {
	absolute, _ := p.expiry(s)
	return earlier(now.Add(p.AccessLifetime), absolute)
}

// RefreshExpiry is when the session ends unless it is refreshed before: until then its refresh token is good.
func (p *Policy) RefreshExpiry(s *Session) time.Time {
	absolute, idle := p.expiry(s)
	return earlier(absolute, idle)
}

// Retention is how long the record of a dead session is needed: until the last access token of it has expired by every
// clock, because verifiers must still hear that it was ended. skew is the leeway of verifiers.
func (p *Policy) Retention(skew time.Duration) time.Duration {
	return p.AccessLifetime + 2*p.ClockError + skew
}

// Grants returns those audiences and scopes of a session that the policy still allows.
func (p *Policy) Grants(s *Session) (audiences, scopes []string) {
	return intersection(s.Audiences, p.Audiences), intersection(s.Scopes, p.Scopes)
}

// expiry returns when the session ends at the latest, and when it ends unless it is refreshed: by its record or by the
// policy of today, whichever is earlier.
func (p *Policy) expiry(s *Session) (absolute, idle time.Time) {
	return earlier(s.ExpiresAt, s.CreatedAt.Add(p.AbsoluteLifetime)),
		earlier(s.IdleUntil, s.RotatedAt.Add(p.IdleLifetime))
}

// inGrace reports whether a replica with this clock must still repeat what was answered at the last refresh. A refresh
// that is further in the future than clocks may differ has no window: a clock that cannot be trusted must not hold it
// open.
func (p *Policy) inGrace(rotatedAt, now time.Time) bool {
	since := now.Sub(rotatedAt)
	return p.GraceWindow > 0 && since >= -p.ClockError && since <= p.GraceWindow+p.ClockError
}

// intersection keeps the order of wanted.
func intersection(wanted, allowed []string) []string {
	var both []string
	for _, text := range wanted {
		if slices.Contains(allowed, text) {
			both = append(both, text)
		}
	}
	return both
}
