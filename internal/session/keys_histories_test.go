package session

import (
	"flag"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// manyChecks lets rapid play so many histories, a fifth of short in short mode, unless somebody asks for another number
// with -rapid.checks.
func manyChecks(t *testing.T, checks, short string) {
	t.Helper()
	if testing.Short() {
		checks = short
	}
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		if err := flag.Set("rapid.checks", checks); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = flag.Set("rapid.checks", f.DefValue) })
	}
}

const (
	keySkew   = 4 * time.Second
	keyWarmUp = 20 * time.Second
)

// keyReplica opens sessions with a copy of the document that may lag, by a clock that may be off.
type keyReplica struct {
	keys   *Keys
	seenAt time.Time
	clock  time.Duration
	policy KeyPolicy
}

// keyWorld is a document of keys, two replicas, and the sessions that they have opened.
type keyWorld struct {
	t        *rapid.T
	now      time.Time
	policy   KeyPolicy
	stored   *Keys
	replicas [2]keyReplica
	// opened is for each key when the last session that was opened with it expires.
	opened  map[KeyID]time.Time
	random  interface{ Read([]byte) (int, error) }
	changes int
}

// TestKeyHistories plays random schedules, changes of the policy, replicas that lag and whose clocks are off, lost races
// and revocations. No replica may lack the key of a session that another has opened, as long as the session lasts.
func TestKeyHistories(t *testing.T) {
	manyChecks(t, "3000", "1500")
	histories, changes := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		w := &keyWorld{t: t, now: noon, opened: map[KeyID]time.Time{}, random: fixedRandom()}
		w.policy = KeyPolicy{Period: time.Minute, WarmUp: keyWarmUp, ClockSkew: keySkew, AbsoluteLifetime: 5 * time.Minute}
		w.stored = w.plan(nil, w.policy, 0).Keys
		for i := range w.replicas {
			w.see(&w.replicas[i])
		}
		for range rapid.IntRange(30, 90).Draw(t, "steps") {
			w.step()
		}
		histories++
		changes += w.changes
	})
	t.Logf("%d histories, %d writes of keys", histories, changes)
	if changes < 2*histories {
		t.Errorf("the histories were too tame to prove anything: %d writes of keys in %d", changes, histories)
	}
}

func (w *keyWorld) plan(keys *Keys, policy KeyPolicy, clock time.Duration) KeyDecision {
	decision, err := PlanKeys(w.now.Add(clock), policy, keys, w.random)
	if err != nil {
		w.t.Fatal(err)
	}
	return decision
}

func (w *keyWorld) see(r *keyReplica) { r.keys, r.seenAt, r.policy = w.stored, w.now, w.policy }

func (w *keyWorld) step() {
	r := &w.replicas[rapid.IntRange(0, 1).Draw(w.t, "replica")]
	switch rapid.IntRange(0, 12).Draw(w.t, "event") {
	case 0, 1, 2:
		w.reconcile(r)
	case 3, 4:
		w.see(r)
	case 5, 6:
		w.open(r)
	case 7, 8:
		w.pass(time.Duration(rapid.IntRange(1, 120).Draw(w.t, "seconds")) * time.Second)
	case 9, 10:
		w.passToDeadline()
	case 11:
		r.clock = rapid.SampledFrom([]time.Duration{0, keySkew / 2, -keySkew / 2}).Draw(w.t, "clock")
	default:
		w.changePolicy()
	}
	w.judge()
}

// reconcile plans by what the replica has seen, and writes if nobody has written since.
func (w *keyWorld) reconcile(r *keyReplica) {
	decision := w.plan(r.keys, r.policy, r.clock)
	if decision.Changed && r.keys == w.stored {
		w.stored = decision.Keys
		w.changes++
		w.judgeOrder()
	}
	if again := w.plan(decision.Keys, r.policy, r.clock); again.Changed {
		w.t.Fatalf("at %s a plan for what was just planned changes it: created %v, removed %v", w.at(), again.Created, again.Removed)
	}
	if !decision.Wake.After(w.now.Add(r.clock)) {
		w.t.Fatalf("at %s a plan wakes at once or never: %s", w.at(), decision.Wake)
	}
	w.see(r)
}

// open opens a session as Manager does.
func (w *keyWorld) open(r *keyReplica) {
	clock := w.now.Add(r.clock)
	key := r.keys.Current(clock)
	expires := clock.Add(min(r.policy.AbsoluteLifetime, key.MaxLifetime))
	for i := range w.replicas {
		// A key that had to replace all others at once is the exception.
		warm := key.UsableFrom.Sub(key.CreatedAt) >= keyWarmUp+keySkew && !clock.Before(key.UsableFrom)
		if warm && w.replicas[i].keys.find(key.ID) == nil && w.stored.find(key.ID) != nil {
			w.t.Fatalf("at %s a session is opened with key %s, which replica %d does not know", w.at(), key.ID, i)
		}
	}
	if w.stored.find(key.ID) != nil && expires.After(w.opened[key.ID]) {
		w.opened[key.ID] = expires
	}
}

// pass lets time go on. No replica lags further than the warm-up.
func (w *keyWorld) pass(d time.Duration) {
	w.now = w.now.Add(d)
	for i := range w.replicas {
		if w.now.Sub(w.replicas[i].seenAt) >= keyWarmUp {
			w.see(&w.replicas[i])
		}
	}
}

// passToDeadline goes to where mistakes show: right before or after a key may be removed or becomes usable.
func (w *keyWorld) passToDeadline() {
	keys := w.stored.All()
	key := keys[rapid.IntRange(0, len(keys)-1).Draw(w.t, "key")]
	at := key.UsableFrom
	if removal, ok := w.stored.RemoveAfter(key.ID, w.policy); ok && rapid.Bool().Draw(w.t, "removal") {
		at = removal
	}
	at = at.Add(rapid.SampledFrom([]time.Duration{-keySkew / 2, 0, time.Millisecond, keySkew / 2}).Draw(w.t, "beside"))
	if at.After(w.now) {
		w.pass(at.Sub(w.now))
	}
}

func (w *keyWorld) changePolicy() {
	switch rapid.IntRange(0, 3).Draw(w.t, "change") {
	case 0:
		w.policy.Period = time.Duration(rapid.IntRange(10, 300).Draw(w.t, "period")) * time.Second
	case 1:
		keys := w.stored.All()
		id := keys[rapid.IntRange(0, len(keys)-1).Draw(w.t, "revoked")].ID
		w.policy.Revoked = append(w.policy.Revoked[:len(w.policy.Revoked):len(w.policy.Revoked)], id)
		delete(w.opened, id)
	default:
		w.policy.AbsoluteLifetime = time.Duration(rapid.IntRange(20, 900).Draw(w.t, "lifetime")) * time.Second
	}
}

// judge asks whether a session that lasts by any clock has lost its key.
func (w *keyWorld) judge() {
	revoked := map[KeyID]bool{}
	for _, id := range w.policy.Revoked {
		revoked[id] = true
	}
	for id, expires := range w.opened {
		if w.now.Before(expires) && w.stored.find(id) == nil && !revoked[id] {
			w.t.Fatalf("at %s key %s is gone, and a session with it lasts until %s", w.at(), id, expires.Sub(noon))
		}
	}
}

func (w *keyWorld) judgeOrder() {
	encoded, err := EncodeKeys(w.stored)
	if err == nil {
		_, err = DecodeKeys(encoded)
	}
	if err != nil {
		w.t.Fatalf("at %s the planned keys cannot be written and read: %v", w.at(), err)
	}
}

func (w *keyWorld) at() time.Duration { return w.now.Sub(noon) }
