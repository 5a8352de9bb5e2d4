package session

import (
	"cmp"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"
)

// MaxKeys bounds the keys of one issuer. A rotation that would go beyond it waits until the oldest key has left.
const MaxKeys = 64

// maxDropped bounds the memory for compromised keys, which only tells people that a revocation has hit something.
const maxDropped = 32

// Keys are the keys for the refresh tokens of one issuer:
//
//	            every replica learns of it    opens sessions     serves the sessions it opened
//	create ──────────────────────────────► usable ──────────► superseded ───────────────────► removed
//	            WarmUp + ClockSkew           the next one's          the longest session
//	                                         UsableFrom              that it can have opened
//
// Every state follows from the times of the keys, so that a stop at any moment leaves nothing half done. Keys that were
// handed out are not changed any more; PlanKeys works on a copy.
type Keys struct {
	// Revision counts the writes.
	Revision int64
	// Dropped are the ids of the compromised keys that were dropped last, the newest at the end; at most maxDropped. Not to
	// be changed.
	Dropped []KeyID
	// list is ordered by UsableFrom, and never empty.
	list []Key
}

// KeyPolicy is what the plan for keys needs to know.
type KeyPolicy struct {
	// Period is how long a key opens sessions before the next one takes over. Default of PlanKeys: DefaultKeyPeriod.
	Period time.Duration
	// WarmUp is how long a written document takes to reach every replica, at most. Default: DefaultKeyWarmUp.
	WarmUp time.Duration
	// ClockSkew is how far any two clocks may differ.
	ClockSkew time.Duration
	// AbsoluteLifetime is that of Policy.
	AbsoluteLifetime time.Duration
	// Revoked are the ids of keys that somebody else may have. They are dropped at once, and their sessions with them.
	Revoked []KeyID
}

// Defaults of a KeyPolicy.
const (
	DefaultKeyPeriod = 30 * day
	DefaultKeyWarmUp = 5 * time.Minute
)

// KeyDecision is what to do about the keys.
type KeyDecision struct {
	// Keys are the keys as they must be. They have the next revision if Changed.
	Keys    *Keys
	Changed bool
	// Created and Removed are the ids of keys that came and went, for the audit log.
	Created, Removed []KeyID
	// Wake is when to plan again if nothing else changes earlier.
	Wake time.Time
	// Full is true when a rotation is due that MaxKeys does not allow.
	Full bool
}

// Current returns the key that opens sessions at this moment: the newest usable one. Where none is usable yet, because all
// that were are revoked, it is the oldest: a replica that does not know it yet is better than no logins at all.
func (k *Keys) Current(now time.Time) *Key {
	for i := len(k.list) - 1; i > 0; i-- {
		if !now.Before(k.list[i].UsableFrom) {
			return &k.list[i]
		}
	}
	return &k.list[0]
}

// Has reports whether there is a key with this id.
func (k *Keys) Has(id KeyID) bool { return k.find(id) != nil }

// All returns the keys, ordered by UsableFrom.
func (k *Keys) All() []Key { return slices.Clone(k.list) }

// RemoveAfter returns when the last session that the key can have opened has expired, and false as long as the key can
// open more.
func (k *Keys) RemoveAfter(id KeyID, policy KeyPolicy) (time.Time, bool) {
	policy = policy.withDefaults()
	for i := range len(k.list) - 1 {
		if k.list[i].ID == id {
			return k.removeAfter(i, policy), true
		}
	}
	return time.Time{}, false
}

// Format implements fmt.Formatter.
func (k Keys) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "%d refresh token keys of revision %d %s", len(k.list), k.Revision, redacted)
}

// LogValue implements slog.LogValuer.
func (k Keys) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(k)) }

// PlanKeys decides what to do about the keys of an issuer. It does no I/O beside reading random bytes, and reads no
// clock; keys is nil when there are none yet, and is not changed. The only error is that of random.
func PlanKeys(now time.Time, policy KeyPolicy, keys *Keys, random io.Reader) (KeyDecision, error) {
	p := keyPlanner{now: now.UTC(), policy: policy.withDefaults(), random: random, keys: &Keys{}}
	if keys != nil {
		p.keys.Revision, p.keys.list, p.keys.Dropped = keys.Revision, slices.Clone(keys.list), slices.Clone(keys.Dropped)
		p.healClock()
		p.drop()
	}
	if err := p.rotate(); err != nil {
		return KeyDecision{}, err
	}
	p.adoptLifetime()
	if p.changed {
		p.keys.Revision++
	}
	return KeyDecision{
		Keys: p.keys, Changed: p.changed, Created: p.created, Removed: p.removed, Wake: p.wake(), Full: p.full,
	}, nil
}

func (p KeyPolicy) withDefaults() KeyPolicy {
	p.Period, p.WarmUp = cmp.Or(p.Period, DefaultKeyPeriod), cmp.Or(p.WarmUp, DefaultKeyWarmUp)
	return p
}

// lead is how long before its use a key is written: every replica has learned of it when the fastest clock uses it.
func (p KeyPolicy) lead() time.Duration { return p.WarmUp + p.ClockSkew }

