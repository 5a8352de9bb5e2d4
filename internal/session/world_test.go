package session_test

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"pgregory.net/rapid"

	"github.com/keyturn/keyturn/internal/session"
	"github.com/keyturn/keyturn/internal/session/memory"
)

// The world that a session lives in: two replicas with clocks that are off, over one store that fails, that loses answers
// and that is set back; the owner of the session, who refreshes, loses answers and repeats; and a thief, who copies tokens
// and uses them. While a request waits for the store anything else may happen. What is true is kept beside the store, so
// that the judge need not believe what the code says.

// party is somebody who holds tokens.
type party struct {
	// token is the newest that the party has.
	token string
	// tries is how often token was presented, the first time at triedAt. waiting counts the requests that are under way.
	tries   int
	triedAt time.Time
	waiting int
	// newer is what a request was answered while others of the party were under way.
	newer string
	// out is true once the party was told to log in again.
	out bool
}

type world struct {
	t        *rapid.T
	now      time.Time
	clocks   [2]time.Duration
	managers [2]*session.Manager
	issuer   *session.Issuer
	memory   *memory.Store
	calm     bool // nothing fails, and nothing happens meanwhile
	depth    int

	id      session.ID
	facts   session.Facts
	owner   party
	thief   party
	stolen  []string
	removed bool

	// generation and ended are those of the store, and left is when it left each generation.
	generation uint64
	ended      bool
	left       map[uint64]time.Time
	expires    time.Time
	idle       time.Time
	// tokens are the texts by generation, and generations the other way round.
	tokens      map[uint64]string
	generations map[string]uint64
	writes      int
	snapshots   []func()
	// forgot is true once the store was set back, thieved once the thief presented a token.
	forgot, thieved bool

	seen *tally
}

// tally counts what has happened in all histories: a world in which nothing happens satisfies everything.
type tally struct {
	histories, grants, repeats, reuses, retries, lost, raced, forgotten, forward, caught int
}

// replicaClock is the clock of one replica.
type replicaClock struct {
	world   *world
	replica int
}

func (c replicaClock) Now() time.Time { return c.world.now.Add(c.world.clocks[c.replica]) }

