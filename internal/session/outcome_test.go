package session

import (
	"testing"
	"time"
)

// TestClassify is the table of outcomes. The session has been refreshed five times, the last time one hour after the login.
func TestClassify(t *testing.T) {
	rotated := noon.Add(time.Hour)
	window := DefaultGraceWindow + DefaultClockError
	for name, test := range map[string]struct {
		// generation is that of the token; the record's is 5.
		generation uint64
		// after is the time since the last refresh.
		after time.Duration
		// edit changes the world before the token is presented.
		edit func(*Session, *Policy, *Presented)
		want Reason
		// wrote is the generation that is written; 0 stands for the end of the session. -1: nothing is written.
		wrote int64
	}{
		"current":                           {5, time.Minute, nil, Rotated, 6},
		"current, at once":                  {5, 0, nil, Rotated, 6},
		"current, by a clock behind":        {5, -time.Hour, nil, Rotated, 6},
		"current, just before idle":         {5, DefaultIdleLifetime - time.Microsecond, nil, Rotated, 6},
		"previous, at once":                 {4, 0, nil, Repeated, -1},
		"previous, in the window":           {4, DefaultGraceWindow, nil, Repeated, -1},
		"previous, at the last moment":      {4, window, nil, Repeated, -1},
		"previous, one moment later":        {4, window + time.Microsecond, nil, Reused, 0},
		"previous, by a clock behind":       {4, -DefaultClockError, nil, Repeated, -1},
		"previous, by a clock too far":      {4, -DefaultClockError - time.Microsecond, nil, Reused, 0},
		"previous, long after":              {4, time.Hour, nil, Reused, 0},
		"previous, without a window":        {4, 0, policy(func(p *Policy) { p.GraceWindow = 0 }), Reused, 0},
		"previous, exact clocks":            {4, DefaultGraceWindow + time.Microsecond, policy(func(p *Policy) { p.ClockError = 0 }), Reused, 0},
		"older, in the window":              {3, 0, nil, Reused, 0},
		"the first, in the window":          {0, 0, nil, Reused, 0},
		"newer":                             {6, time.Minute, nil, MovedForward, 7},
		"much newer":                        {MaxGeneration, time.Minute, nil, MovedForward, MaxGeneration + 1},
		"newer, and the policy forbids":     {6, time.Minute, policy(func(p *Policy) { p.EndAfterRollback = true }), RolledBack, 0},
		"current, and the policy forbids":   {5, time.Minute, policy(func(p *Policy) { p.EndAfterRollback = true }), Rotated, 6},
		"idle":                              {5, DefaultIdleLifetime, nil, IdleExpired, -1},
		"idle, previous":                    {4, DefaultIdleLifetime, nil, IdleExpired, -1},
		"idle, older":                       {1, DefaultIdleLifetime, nil, IdleExpired, -1},
		"idle by today's policy":            {5, time.Hour, policy(func(p *Policy) { p.IdleLifetime = time.Hour }), IdleExpired, -1},
		"not idle by today's longer policy": {5, DefaultIdleLifetime, policy(func(p *Policy) { p.IdleLifetime = 10 * day }), IdleExpired, -1},
		"too old":                           {5, 14*day - time.Hour, refreshedLately, Expired, -1},
		"just not too old":                  {5, 14*day - time.Hour - time.Microsecond, refreshedLately, Rotated, 6},
		"too old by today's policy":         {5, day, policy(func(p *Policy) { p.AbsoluteLifetime = day }), Expired, -1},
		"no older by today's longer policy": {5, 14*day - time.Hour, func(s *Session, p *Policy, at *Presented) {
			refreshedLately(s, p, at)
			p.AbsoluteLifetime = 30 * day
		}, Expired, -1},
		"ended":              {5, time.Minute, ended, Ended, -1},
		"ended, previous":    {4, 0, ended, Ended, -1},
		"ended, older":       {1, time.Minute, ended, Ended, -1},
		"ended, newer":       {9, time.Minute, ended, Ended, -1},
		"ended and too old":  {5, 15 * day, ended, Ended, -1},
		"an edited fact":     {5, time.Minute, func(s *Session, _ *Policy, _ *Presented) { s.Subject = "root" }, MACInvalid, -1},
		"edited, and reused": {1, time.Minute, func(s *Session, _ *Policy, _ *Presented) { s.Subject = "root" }, MACInvalid, -1},
		"edited, and ended": {5, time.Minute, func(s *Session, p *Policy, at *Presented) {
			ended(s, p, at)
			s.Subject = "root"
		}, MACInvalid, -1},
		"another issuer's URL": {5, time.Minute, func(_ *Session, _ *Policy, at *Presented) { at.issuerURL += "/2" }, MACInvalid, -1},
		"another session":      {5, time.Minute, func(_ *Session, _ *Policy, at *Presented) { at.SessionID[0]++ }, MACInvalid, -1},
		"another generation":   {5, time.Minute, func(_ *Session, _ *Policy, at *Presented) { at.Generation++ }, MACInvalid, -1},
		"never read":           {5, time.Minute, func(_ *Session, _ *Policy, at *Presented) { at.key = nil }, MACInvalid, -1},
		"its client":           {5, time.Minute, client("web"), Rotated, 6},
		"another client":       {5, time.Minute, client("other"), ClientMismatch, -1},
		"another client's old": {1, time.Minute, client("other"), ClientMismatch, -1},
		"one audience left":    {5, time.Minute, policy(func(p *Policy) { p.Audiences = []string{"x", "mail-api"} }), Rotated, 6},
		"no audience left":     {5, time.Minute, policy(func(p *Policy) { p.Audiences = []string{"x"} }), Withdrawn, -1},
		"no scope left":        {5, time.Minute, policy(func(p *Policy) { p.Scopes = nil }), Rotated, 6},
	} {
		t.Run(name, func(t *testing.T) {
			stored, policy := storedAt(5, rotated), goodPolicy()
			at := presented(t, stored, test.generation)
			if test.edit != nil {
				test.edit(stored, &policy, &at)
			}
			now := rotated.Add(test.after)
			before := *stored
			outcome := Classify(at, stored, now, policy)
			if outcome.Reason != test.want || outcome.Write != (test.wrote >= 0) {
				t.Fatalf("Classify() = %s and writes: %v; want %s and %v", outcome.Reason, outcome.Write, test.want, test.wrote >= 0)
			}
			if stored.State != before.State {
				t.Error("Classify() changed the record")
			}
			switch {
			case test.wrote < 0:
				if outcome.State != stored.State {
					t.Errorf("nothing is to be written, and the state is %+v, want %+v", outcome.State, stored.State)
				}
			case test.wrote == 0:
				expectEnded(t, outcome, stored, now)
			default:
				expectRotated(t, outcome, uint64(test.wrote), now)
			}
		})
	}
	if outcome := Classify(presented(t, storedAt(5, noon), 5), nil, noon, goodPolicy()); outcome != (Outcome{Reason: NotFound}) {
		t.Errorf("Classify() without a record = %+v", outcome)
	}
}