type keyPlanner struct {
	now              time.Time
	policy           KeyPolicy
	random           io.Reader
	keys             *Keys
	changed, full    bool
	created, removed []KeyID
}

// healClock pulls back times that a clock which ran ahead has left in the future. Without it a key that is usable "next
// year" would stop every rotation until then.
func (p *keyPlanner) healClock() {
	latest := p.now.Add(p.policy.ClockSkew)
	for i := range p.keys.list {
		key := &p.keys.list[i]
		for _, bound := range []struct {
			t      *time.Time
			latest time.Time
		}{{&key.CreatedAt, latest}, {&key.UsableFrom, latest.Add(p.policy.lead())}} {
			if bound.t.After(bound.latest) {
				*bound.t, p.changed = bound.latest, true
			}
		}
	}
}

// drop takes out the keys that are compromised, and those whose last session has expired. When the newest one is
// compromised its predecessor opens sessions again: every replica knows it, and waiting for a new one would stop logins.
func (p *keyPlanner) drop() {
	p.remove(func(_ int, key *Key) bool { return slices.Contains(p.policy.Revoked, key.ID) })
	p.keys.Dropped = append(p.keys.Dropped, p.removed...)
	p.keys.Dropped = p.keys.Dropped[max(0, len(p.keys.Dropped)-maxDropped):]
	p.remove(func(i int, _ *Key) bool {
		return i < len(p.keys.list)-1 && !p.now.Before(p.keys.removeAfter(i, p.policy))
	})
}

func (p *keyPlanner) remove(gone func(int, *Key) bool) {
	var kept []Key
	for i := range p.keys.list {
		if gone(i, &p.keys.list[i]) {
			p.removed, p.changed = append(p.removed, p.keys.list[i].ID), true
		} else {
			kept = append(kept, p.keys.list[i])
		}
	}
	p.keys.list = kept
}

// rotate makes the next key when it is time to warm it up. The first key is usable at once: nobody can miss it yet.
func (p *keyPlanner) rotate() error {
	if len(p.keys.list) == 0 {
		if err := p.create(p.now); err != nil {
			return err
		}
	}
	for !p.now.Before(p.nextCreation()) {
		if len(p.keys.list) >= MaxKeys {
			p.full = true
			return nil
		}
		usable := p.keys.list[len(p.keys.list)-1].UsableFrom.Add(p.policy.Period)
		if warm := p.now.Add(p.policy.lead()); warm.After(usable) {
			usable = warm
		}
		if err := p.create(usable); err != nil {
			return err
		}
	}
	return nil
}

func (p *keyPlanner) nextCreation() time.Time {
	return p.keys.list[len(p.keys.list)-1].UsableFrom.Add(p.policy.Period - p.policy.lead())
}

func (p *keyPlanner) create(usableFrom time.Time) error {
	for {
		key, err := generateKey(p.random)
		if err != nil {
			return err
		}
		if p.keys.find(key.ID) != nil || slices.Contains(p.policy.Revoked, key.ID) {
			continue // Ids are short. One in four thousand million is taken.
		}
		key.CreatedAt, key.UsableFrom, key.MaxLifetime = p.now, usableFrom, p.policy.AbsoluteLifetime
		p.keys.list = append(p.keys.list, key)
		p.created, p.changed = append(p.created, key.ID), true
		return nil
	}
}

// adoptLifetime brings a longer lifetime of sessions into force for the keys that can still open some. Manager.Open never
// goes beyond what the key was written with, so it does not matter when this is seen. A shorter one changes nothing:
// sessions may have been opened under the longer one.
func (p *keyPlanner) adoptLifetime() {
	for i := range p.keys.list {
		key := &p.keys.list[i]
		if superseded, ok := p.keys.superseded(i, p.policy); ok && !p.now.Before(superseded) {
			continue
		}
		if key.MaxLifetime < p.policy.AbsoluteLifetime {
			key.MaxLifetime, p.changed = p.policy.AbsoluteLifetime, true
		}
	}
}

// wake is the earliest moment at which a plan can differ from this one although nothing else changes.
func (p *keyPlanner) wake() time.Time {
	next := p.nextCreation()
	if p.full {
		next = time.Time{} // Not before a key has left.
	}
	for i := range len(p.keys.list) - 1 {
		if at := p.keys.removeAfter(i, p.policy); next.IsZero() || at.Before(next) {
			next = at
		}
	}
	return next
}

func (k *Keys) find(id KeyID) *Key {
	for i := range k.list {
		if k.list[i].ID == id {
			return &k.list[i]
		}
	}
	return nil
}

// superseded returns when the last replica has stopped to open sessions with a key: the slowest clock, with a copy of the
// document that is as old as can be.
func (k *Keys) superseded(i int, policy KeyPolicy) (time.Time, bool) {
	if i == len(k.list)-1 {
		return time.Time{}, false
	}
	return k.list[i+1].UsableFrom.Add(policy.WarmUp + policy.ClockSkew), true
}

// removeAfter is for every key but the newest.
func (k *Keys) removeAfter(i int, policy KeyPolicy) time.Time {
	superseded, _ := k.superseded(i, policy)
	return superseded.Add(k.list[i].MaxLifetime + policy.ClockSkew)
}