func (c replicaClock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

func newWorld(t *rapid.T, keys *session.Keys, seen *tally) *world {
	w := &world{
		t: t, now: noon.Add(time.Hour), memory: memory.New(), calm: true, left: map[uint64]time.Time{},
		tokens: map[uint64]string{}, generations: map[string]uint64{}, seen: seen,
	}
	policy := session.DefaultPolicy()
	policy.Audiences = []string{"shop-api"}
	policy.AccessLifetime = 10 * time.Second
	policy.GraceWindow = rapid.SampledFrom([]time.Duration{0, time.Second, 10 * time.Second, 10 * time.Second}).Draw(t, "grace")
	policy.ClockError = rapid.SampledFrom([]time.Duration{0, 2 * time.Second}).Draw(t, "clock error")
	policy.IdleLifetime = rapid.SampledFrom([]time.Duration{time.Minute, time.Hour}).Draw(t, "idle lifetime")
	policy.AbsoluteLifetime = rapid.SampledFrom([]time.Duration{5 * time.Minute, day}).Draw(t, "absolute lifetime")
	policy.IdleLifetime = min(policy.IdleLifetime, policy.AbsoluteLifetime)
	policy.EndAfterRollback = rapid.Bool().Draw(t, "end after rollback")
	w.issuer = &session.Issuer{
		Reference: session.IssuerReference{Namespace: "shop", Name: "tokens"},
		URL:       "https://tokens.example.com/shop", Keys: keys, Policy: policy,
	}
	for i := range w.managers {
		w.managers[i] = session.NewManager(&faulty{memory: w.memory, world: w}, replicaClock{w, i}, w.recheck)
	}
	login := goodLogin()
	login.Scopes = nil
	opened, err := w.managers[0].Open(context.Background(), w.issuer, login)
	if err != nil {
		t.Fatal(err)
	}
	w.id, w.facts = opened.Session.ID, opened.Session.Facts
	w.expires, w.idle = opened.Session.ExpiresAt, opened.Session.IdleUntil
	w.note(0, opened.RefreshToken.Reveal())
	w.owner.token, w.calm = opened.RefreshToken.Reveal(), false
	return w
}

func (w *world) recheck(context.Context, *session.Session) (session.EndReason, error) {
	if w.removed {
		return session.EndLoginRemoved, nil
	}
	return "", nil
}

// note keeps a token that was handed out. There is one for each generation, whatever happens.
func (w *world) note(generation uint64, token string) {
	if known, ok := w.tokens[generation]; ok && known != token {
		w.t.Fatalf("at %s generation %d has two tokens", w.at(), generation)
	}
	w.tokens[generation], w.generations[token] = token, generation
}

// faulty is the store as one replica sees it.
type faulty struct {
	memory *memory.Store
	world  *world
	session.Store
}

func (f *faulty) Create(ctx context.Context, s *session.Session) (*session.Session, error) {
	return f.memory.Create(ctx, s)
}

func (f *faulty) ListSubject(ctx context.Context, issuer session.IssuerReference, subject string, now time.Time, limit int) ([]*session.Session, error) {
	return f.memory.ListSubject(ctx, issuer, subject, now, limit)
}

func (f *faulty) End(ctx context.Context, issuer session.IssuerReference, id session.ID, at time.Time, reason session.EndReason) (*session.Session, error) {
	s, err := f.memory.End(ctx, issuer, id, at, reason)
	if err == nil {
		f.world.observe(s)
	}
	return s, err
}

func (f *faulty) Get(ctx context.Context, issuer session.IssuerReference, id session.ID) (*session.Session, error) {
	f.world.meanwhile()
	if f.world.fate() == fails {
		return nil, fmt.Errorf("reading: %w", session.ErrUnavailable)
	}
	return f.memory.Get(ctx, issuer, id)
}

func (f *faulty) CompareAndSwap(ctx context.Context, s *session.Session, next session.State) (*session.Session, error) {
	w := f.world
	w.meanwhile()
	fate := w.fate()
	if fate == fails {
		return nil, fmt.Errorf("writing: %w", session.ErrUnavailable)
	}
	written, err := f.memory.CompareAndSwap(ctx, s, next)
	if err != nil {
		w.seen.raced++
		return nil, err
	}
	w.writes++
	w.observe(written)
	w.meanwhile()
	if fate == answerLost {
		w.seen.lost++
		return nil, fmt.Errorf("waiting for the answer to a write: %w", session.ErrUnavailable)
	}
	return written, nil
}

// observe keeps what is written.
func (w *world) observe(s *session.Session) {
	if !reflect.DeepEqual(s.Facts, w.facts) {
		w.t.Fatalf("at %s the facts changed", w.at())
	}
	for generation := w.generation; generation < s.Generation; generation++ {
		w.left[generation] = w.now
	}
	if s.Generation > w.generation+1 && !w.forgot {
		w.t.Fatalf("at %s the store goes from generation %d to %d", w.at(), w.generation, s.Generation)
	}
	w.generation, w.idle, w.ended = s.Generation, s.IdleUntil, !s.EndedAt.IsZero()
}

type fate int

const (
	succeeds fate = iota
	fails
	answerLost
)

func (w *world) fate() fate {
	if w.calm {
		return succeeds
	}
	return rapid.SampledFrom([]fate{succeeds, succeeds, succeeds, succeeds, succeeds, fails, answerLost}).Draw(w.t, "fate")
}

// meanwhile lets other things happen while somebody waits for the store.
func (w *world) meanwhile() {
	if w.calm || w.depth >= 2 || rapid.IntRange(0, 5).Draw(w.t, "meanwhile") > 0 {
		return
	}
	w.depth++
	w.step()
	w.depth--
}

func (w *world) at() time.Duration { return w.now.Sub(noon) }
