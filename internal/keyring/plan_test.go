package keyring

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"pgregory.net/rapid"
)

// TestPlan follows one ring through its life, a row a moment. Each row plans for the ring that the row before left.
func TestPlan(t *testing.T) {
	policy := testPolicy() // period 1h, max-age 1m, skew 5s, lifetime 15m, propagation delay 2m
	ripe := policy.MaxAge + policy.ClockSkew
	gone := policy.PropagationDelay + policy.MaxLifetime + policy.ClockSkew
	var ring *Ring
	rows := []struct {
		name    string
		at      time.Duration // after the beginning
		change  func(*Policy) // what the owner of the issuer changes before
		seen    func(*Ring) Seen
		changes []ChangeKind // what the plan does to keys
		write   bool         // whether the ring is to be written
		states  []State      // of the keys afterwards
		wake    time.Duration
	}{
		{name: "the first keys; there is nothing to wait for", changes: []ChangeKind{Created, Activated, Created}, write: true,
			seen: nothing, states: []State{Active, Next}, wake: time.Hour},
		{name: "nothing was published yet", at: time.Second, seen: nothing, states: []State{Active, Next}, wake: time.Hour},
		{name: "both are published, and that is recorded", at: 2 * time.Second, seen: published, write: true,
			states: []State{Active, Next}, wake: time.Hour},
		{name: "at rest", at: 3 * time.Second, seen: published, states: []State{Active, Next}, wake: time.Hour},
		{name: "a rotation is asked for, and Next is not ripe", at: 10 * time.Second, seen: published,
			change: func(p *Policy) { p.RotateRequest = "now" }, states: []State{Active, Next}, wake: 2*time.Second + ripe},
		{name: "Next is ripe", at: 2*time.Second + ripe, seen: published, changes: []ChangeKind{Retired, Activated, Created},
			write: true, states: []State{Active, Next, Retiring}, wake: 2*time.Second + ripe + time.Hour},
		{name: "the mounted Secret still has the old key: it cannot be counted out", at: 70 * time.Second, seen: oldMounted, write: true,
			states: []State{Active, Next, Retiring}, wake: 2*time.Second + ripe + time.Hour},
		{name: "now it has the new one", at: 80 * time.Second, seen: published, write: true,
			states: []State{Active, Next, Retiring}, wake: 80*time.Second + gone},
		{name: "its last token may still be good", at: 80*time.Second + gone - 1, seen: published,
			states: []State{Active, Next, Retiring}, wake: 80*time.Second + gone},
		{name: "its last token has expired", at: 80*time.Second + gone, seen: published, changes: []ChangeKind{Removed}, write: true,
			states: []State{Active, Next}, wake: 2*time.Second + ripe + time.Hour},
		{name: "another algorithm: Next is exchanged", at: 20 * time.Minute, seen: published,
			change: func(p *Policy) { p.Algorithm = jose.EdDSA }, changes: []ChangeKind{Removed, Created}, write: true,
			states: []State{Active, Next}, wake: 2*time.Second + ripe + time.Hour}, // or earlier, when the new Next is seen published
		{name: "the period is over", at: 2 * time.Hour, seen: published, write: true,
			states: []State{Active, Next}, wake: 2*time.Hour + ripe},
		{name: "the new Next is ripe", at: 2*time.Hour + ripe, seen: published, changes: []ChangeKind{Retired, Activated, Created},
			write: true, states: []State{Active, Next, Retiring}, wake: 3*time.Hour + ripe},
	}
	for _, row := range rows {
		if row.change != nil {
			row.change(&policy)
		}
		decision := plan(t, epoch.Add(row.at), policy, ring, row.seen(ring))
		var kinds []ChangeKind
		for _, change := range decision.Changes {
			kinds = append(kinds, change.Kind)
		}
		if !slices.Equal(kinds, row.changes) || decision.Changed != row.write {
			t.Fatalf("%s: changes %v, write %v; want %v, %v", row.name, kinds, decision.Changed, row.changes, row.write)
		}
		if states := statesOf(decision.Ring); !slices.Equal(states, row.states) {
			t.Fatalf("%s: keys %v, want %v", row.name, states, row.states)
		}
		if wake := decision.Wake.Sub(epoch); wake != row.wake {
			t.Fatalf("%s: wake %s, want %s", row.name, wake, row.wake)
		}
		ring = decision.Ring
	}
}

func nothing(*Ring) Seen { return Seen{} }

// oldMounted is what is seen while the mounted Secret cannot be written.
func oldMounted(ring *Ring) Seen {
	seen := published(ring)
	seen.Mounted = "the one before"
	return seen
}

func statesOf(ring *Ring) []State {
	var states []State
	for i := range ring.Keys {
		states = append(states, ring.Keys[i].State)
	}
	return states
}

