package session

import (
	"errors"
	"slices"
	"testing"
	"time"
)

func TestPolicyBounds(t *testing.T) {
	for name, test := range map[string]struct {
		edit func(*Policy)
		good bool
	}{
		"the defaults":                 {func(*Policy) {}, true},
		"an access lifetime too short": {func(p *Policy) { p.AccessLifetime = MinAccessLifetime - 1 }, false},
		"the shortest of all": {func(p *Policy) {
			p.AccessLifetime, p.IdleLifetime, p.AbsoluteLifetime = MinAccessLifetime, MinIdleLifetime, MinIdleLifetime
		}, true},
		"the longest of all": {func(p *Policy) {
			p.AccessLifetime, p.IdleLifetime, p.AbsoluteLifetime = MaxAccessLifetime, MaxAbsoluteLifetime, MaxAbsoluteLifetime
			p.GraceWindow, p.ClockError, p.MaxPerSubject = MaxGraceWindow, MaxClockError, LargestMaxPerSubject
		}, true},
		"an access lifetime too long":    {func(p *Policy) { p.AccessLifetime = MaxAccessLifetime + 1 }, false},
		"idle as long as access":         {func(p *Policy) { p.IdleLifetime = p.AccessLifetime }, true},
		"idle shorter than access":       {func(p *Policy) { p.IdleLifetime = p.AccessLifetime - 1 }, false},
		"idle too short":                 {func(p *Policy) { p.AccessLifetime, p.IdleLifetime = MinAccessLifetime, MinIdleLifetime-1 }, false},
		"idle longer than absolute":      {func(p *Policy) { p.IdleLifetime = p.AbsoluteLifetime + 1 }, false},
		"an absolute lifetime too long":  {func(p *Policy) { p.AbsoluteLifetime = MaxAbsoluteLifetime + 1 }, false},
		"no window":                      {func(p *Policy) { p.GraceWindow = 0 }, true},
		"a negative window":              {func(p *Policy) { p.GraceWindow = -1 }, false},
		"a window too long":              {func(p *Policy) { p.GraceWindow = MaxGraceWindow + 1 }, false},
		"a negative clock error":         {func(p *Policy) { p.ClockError = -1 }, false},
		"a clock error too large":        {func(p *Policy) { p.ClockError = MaxClockError + 1 }, false},
		"no session for a subject":       {func(p *Policy) { p.MaxPerSubject = 0 }, false},
		"too many sessions of a subject": {func(p *Policy) { p.MaxPerSubject = LargestMaxPerSubject + 1 }, false},
	} {
		policy := DefaultPolicy()
		test.edit(&policy)
		if err := policy.Validate(); (err == nil) != test.good || err != nil && !errors.Is(err, ErrBadPolicy) {
			t.Errorf("%s: Validate() = %v, want it good: %v", name, err, test.good)
		}
	}
}

func TestAccessExpiry(t *testing.T) {
	s, policy := storedAt(0, noon), DefaultPolicy()
	for name, test := range map[string]struct {
		at, want time.Duration
		absolute time.Duration
	}{
		"in the middle":     {day, day + 10*time.Minute, 14 * day},
		"near the end":      {14*day - time.Minute, 14 * day, 14 * day},
		"by today's policy": {day - time.Minute, day, day},
	} {
		policy.AbsoluteLifetime = test.absolute
		if got := policy.AccessExpiry(s, noon.Add(test.at)).Sub(noon); got != test.want {
			t.Errorf("%s: AccessExpiry() is after %s, want %s", name, got, test.want)
		}
	}
}

