package keyring

import (
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Policy is what the issuer's owner wants of the ring.
type Policy struct {
	Algorithm jose.SignatureAlgorithm
	// KeySize is that of RSA keys in bits; 0 means DefaultKeySize.
	KeySize int
	// Period is how long a key signs before the next one takes over.
	Period time.Duration
	// MaxAge is how long a copy of the JWKS may be cached.
	MaxAge time.Duration
	// ClockSkew is how far any two clocks may differ.
	ClockSkew time.Duration
	// MaxLifetime is the longest lifetime of a token.
	MaxLifetime time.Duration
	// PropagationDelay is how long a changed Secret takes to reach every signer.
	PropagationDelay time.Duration
	// Export says whether the active key is handed to workloads in a Secret.
	Export bool
	// RotateRequest asks for one rotation when it differs from the ring's HandledRequest; empty asks for nothing.
	RotateRequest string
	// Revoked are the ids of compromised keys.
	Revoked []string
}

// lostRevisions is more than a ring is ever written without any change to what is derived from it. A ring that replaces
// a lost one goes this far beyond what is seen, so that a replica which still holds the lost one cannot pass as newer.
const lostRevisions = 1 << 20

// Seen is what was observed of the objects that are derived from the ring. It may be older than the ring, never newer
// than the moment that the plan is made for.
type Seen struct {
	// Published are the ids in the JWKS that verifiers are known to be able to read.
	Published []string
	// Mounted is the id of the key in the Secret that workloads mount; empty when no such Secret was seen.
	Mounted string
	// MountedConfirmed says that it was the API server itself that said so of the Secret, since this ring was written. A
	// late copy that has none is no proof that none is mounted: see Ring.MustConfirmMounted.
	MountedConfirmed bool
	// PublishedRevision and MountedRevision are those of the ring that they were rendered from; 0 when there is none.
	PublishedRevision, MountedRevision int64
	// LongestMaxAge is the ring's when the JWKS was published; 0 when there is none.
	LongestMaxAge time.Duration
}

// Decision is what to do. Its writes go in this order, each only after the one before it has succeeded:
// the ring (if Changed), the JWKS, the mounted Secret; but that Secret can be withdrawn without the JWKS. After a write,
// plan again with what is seen then.
type Decision struct {
	// Ring is the ring as it must be. It has the next revision if it is Changed.
	Ring    *Ring
	Changed bool
	// Changes say what the write does, in order.
	Changes []Change
	// Wake is when to plan again if nothing is observed earlier; zero if time alone changes nothing.
	Wake time.Time
	// Full is true when a rotation is due that MaxKeys does not allow.
	Full bool
}

// Change is one step in a key's life.
type Change struct {
	Kind   ChangeKind
	KeyID  string
	Reason string
}

// ChangeKind is what happened to a key.
type ChangeKind string

// The kinds of changes.
const (
	Created   ChangeKind = "Created"
	Activated ChangeKind = "Activated"
	Retired   ChangeKind = "Retired"
	Removed   ChangeKind = "Removed"
	Revoked   ChangeKind = "Revoked"
)

// Plan decides what to do about a ring. It does no I/O and reads no clock; ring is nil when there is none yet, and is
// not changed. The only error is that of generate.
func Plan(now time.Time, policy Policy, ring *Ring, seen Seen, generate Generator) (Decision, error) {
	p := planner{now: now, policy: policy, seen: seen, generate: generate}
	if ring == nil {
		p.firstKey, p.firstReason = ExceptionFirstKey, "it is the first key of the issuer"
		p.ring = newRing(now, policy, seen)
	} else {
		p.firstKey, p.firstReason = ExceptionCompromise, "there was no other key to take over"
		p.ring = ring.clone()
		p.healClock()
		p.recordPublished()
		p.recordReplaced()
		p.recordShortened()
		p.adoptPolicy()
	}
	p.dropRevoked()
	p.dropUnsuitableNext()
	p.rotate()
	p.dropExpired()
	p.fill()
	if p.err != nil {
		return Decision{}, p.err
	}
	if p.changed {
		p.ring.Revision++
		p.ring.sort()
	}
	return Decision{Ring: p.ring, Changed: p.changed, Changes: p.changes, Wake: p.wake(), Full: p.full}, nil
}

// newRing is the ring before its first key. If anything is left of an earlier one, that one was lost.
func newRing(now time.Time, policy Policy, seen Seen) *Ring {
	ring := &Ring{MaxAge: policy.MaxAge, HandledRequest: policy.RotateRequest}
	if latest := max(seen.PublishedRevision, seen.MountedRevision); latest > 0 {
		ring.LostAt, ring.Revision = now, latest+lostRevisions
		// Copies of the lost ring's JWKS are still in caches, and only what was published tells for how long.
		ring.FormerMaxAge, ring.FormerRevision = seen.LongestMaxAge, ring.Revision+1
	}
	return ring
}

type planner struct {
	now      time.Time
	policy   Policy
	seen     Seen
	generate Generator

	// firstKey and firstReason are the exception under which a key signs that is made because no other can take over,
	// and the reason that is given for it.
	firstKey, firstReason string

	ring    *Ring
	changed bool
	changes []Change
	full    bool
	err     error
}

// healClock pulls back times that a clock which ran ahead has left in the future. As long as clocks differ by no more
// than the policy's skew it changes nothing. Without it a key published "next year" would never ripen.
func (p *planner) healClock() {
	latest := p.now.Add(p.policy.ClockSkew)
	for i := range p.ring.Keys {
		key := &p.ring.Keys[i]
		p.pullBack(&key.PublishedAt, latest)
		p.pullBack(&key.ActivatedAt, latest)
		p.pullBack(&key.RetiredAt, latest)
		p.pullBack(&key.RemoveAfter, p.removeAfter(key).Add(p.policy.ClockSkew))
	}
	p.pullBack(&p.ring.LostAt, latest)
	p.pullBack(&p.ring.FormerUntil, latest.Add(p.ring.FormerMaxAge+p.policy.ClockSkew))
}

func (p *planner) pullBack(t *time.Time, latest time.Time) {
	if t.After(latest) {
		*t, p.changed = latest, true
	}
}

// recordPublished notes when a key was first seen where verifiers look. A symmetric key is never published: only the
// webhook's replicas verify it, and they read the ring itself, so having been read back is what counts for it.
func (p *planner) recordPublished() {
	for i := range p.ring.Keys {
		key := &p.ring.Keys[i]
		if key.PublishedAt.IsZero() && (key.Symmetric() || slices.Contains(p.seen.Published, key.ID)) {
			key.PublishedAt, p.changed = p.now, true
		}
	}
}

// recordReplaced notes when retiring keys were seen to have left the mounted Secret. Their last token can be signed one
// propagation delay later, and not before that the clock for their removal starts: a Secret that cannot be written
// keeps the old key in use, however long ago the ring retired it. A key that somebody mounts again is in use again.
func (p *planner) recordReplaced() {
	active := p.ring.Active()
	replaced := active != nil && p.policy.Export && p.seen.Mounted == active.ID
	withdrawn := !p.policy.Export && p.seen.MountedConfirmed
	for i := range p.ring.Keys {
		key := &p.ring.Keys[i]
		switch {
		case key.State != Retiring:
		case key.ID == p.seen.Mounted:
			if p.seen.MountedConfirmed && !key.RemoveAfter.IsZero() {
				key.RemoveAfter, p.changed = time.Time{}, true
			}
		case key.RemoveAfter.IsZero() && (replaced || withdrawn):
			key.RemoveAfter, p.changed = p.removeAfter(key), true
		}
	}
}

func (p *planner) removeAfter(key *Key) time.Time {
	return p.now.Add(p.policy.PropagationDelay + key.MaxLifetime + p.policy.ClockSkew)
}

// adoptPolicy brings into force what the policy says about lifetimes and caches. The ring is written before anybody
// acts on the new values, so whatever was ever in force has been counted with.
func (p *planner) adoptPolicy() {
	if active := p.ring.Active(); active != nil && p.policy.MaxLifetime > active.MaxLifetime {
		active.MaxLifetime, p.changed = p.policy.MaxLifetime, true
	}
	if p.policy.MaxAge != p.ring.MaxAge {
		if p.policy.MaxAge < p.ring.MaxAge {
			p.ring.FormerMaxAge, p.ring.FormerUntil = p.ring.maxAgeAt(p.now), time.Time{}
			p.ring.FormerRevision = p.ring.Revision + 1
		}
		p.ring.MaxAge, p.changed = p.policy.MaxAge, true
	}
}

// recordShortened notes when the JWKS was first seen to be published with a lowered max-age. Copies that were handed out
// before live for as long as they were told.
func (p *planner) recordShortened() {
	if p.ring.formerRuns() && p.ring.FormerUntil.IsZero() && p.seen.PublishedRevision >= p.ring.FormerRevision {
		p.ring.FormerUntil, p.changed = p.now.Add(p.ring.FormerMaxAge+p.policy.ClockSkew), true
	}
}

// dropRevoked takes compromised keys out at once. If the active one is among them Next takes over, ripe or not.
func (p *planner) dropRevoked() {
	lostActive := false
	p.ring.Keys = slices.DeleteFunc(p.ring.Keys, func(key Key) bool {
		if !slices.Contains(p.policy.Revoked, key.ID) {
			return false
		}
		lostActive = lostActive || key.State == Active
		p.note(Revoked, key.ID, fmt.Sprintf("the %s key was revoked", key.State))
		p.ring.Dropped = append(p.ring.Dropped, key.ID)
		p.ring.Dropped = p.ring.Dropped[max(0, len(p.ring.Dropped)-maxDropped):]
		return true
	})
	if !lostActive {
		return
	}
	if next := p.ring.Next(); next != nil {
		p.activate(next, ExceptionCompromise, "the active key was revoked")
	}
}

// dropUnsuitableNext makes room for a Next of another algorithm or size. It has never signed, so nobody misses it.
func (p *planner) dropUnsuitableNext() {
	next := p.ring.Next()
	if next == nil || p.policy.suits(next) {
		return
	}
	p.note(Removed, next.ID, fmt.Sprintf("the policy asks for %s keys now", p.policy.Algorithm))
	p.ring.Keys = slices.DeleteFunc(p.ring.Keys, func(key Key) bool { return key.State == Next })
}

// rotate exchanges Active for Next when something asks for it and Next is ripe.
func (p *planner) rotate() {
	active, next := p.ring.Active(), p.ring.Next()
	if active == nil || next == nil {
		return
	}
	reason := rotationReason(p.now, p.policy, p.ring)
	ripeAt, published := p.ring.RipeAt(p.now, p.policy)
	if reason == "" || !published || p.now.Before(ripeAt) {
		return
	}
	if len(p.ring.Keys) >= MaxKeys {
		p.full = true
		return
	}
	active.State, active.RetiredAt = Retiring, p.now
	if !active.Symmetric() {
		active.JWK = active.JWK.Public()
	}
	p.note(Retired, active.ID, reason)
	p.activate(next, "", reason)
	if p.policy.RotateRequest != "" {
		p.ring.HandledRequest = p.policy.RotateRequest
	}
}

// dropExpired removes retiring keys whose last token has expired.
func (p *planner) dropExpired() {
	p.ring.Keys = slices.DeleteFunc(p.ring.Keys, func(key Key) bool {
		if key.State != Retiring || key.RemoveAfter.IsZero() || p.now.Before(key.RemoveAfter) {
			return false
		}
		p.note(Removed, key.ID, "the last token that it can have signed has expired")
		return true
	})
}

// fill makes the keys that a ring must have and lacks.
func (p *planner) fill() {
	if p.ring.Active() == nil {
		p.activate(p.create(), p.firstKey, p.firstReason)
	}
	if p.ring.Next() == nil {
		p.create()
	}
}

func (p *planner) create() *Key {
	key, err := p.generate(p.policy.Algorithm, rsaSize(p.policy.Algorithm, p.policy.KeySize))
	if err != nil && p.err == nil {
		p.err = err
	}
	key.State, key.CreatedAt = Next, p.now
	p.ring.Keys = append(p.ring.Keys, key)
	p.note(Created, key.ID, fmt.Sprintf("a new %s key", p.policy.Algorithm))
	return &p.ring.Keys[len(p.ring.Keys)-1]
}

// activate lets a key sign. The exception is recorded only if the key is not ripe.
func (p *planner) activate(key *Key, exception, reason string) {
	ripeAt, published := key.ripeAt(p.now, p.policy, p.ring)
	if !published || p.now.Before(ripeAt) {
		key.Exception = exception
	}
	key.State, key.ActivatedAt, key.MaxLifetime = Active, p.now, p.policy.MaxLifetime
	p.note(Activated, key.ID, reason)
}

func (p *planner) note(kind ChangeKind, id, reason string) {
	p.changed = true
	p.changes = append(p.changes, Change{Kind: kind, KeyID: id, Reason: reason})
}

// wake is the earliest moment at which a plan can differ from this one although nothing new is seen; zero if there is
// none. What was due by now has been done, or waits for something to be seen.
func (p *planner) wake() time.Time {
	times := []time.Time{p.ring.RotationAt(p.now, p.policy)}
	for i := range p.ring.Keys {
		times = append(times, p.ring.Keys[i].RemoveAfter)
	}
	var wake time.Time
	for _, at := range times {
		if at.After(p.now) && (wake.IsZero() || at.Before(wake)) {
			wake = at
		}
	}
	return wake
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
