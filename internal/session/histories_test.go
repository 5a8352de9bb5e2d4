package session_test

import (
	"context"
	"flag"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/keyturn/keyturn/internal/session"
)

// TestHistories plays random histories of one session and judges every answer by what is true.
func TestHistories(t *testing.T) {
	checks := "10000"
	if testing.Short() {
		checks = "5000" // of which rapid plays every fifth
	}
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		if err := flag.Set("rapid.checks", checks); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = flag.Set("rapid.checks", f.DefValue) })
	}
	keys, seen := newKeys(t, noon), &tally{}
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, keys, seen)
		for range rapid.IntRange(5, 40).Draw(t, "steps") {
			w.step()
		}
		w.settle()
		seen.histories++
	})
	t.Logf("%+v", *seen)
	if seen.grants < 3*seen.histories || seen.repeats*2 < seen.histories || seen.retries*2 < seen.histories || seen.lost*4 < seen.histories ||
		seen.reuses*8 < seen.histories || seen.raced*8 < seen.histories || seen.forgotten*8 < seen.histories ||
		seen.forward*100 < seen.histories || seen.caught*8 < seen.histories {
		t.Errorf("the histories were too tame to prove anything: %+v", *seen)
	}
}

// step lets one thing happen.
func (w *world) step() {
	switch rapid.IntRange(0, 15).Draw(w.t, "event") {
	case 0, 1, 2, 3, 4, 5, 6:
		w.ownerRefreshes()
	case 7:
		w.pass(time.Duration(rapid.IntRange(1, 1500).Draw(w.t, "ms")) * time.Millisecond)
	case 8:
		w.pass(time.Duration(rapid.IntRange(1, 30).Draw(w.t, "s")) * time.Second)
	case 9:
		w.passToDeadline()
	case 10:
		half := w.issuer.Policy.ClockError / 2
		w.clocks[rapid.IntRange(0, 1).Draw(w.t, "replica")] = rapid.SampledFrom([]time.Duration{0, half, -half}).Draw(w.t, "clock")
	case 11:
		w.steal()
	case 12:
		w.thiefRefreshes()
	case 13, 14:
		w.snapshots = append(w.snapshots, w.memory.Snapshot())
	default:
		w.rareEvent()
	}
}

func (w *world) rareEvent() {
	switch rapid.IntRange(0, 7).Draw(w.t, "rare event") {
	case 0:
		_, _ = w.managers[0].EndSession(context.Background(), w.issuer, w.id, session.EndLogout)
	case 1:
		w.removed = true
	case 2, 3, 4:
		w.forget()
	default:
		w.ownerRefreshes()
	}
}

// forget sets the store back to an earlier state.
func (w *world) forget() {
	if len(w.snapshots) == 0 {
		return
	}
	w.snapshots[rapid.IntRange(0, len(w.snapshots)-1).Draw(w.t, "snapshot")]()
	w.seen.forgotten++
	w.forgot = true
	s := w.stored()
	w.generation, w.idle, w.ended = s.Generation, s.IdleUntil, !s.EndedAt.IsZero()
	w.ownerRefreshes()
}

func (w *world) stored() *session.Session {
	s, err := w.memory.Get(context.Background(), w.issuer.Reference, w.id)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) pass(d time.Duration) { w.now = w.now.Add(d) }

// passToDeadline goes to where mistakes show: around the end of the grace window, and rarely of the session.
func (w *world) passToDeadline() {
	policy := &w.issuer.Policy
	if rapid.IntRange(0, 9).Draw(w.t, "the end of the session") == 0 {
		at := earliest(w.expires, w.idle).Add(rapid.SampledFrom([]time.Duration{
			-policy.ClockError - time.Millisecond, policy.ClockError,
		}).Draw(w.t, "beside the session's end"))
		if at.After(w.now) {
			w.now = at
		}
		return
	}
	left, ok := w.left[w.generation-1]
	if !ok {
		return
	}
	at := left.Add(policy.GraceWindow + rapid.SampledFrom([]time.Duration{
		-time.Millisecond, 0, time.Millisecond, 2 * policy.ClockError, 2*policy.ClockError + time.Millisecond,
	}).Draw(w.t, "beside the window's end"))
	if at.After(w.now) {
		w.now = at
	}
}