// TestRefreshExpiry is the earliest of four: what the record says, and what the policy of today would say.
func TestRefreshExpiry(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Policy, *Session)
		want   time.Time
	}{
		"idle":                  {func(*Policy, *Session) {}, noon.Add(3*day + time.Hour)},
		"absolute":              {func(_ *Policy, s *Session) { s.ExpiresAt = noon.Add(2 * day) }, noon.Add(2 * day)},
		"idle by policy":        {func(p *Policy, _ *Session) { p.IdleLifetime = day }, noon.Add(day + time.Hour)},
		"absolute by policy":    {func(p *Policy, _ *Session) { p.AbsoluteLifetime = 2 * day }, noon.Add(2 * day)},
		"longer idle by policy": {func(p *Policy, _ *Session) { p.IdleLifetime = 5 * day }, noon.Add(3*day + time.Hour)},
	} {
		t.Run(name, func(t *testing.T) {
			policy, s := goodPolicy(), storedAt(1, noon.Add(time.Hour))
			test.change(&policy, s)
			if got := policy.RefreshExpiry(s); !got.Equal(test.want) {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

func TestRetention(t *testing.T) {
	policy := DefaultPolicy()
	if got, want := policy.Retention(30*time.Second), 10*time.Minute+4*time.Second+30*time.Second; got != want {
		t.Errorf("Retention() = %s, want %s", got, want)
	}
}

func TestGrants(t *testing.T) {
	s, policy := storedAt(0, noon), goodPolicy()
	policy.Audiences, policy.Scopes = []string{"shop-api", "vault"}, []string{"admin"}
	audiences, scopes := policy.Grants(s)
	if !slices.Equal(audiences, []string{"shop-api"}) || len(scopes) != 0 {
		t.Errorf("Grants() = %v, %v", audiences, scopes)
	}
}

func TestLiveAndDeadSince(t *testing.T) {
	for name, test := range map[string]struct {
		edit func(*Session)
		// dead is when, after noon.
		dead time.Duration
	}{
		"idle first":       {func(*Session) {}, DefaultIdleLifetime},
		"too old first":    {func(s *Session) { s.IdleUntil = noon.Add(20 * day) }, 14 * day},
		"ended first":      {func(s *Session) { s.State = s.Ended(noon.Add(time.Hour), EndLogout) }, time.Hour},
		"ended after idle": {func(s *Session) { s.State = s.Ended(noon.Add(5*day), EndLogout) }, DefaultIdleLifetime},
	} {
		s := storedAt(0, noon)
		test.edit(s)
		if got := s.DeadSince().Sub(noon); got != test.dead {
			t.Errorf("%s: DeadSince() is after %s, want %s", name, got, test.dead)
		}
		if s.Live(noon.Add(test.dead)) || s.EndedAt.IsZero() != s.Live(noon.Add(test.dead-1)) {
			t.Errorf("%s: Live() is %v just before and %v then", name, s.Live(noon.Add(test.dead-1)), s.Live(noon.Add(test.dead)))
		}
	}
}

func TestID(t *testing.T) {
	expiry := time.Date(2040, 2, 29, 23, 59, 59, 0, time.UTC)
	id, other := NewID(expiry), NewID(expiry)
	if id == other {
		t.Error("two ids are the same")
	}
	if salt := NewSalt(); salt == NewSalt() {
		t.Error("two salts are the same")
	}
	if want := time.Date(2040, 2, 29, 0, 0, 0, 0, time.UTC); !id.ExpiryDay().Equal(want) {
		t.Errorf("ExpiryDay() = %s, want %s", id.ExpiryDay(), want)
	}
	if parsed, err := ParseID(id.String()); err != nil || parsed != id {
		t.Errorf("ParseID(%s) = %s, %v", id, parsed, err)
	}
	const good = "00112233445566778899aabbccddeeff"
	if _, err := ParseID(good); err != nil {
		t.Errorf("ParseID(%q): %v", good, err)
	}
	for _, bad := range []string{"", good[1:], good + "0", "00112233445566778899AABBCCDDEEFF", "0x112233445566778899aabbccddeeff", good[:31] + "g", good[:31] + "\n"} {
		if got, err := ParseID(bad); !errors.Is(err, ErrBadID) {
			t.Errorf("ParseID(%q) = %s, %v; want %q", bad, got, err, ErrBadID)
		}
	}
}
