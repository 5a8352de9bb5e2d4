package keyring

import (
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"pgregory.net/rapid"
)

// The world that a ring lives in, as far as tokens are concerned: an API server that keeps three objects, two replicas
// that act on stale copies of them with clocks that are off, workloads whose mounted files lag behind, and verifiers
// whose caches do. Everything that was ever visible is remembered with the time it was visible from, so that the judge
// can ask for the worst copy that anybody may hold.

const (
	skew  = 4 * time.Second  // the policy's clockSkew
	drift = skew / 2         // how far a clock can be ahead of the true time; and how long a replica's watch can lag
	lag   = 20 * time.Second // the kubelet's, and the policy's propagationDelay
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// history is every value of an object and when it came.
type history[T any] struct {
	values []T
	from   []time.Time
}

func (h *history[T]) set(now time.Time, value T) {
	h.values, h.from = append(h.values, value), append(h.from, now)
}

func (h *history[T]) current() T { return h.at(len(h.values)) }

// at returns what was current after so many writes.
func (h *history[T]) at(writes int) T {
	var zero T
	if writes == 0 {
		return zero
	}
	return h.values[writes-1]
}

// within returns every value that was current at some moment from since on; the zero value stands for "not there yet".
func (h *history[T]) within(since time.Time) []T {
	var found []T
	for i := len(h.values) - 1; i >= 0; i-- {
		found = append(found, h.values[i])
		if !h.from[i].After(since) {
			return found
		}
	}
	var zero T
	return append(found, zero)
}

// jwks is what a verifier can fetch: the ids, and for how long it may keep them. A nil one does not exist yet.
type jwks struct {
	ids      []string
	active   string // so that every rotation shows, also one of symmetric keys
	maxAge   time.Duration
	longest  time.Duration
	revision int64
}

// mounted is the Secret with the signing key. A nil one does not exist.
type mounted struct {
	id       string
	lifetime time.Duration
	revision int64
}

type signed struct {
	key string
	exp time.Time
}

type replica struct {
	clock  time.Duration // ahead of the true time by this much
	ring   *Ring
	jwks   *jwks
	mount  *mounted
	policy *Policy
	// confirmed is true if mount is what the API server said when it was asked, and the ring is still the same.
	confirmed bool
}

type world struct {
	t        *rapid.T
	now      time.Time
	keys     int
	policies history[*Policy]          // what the issuer's spec asks for
	ring     history[*Ring]            // the stored ring: what the HTTP endpoint of an up-to-date replica serves
	jwks     history[*jwks]            // the ConfigMap
	mount    history[*mounted]         // the Secret that workloads mount
	untold   struct{ sets, rings int } // how many JWKS and rings count no more for what verifiers must know
	replicas [2]replica
	underWay bool // one of them is about to write
	tokens   []signed
	exempt   map[string]bool // keys that signed before they were ripe, with the exception recorded
	dead     map[string]bool // keys that were revoked, or lost with a deleted ring
}

func newWorld(t *rapid.T) *world {
	w := &world{t: t, now: epoch, exempt: map[string]bool{}, dead: map[string]bool{}}
	w.policies.set(epoch, &Policy{
		Algorithm: jose.ES256, ClockSkew: skew, PropagationDelay: lag, Export: true,
		Period: time.Minute, MaxAge: 10 * time.Second, MaxLifetime: 30 * time.Second,
	})
	for i := range w.replicas {
		w.replicas[i].policy = w.policies.current()
	}
	return w
}

// generate makes keys without the cost of cryptography: nothing here looks at them.
func (w *world) generate(algorithm jose.SignatureAlgorithm, size int) (Key, error) {
	w.keys++
	return Key{ID: fmt.Sprintf("key-%d", w.keys), Algorithm: algorithm, Size: size}, nil
}

// fate is what becomes of a write.
type fate int

const (
	succeeds fate = iota
	fails         // nothing is written, and the writer knows
	isLost        // it is written, and the writer is told that it failed
	crashes       // it is not written, and the writer starts anew with fresh copies
)

var errWrite = fmt.Errorf("the write failed")

// reconcile does what the controller does: plan, write in order, stop at the first failure, plan again.
func (w *world) reconcile(r *replica) {
	r.confirmed = false
	for range 4 {
		if r.ring == nil {
			// Before it makes a ring, a replica asks the API server itself what there is.
			r.ring, r.jwks, r.mount = w.ring.current(), w.jwks.current(), w.mount.current()
			if r.ring == nil && r.jwks == nil {
				// Nothing tells for how long copies of an earlier JWKS may be kept, so nothing is promised of them.
				w.untold.sets, w.untold.rings = len(w.jwks.values), len(w.ring.values)
			}
		}
		decision, err := Plan(w.now.Add(r.clock), *r.policy, r.ring, w.seen(r), w.generate)
		if err != nil {
			w.t.Fatalf("plan: %v", err)
		}
		w.judgePlan(r, decision)
		before := *r
		if w.apply(r, decision) != nil || r.ring == before.ring && r.jwks == before.jwks && r.mount == before.mount {
			return
		}
	}
}

// seen is what the replica's copies say. Where a plan needs to be sure of the mounted Secret it asks the API server.
func (w *world) seen(r *replica) Seen {
	mounted := ""
	if r.mount != nil {
		mounted = r.mount.id
	}
	if r.ring != nil && r.ring.MustConfirmMounted(r.policy.Export, mounted) {
		r.mount, r.confirmed = w.mount.current(), true
	}
	seen := Seen{MountedConfirmed: r.confirmed}
	if r.jwks != nil {
		seen.Published, seen.PublishedRevision, seen.LongestMaxAge = r.jwks.ids, r.jwks.revision, r.jwks.longest
	}
	if r.mount != nil {
		seen.Mounted, seen.MountedRevision = r.mount.id, r.mount.revision
	}
	return seen
}

func (w *world) apply(r *replica, decision Decision) error {
	if decision.Changed {
		if err := w.write(r, func() error {
			if w.ring.current() != r.ring { // resourceVersion
				return errWrite
			}
			w.ring.set(w.now, decision.Ring)
			w.noteExceptions(decision.Ring)
			return nil
		}); err != nil {
			return err
		}
		r.ring, r.confirmed = decision.Ring, false
	}
	if err := w.applyJWKS(r); err != nil {
		return err
	}
	return w.applyMount(r)
}

func (w *world) applyJWKS(r *replica) error {
	want := rendered(r.ring)
	if r.jwks != nil && (r.jwks.revision > want.revision || slices.Equal(r.jwks.ids, want.ids) &&
		r.jwks.active == want.active && r.jwks.maxAge == want.maxAge && r.jwks.longest == want.longest) {
		return nil
	}
	err := w.write(r, func() error {
		if w.jwks.current() != r.jwks || w.ring.current() != r.ring {
			return errWrite
		}
		w.jwks.set(w.now, want)
		return nil
	})
	if err == nil {
		r.jwks = want
	}
	return err
}

func (w *world) applyMount(r *replica) error {
	active := r.ring.Active()
	if r.jwks == nil || !active.Symmetric() && !slices.Contains(r.jwks.ids, active.ID) || r.jwks.revision > r.ring.Revision {
		return errWrite
	}
	var want *mounted
	if r.policy.Export {
		want = &mounted{id: active.ID, lifetime: min(r.policy.MaxLifetime, active.MaxLifetime), revision: r.ring.Revision}
	}
	if (r.mount == nil) == (want == nil) && (want == nil || r.mount.revision > want.revision ||
		r.mount.id == want.id && r.mount.lifetime == want.lifetime) {
		return nil
	}
	err := w.write(r, func() error {
		if w.mount.current() != r.mount || want != nil && w.ring.current() != r.ring || want == nil && w.policies.current() != r.policy {
			return errWrite
		}
		w.mount.set(w.now, want)
		return nil
	})
	if err == nil {
		r.mount, r.confirmed = want, false
	}
	return err
}

// write draws the fate of a write. The other replica may act while it is under way.
func (w *world) write(r *replica, do func() error) error {
	if !w.underWay && rapid.IntRange(0, 7).Draw(w.t, "the other acts") == 7 {
		w.underWay = true
		for i := range w.replicas {
			if other := &w.replicas[i]; other != r {
				w.refresh(other)
				w.reconcile(other)
			}
		}
		w.underWay = false
	}
	switch rapid.SampledFrom([]fate{succeeds, succeeds, succeeds, fails, isLost, crashes}).Draw(w.t, "fate") {
	case fails:
		return errWrite
	case isLost:
		_ = do()
		return errWrite
	case crashes:
		w.refresh(r)
		return errWrite
	default:
		return do()
	}
}

func (w *world) refresh(r *replica) {
	r.ring, r.jwks, r.mount, r.policy = w.ring.current(), w.jwks.current(), w.mount.current(), w.policies.current()
	r.confirmed = false
}

// restart makes the replica one that has just started, with caches each of which is some writes behind.
func (w *world) restart(r *replica) {
	behind := func(writes int) int { return writes - rapid.IntRange(0, min(writes, 4)).Draw(w.t, "behind") }
	r.ring, r.jwks = w.ring.at(behind(len(w.ring.values))), w.jwks.at(behind(len(w.jwks.values)))
	r.mount, r.policy = w.mount.at(behind(len(w.mount.values))), w.policies.at(1+behind(len(w.policies.values)-1))
}

// noteExceptions keeps which keys may be unknown to verifiers, because the ring says so itself.
func (w *world) noteExceptions(ring *Ring) {
	for i := range ring.Keys {
		if ring.Keys[i].Exception != "" {
			w.exempt[ring.Keys[i].ID] = true
		}
	}
}

func rendered(ring *Ring) *jwks {
	return &jwks{
		ids: idsOf(ring), active: ring.Active().ID, revision: ring.Revision,
		maxAge: ring.MaxAge, longest: ring.LongestMaxAge(),
	}
}

func idsOf(ring *Ring) []string {
	var ids []string
	for i := range ring.Keys {
		if !ring.Keys[i].Symmetric() {
			ids = append(ids, ring.Keys[i].ID)
		}
	}
	return ids
}