// TestWithdrawn retires keys where keys are not exported.
func TestWithdrawn(t *testing.T) {
	policy := testPolicy()
	policy.Export = false
	gone := policy.PropagationDelay + policy.MaxLifetime + policy.ClockSkew
	unmounted := func(ring *Ring) Seen {
		seen := published(ring)
		seen.Mounted, seen.MountedRevision = "", 0
		return seen
	}
	ring := plan(t, epoch, policy, nil, nothing(nil)).Ring
	ring = plan(t, epoch, policy, ring, unmounted(ring)).Ring
	ring = plan(t, epoch.Add(policy.Period), policy, ring, unmounted(ring)).Ring
	ring = plan(t, epoch.Add(policy.Period), policy, ring, unmounted(ring)).Ring
	ring = plan(t, epoch.Add(2*policy.Period), policy, ring, unmounted(ring)).Ring
	if len(ring.Keys) != 4 || !ring.MustConfirmMounted(false, "") || ring.MustConfirmMounted(true, "") {
		t.Fatalf("%d keys; want two that wait to be counted out, as long as keys are not exported", len(ring.Keys))
	}
	newer, older := ring.Keys[2].ID, ring.Keys[3].ID
	now := epoch.Add(2*policy.Period + time.Minute)
	want := func(what string, policy Policy, seen Seen, newerAt, olderAt time.Time) {
		t.Helper()
		planned := plan(t, now, policy, ring, seen).Ring
		if got := planned.Key(newer).RemoveAfter; !got.Equal(newerAt) {
			t.Errorf("%s: removeAfter of the newer key = %s, want %s", what, got, newerAt)
		}
		if got := planned.Key(older).RemoveAfter; !got.Equal(olderAt) {
			t.Errorf("%s: removeAfter of the older key = %s, want %s", what, got, olderAt)
		}
		ring = planned
	}
	never, seen := time.Time{}, unmounted(ring)
	want("a copy that may be late has no mounted Secret", policy, seen, never, never)
	exported := policy
	exported.Export = true
	seen.MountedConfirmed = true
	want("keys are exported, and the active one is not mounted yet", exported, seen, never, never)
	seen.Mounted = newer
	want("the Secret with the newer key is held", policy, seen, never, now.Add(gone))
	seen.Mounted = ""
	want("it is gone", policy, seen, now.Add(gone), now.Add(gone))
	seen.Mounted, seen.MountedConfirmed = newer, false
	want("a copy that may be late has the newer key", policy, seen, now.Add(gone), now.Add(gone))
	if !ring.MustConfirmMounted(true, newer) || ring.MustConfirmMounted(false, ring.Active().ID) {
		t.Error("only of a key that was counted out must it be confirmed that it is mounted")
	}
	seen.MountedConfirmed = true
	want("somebody has mounted it again", policy, seen, never, now.Add(gone))
}

func TestCompromise(t *testing.T) {
	for _, test := range []struct {
		name      string
		revoke    func(*Ring) []string
		exception string // of the active key afterwards
		same      bool   // whether the active key is the one before
	}{
		{"the active key, with a ripe Next", func(r *Ring) []string { return []string{r.Active().ID} }, "", false},
		{"the next key", func(r *Ring) []string { return []string{r.Next().ID} }, "", true},
		{"a retiring key", func(r *Ring) []string { return []string{r.Keys[2].ID} }, "", true},
		{"all of them", idsOf, ExceptionCompromise, false},
		{"a key that is not there", func(*Ring) []string { return []string{"nobody"} }, "", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			policy := testPolicy()
			before := ringOf(t, jose.ES256)
			before = plan(t, epoch.Add(policy.Period+time.Second), policy, before, published(before)).Ring
			now := epoch.Add(policy.Period + 10*time.Minute)
			policy.Revoked = test.revoke(before)
			after := plan(t, now, policy, before, published(before)).Ring
			for _, id := range policy.Revoked {
				if after.Key(id) != nil {
					t.Errorf("the revoked key %s is still there", id)
				}
			}
			active := after.Active()
			if same := active.ID == before.Active().ID; same != test.same {
				t.Errorf("the active key is the one before: %v, want %v", same, test.same)
			}
			if !test.same && active.Exception != test.exception {
				t.Errorf("exception %q, want %q", active.Exception, test.exception)
			}
			if again := plan(t, now, policy, after, published(after)); len(again.Changes) > 0 {
				t.Errorf("planning again changes keys: %v", again.Changes)
			}
		})
	}
}

func TestCompromiseWithoutRipeNextIsRecorded(t *testing.T) {
	policy := testPolicy()
	ring := plan(t, epoch, policy, nil, Seen{}).Ring
	if ring.Active().Exception != ExceptionFirstKey {
		t.Errorf("the first key has the exception %q", ring.Active().Exception)
	}
	policy.Revoked = []string{ring.Active().ID}
	ring = plan(t, epoch.Add(time.Second), policy, ring, published(ring)).Ring
	if ring.Active().Exception != ExceptionCompromise {
		t.Errorf("a key that took over unripe has the exception %q", ring.Active().Exception)
	}
}