func expectEnded(t *testing.T, outcome Outcome, stored *Session, now time.Time) {
	t.Helper()
	want := stored.State
	want.EndedAt, want.EndReason = now, EndReuse
	if outcome.Reason == RolledBack {
		want.EndReason = EndRollback
	}
	if outcome.State != want || !outcome.Ends() {
		t.Errorf("the state is %+v, want %+v", outcome.State, want)
	}
}

func expectRotated(t *testing.T, outcome Outcome, generation uint64, now time.Time) {
	t.Helper()
	idle := now.Add(DefaultIdleLifetime)
	if limit := noon.Add(14 * day); limit.Before(idle) {
		idle = limit
	}
	want := State{Generation: generation, RotatedAt: now, IdleUntil: idle}
	if outcome.State != want || outcome.Ends() {
		t.Errorf("the state is %+v, want %+v", outcome.State, want)
	}
}

func policy(edit func(*Policy)) func(*Session, *Policy, *Presented) {
	return func(_ *Session, p *Policy, _ *Presented) { edit(p) }
}

func client(id string) func(*Session, *Policy, *Presented) {
	return func(_ *Session, _ *Policy, at *Presented) { at.ClientID = id }
}

func ended(s *Session, _ *Policy, _ *Presented) { s.State = s.Ended(noon, EndLogout) }

// refreshedLately lets the session be as old as can be without being idle.
func refreshedLately(s *Session, p *Policy, _ *Presented) {
	p.IdleLifetime = DefaultAbsoluteLifetime
	s.IdleUntil = noon.Add(15 * day)
}

// TestClassifyEveryCombination compares all small cases with the table as one would say it in a sentence.
func TestClassifyEveryCombination(t *testing.T) {
	window := DefaultGraceWindow + DefaultClockError
	count := 0
	for current := range uint64(4) {
		for generation := range uint64(5) {
			for _, after := range []time.Duration{-time.Hour, -DefaultClockError, 0, time.Second, window, window + time.Second, time.Hour, 4 * day} {
				for _, forbidden := range []bool{false, true} {
					for _, over := range []bool{false, true} {
						stored, policy := storedAt(current, noon), goodPolicy()
						policy.EndAfterRollback = forbidden
						if over {
							stored.State = stored.Ended(noon, EndLogout)
						}
						var want Reason
						switch {
						case over:
							want = Ended
						case after >= DefaultIdleLifetime:
							want = IdleExpired
						case generation == current:
							want = Rotated
						case generation > current && forbidden:
							want = RolledBack
						case generation > current:
							want = MovedForward
						case generation+1 == current && after >= -DefaultClockError && after <= window:
							want = Repeated
						default:
							want = Reused
						}
						got := Classify(presented(t, stored, generation), stored, noon.Add(after), policy).Reason
						if got != want {
							t.Errorf("generation %d at %d, %s after, ended %v, forbidden %v: %s, want %s", generation, current, after, over, forbidden, got, want)
						}
						count++
					}
				}
			}
		}
	}
	if count != 4*5*8*2*2 {
		t.Errorf("%d combinations were tried", count)
	}
}