// steal copies the newest token of the owner.
func (w *world) steal() { w.stolen = append(w.stolen, w.owner.token) }

// ownerRefreshes lets the owner present his newest token: for the first time, again, or beside another request for it.
func (w *world) ownerRefreshes() {
	o := &w.owner
	if o.out {
		return
	}
	token := o.token
	if o.tries++; o.tries > 1 {
		w.seen.retries++
	} else {
		o.triedAt = w.now
	}
	triedAt, forgot, thieved, removed := o.triedAt, w.forgot, w.thieved, w.removed
	o.waiting++
	result, err := w.present(token)
	o.waiting--
	switch {
	case err != nil || !w.calm && rapid.IntRange(0, 3).Draw(w.t, "the answer is lost") == 0:
	case result.Reason.Granted():
		o.newer = result.RefreshToken.Reveal()
	default:
		o.out = true
		// What may have begun while the request was under way excuses its refusal.
		late := w.now.Sub(triedAt) > w.issuer.Policy.GraceWindow || o.tries > 1 && w.issuer.Policy.GraceWindow == 0
		w.judgeOwner(result, late, forgot || w.forgot, thieved || w.thieved, removed || w.removed)
	}
	if o.waiting == 0 && o.newer != "" {
		o.token, o.newer, o.tries = o.newer, "", 0
	}
}

// judgeOwner asks whether the owner was told to log in again for no good reason.
func (w *world) judgeOwner(result session.Result, late, forgot, thieved, removed bool) {
	switch result.Reason {
	case session.Expired, session.IdleExpired:
		if w.now.Before(earliest(w.expires, w.idle).Add(-w.issuer.Policy.ClockError)) && !forgot {
			w.t.Fatalf("at %s the owner is told %s, and the session lasts until %s", w.at(), result.Reason, w.idle.Sub(noon))
		}
	case session.Reused:
		if !late && !thieved {
			w.t.Fatalf("at %s the owner, who repeats in time, is taken for a thief", w.at())
		}
	case session.RolledBack:
		if !forgot || !w.issuer.Policy.EndAfterRollback {
			w.t.Fatalf("at %s the owner is told that the store has forgotten, and it has not", w.at())
		}
	case session.Rechecked:
		if !removed {
			w.t.Fatalf("at %s the owner's login is not good any more, and it is", w.at())
		}
	case session.Ended:
		if !w.ended && !forgot {
			w.t.Fatalf("at %s the owner is told that the session was ended, and it was not", w.at())
		}
	default:
		w.t.Fatalf("at %s the owner is told %s", w.at(), result.Reason)
	}
}

// thiefRefreshes lets the thief present any token that he ever had.
func (w *world) thiefRefreshes() {
	known := w.stolen
	if w.thief.token != "" {
		known = append(known[:len(known):len(known)], w.thief.token, w.thief.token)
	}
	if len(known) == 0 {
		return
	}
	w.thieved = true
	result, err := w.present(known[rapid.IntRange(0, len(known)-1).Draw(w.t, "stolen token")])
	if err == nil && result.Reason.Granted() {
		w.thief.token = result.RefreshToken.Reveal()
	}
}