func TestFullRingWaits(t *testing.T) {
	policy := testPolicy()
	ring := ringOf(t, jose.ES256)
	w := &world{}
	for len(ring.Keys) < MaxKeys {
		key, _ := w.generate(jose.ES256, 0)
		key.State = Retiring
		ring.Keys = append(ring.Keys, key)
	}
	decision := plan(t, epoch.Add(4*policy.Period), policy, ring, oldMounted(ring))
	decision = plan(t, epoch.Add(5*policy.Period), policy, decision.Ring, oldMounted(decision.Ring))
	if !decision.Full || len(decision.Ring.Keys) != MaxKeys {
		t.Errorf("Full=%v with %d keys", decision.Full, len(decision.Ring.Keys))
	}
	if _, overdue := decision.Ring.Overdue(epoch.Add(5*policy.Period), policy); !overdue {
		t.Error("the rotation that waits is not overdue")
	}
}

func TestGeneratorFails(t *testing.T) {
	broken := errors.New("no randomness")
	_, err := Plan(epoch, testPolicy(), nil, Seen{}, func(jose.SignatureAlgorithm, int) (Key, error) { return Key{}, broken })
	if !errors.Is(err, broken) {
		t.Errorf("Plan: %v", err)
	}
}

// TestClockJumps lets the clock of the operator go anywhere and checks what must hold even then: the ring stays whole,
// and once the clock is right again rotation goes on within a period.
func TestClockJumps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policy := testPolicy()
		w := &world{}
		var ring *Ring
		step := func(now time.Time) {
			seen := Seen{}
			if ring != nil {
				seen = published(ring)
			}
			decision, err := Plan(now, policy, ring, seen, w.generate)
			if err != nil {
				t.Fatal(err)
			}
			ring = decision.Ring
			if states := statesOf(ring); states[0] != Active || states[1] != Next || slices.Index(states[2:], Active) >= 0 {
				t.Fatalf("keys %v", states)
			}
		}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			jump := time.Duration(rapid.Int64Range(-int64(20*365*24*time.Hour), int64(20*365*24*time.Hour)).Draw(t, "jump"))
			step(epoch.Add(jump))
		}
		now := epoch
		step(now)
		before := ring.Active().ID
		for range 3 {
			now = now.Add(policy.Period + policy.ClockSkew + policy.MaxAge)
			step(now)
			step(now)
		}
		if ring.Active().ID == before {
			t.Fatalf("the clock is right again and rotation does not go on: active since %s, next published at %s, now %s",
				ring.Active().ActivatedAt, ring.Next().PublishedAt, now)
		}
		if len(ring.Keys) > 5 {
			t.Fatalf("retiring keys do not leave: %d keys", len(ring.Keys))
		}
	})
}

// TestShortenedMaxAge follows a lowered max-age: the longer one counts until a while after the JWKS was seen published
// with the new one, and however long that takes.
func TestShortenedMaxAge(t *testing.T) {
	policy := testPolicy()
	before := ringOf(t, jose.ES256)
	policy.MaxAge = 10 * time.Second
	lowered := plan(t, epoch.Add(90*time.Minute), policy, before, published(before)).Ring
	if lowered.MaxAge != 10*time.Second || lowered.LongestMaxAge() != time.Minute {
		t.Fatalf("max-age %s, longest %s", lowered.MaxAge, lowered.LongestMaxAge())
	}
	unseen := published(lowered)
	unseen.PublishedRevision = before.Revision
	waiting := plan(t, epoch.Add(100*time.Minute), policy, lowered, unseen).Ring
	if !waiting.FormerUntil.IsZero() {
		t.Fatal("the longer max-age ends although nobody has seen the shorter one published")
	}
	ripe, _ := waiting.RipeAt(epoch.Add(100*time.Minute), policy)
	if want := waiting.Next().PublishedAt.Add(time.Minute + policy.ClockSkew); !ripe.Equal(want) {
		t.Errorf("meanwhile Next is ripe at %s, want %s", ripe, want)
	}
	now := epoch.Add(110 * time.Minute)
	seen := plan(t, now, policy, waiting, published(waiting)).Ring
	if want := now.Add(time.Minute + policy.ClockSkew); !seen.FormerUntil.Equal(want) {
		t.Errorf("the longer max-age counts until %s, want %s", seen.FormerUntil, want)
	}
	if got := seen.maxAgeAt(seen.FormerUntil); got != 10*time.Second {
		t.Errorf("after that copies live for %s", got)
	}
}