// present sends a token to one of the replicas and judges the answer.
func (w *world) present(token string) (session.Result, error) {
	generation := w.generations[token]
	mustRefuse, mustEnd := w.mustRefuse(generation)
	writes := w.writes
	depth := w.depth
	manager := w.managers[rapid.IntRange(0, 1).Draw(w.t, "replica")]
	result, err := manager.Refresh(context.Background(), w.issuer, session.Request{Token: token})
	if err != nil {
		if result.RefreshToken.Reveal() != "" {
			w.t.Fatalf("at %s a token is handed out beside the error %v", w.at(), err)
		}
		return result, err
	}
	if !result.Reason.Granted() {
		if result.RefreshToken.Reveal() != "" {
			w.t.Fatalf("at %s a token is handed out beside the refusal %s", w.at(), result.Reason)
		}
		if result.Reason == session.Reused {
			w.seen.reuses++
		}
		if mustEnd && !w.forgot && !w.ended && w.now.Before(earliest(w.expires, w.idle).Add(-w.issuer.Policy.ClockError)) {
			w.t.Fatalf("at %s a used token came back (%s), and the session goes on", w.at(), result.Reason)
		}
		return result, nil
	}
	w.seen.grants++
	if mustRefuse != "" && !w.forgot {
		w.t.Fatalf("at %s generation %d is %s although %s", w.at(), generation, result.Reason, mustRefuse)
	}
	w.note(generation+1, result.RefreshToken.Reveal())
	switch result.Reason {
	case session.Repeated:
		w.seen.repeats++
		if depth == 0 && w.calm && w.writes != writes {
			w.t.Fatalf("at %s repeating an answer has written", w.at())
		}
	case session.MovedForward:
		w.seen.forward++
		if !w.forgot {
			w.t.Fatalf("at %s the session moves forward, and the store has forgotten nothing", w.at())
		}
	}
	return result, nil
}

// mustRefuse says, by what is true before a request, why it can only be refused, and whether the session must have ended
// after it. What holds of a store that never forgets holds on while the request is under way.
func (w *world) mustRefuse(generation uint64) (why string, end bool) {
	policy := &w.issuer.Policy
	switch {
	case w.ended:
		return "the session was ended", false
	case w.removed:
		return "the login is not good any more", false
	case !w.now.Before(w.expires.Add(policy.ClockError)):
		return "the session is too old", false
	case !w.now.Before(w.idle.Add(policy.ClockError)):
		return "the session was idle for too long", false
	case generation+1 < w.generation:
		return "the token is older than the previous one", true
	case generation < w.generation && w.now.After(w.left[generation].Add(policy.GraceWindow+2*policy.ClockError)):
		return "the window is over", true
	}
	return "", false
}

// settle lets every fault end, and then asks whether theft is noticed.
func (w *world) settle() {
	w.calm = true
	if got := w.memory.Len(); got != 1 {
		w.t.Fatalf("the store has %d records of one session", got)
	}
	if !w.forgot && uint64(w.writes) > w.generation+1 {
		w.t.Fatalf("%d writes for %d refreshes and at most one end", w.writes, w.generation)
	}
	w.settleSuccessors()
	if w.forgot || w.ended || w.removed || w.owner.out || w.owner.token != w.tokens[w.generation] {
		return
	}
	// The owner holds the current token, and so does the thief.
	w.steal()
	first, second := &w.owner, &w.thief
	first.token, second.token = w.owner.token, w.owner.token
	if rapid.Bool().Draw(w.t, "the thief is first") {
		first, second = second, first
	}
	got, err := w.present(first.token)
	if err != nil || !got.Reason.Granted() {
		return // It has expired meanwhile.
	}
	first.token = got.RefreshToken.Reveal()
	w.pass(w.issuer.Policy.GraceWindow + 2*w.issuer.Policy.ClockError + time.Millisecond)
	refused, err := w.present(second.token)
	if err != nil || refused.Reason != session.Reused && refused.Reason != session.Expired {
		w.t.Fatalf("at %s the second of two parties is told %s, %v", w.at(), refused.Reason, err)
	}
	if again, err := w.present(first.token); err != nil || again.Reason.Granted() {
		w.t.Fatalf("at %s the first of two parties goes on: %s, %v", w.at(), again.Reason, err)
	}
	w.seen.caught++
}

// settleSuccessors asks which of all tokens that were ever handed out would be granted once every window is over: the
// current one at most.
func (w *world) settleSuccessors() {
	stored := w.stored()
	policy := w.issuer.Policy
	later := stored.RotatedAt.Add(policy.GraceWindow + policy.ClockError + time.Millisecond)
	for token, generation := range w.generations {
		presented, reason := w.issuer.Keys.Read(token, w.issuer.URL)
		if reason != session.Good {
			w.t.Fatalf("the token of generation %d is %s", generation, reason)
		}
		granted := session.Classify(presented, stored, later, policy).Reason.Granted()
		if granted && generation != stored.Generation && !w.forgot {
			w.t.Fatalf("the token of generation %d is live beside that of generation %d", generation, stored.Generation)
		}
	}
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
