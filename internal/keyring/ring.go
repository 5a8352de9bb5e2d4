// Package keyring holds an issuer's signing keys: the ring, the plan that moves it through its life, and its encodings.
//
// A key is Next, then Active, then Retiring, then gone:
//
//	            published, warms caches      signs            verifies until its last token expired
//	create ──► Next ──────────────────────► Active ─────────► Retiring ─────────► removed
//	                a rotation, when ripe        the same rotation     removeAfter
//
// A compromised key is dropped from any state at once.
package keyring

import (
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// State is where a key is in its life.
type State string

// The states, in the order in which a key passes through them.
const (
	Next     State = "Next"
	Active   State = "Active"
	Retiring State = "Retiring"
)

// Exceptions to the rule that a key signs only when every verifier can know it.
const (
	// ExceptionFirstKey is that of the first key of an issuer: nobody can have cached a JWKS without it.
	ExceptionFirstKey = "FirstKey"
	// ExceptionCompromise is that of a key that replaced a compromised one before it was ripe.
	ExceptionCompromise = "Compromise"
)

// MaxKeys bounds the ring. A rotation that would go beyond it waits until a retiring key has left.
const MaxKeys = 100

// maxDropped bounds the memory for compromised keys, which only tells people that a revocation has hit something.
const maxDropped = 32

// Ring is every key of one issuer, with the times that its promises are computed from. A Ring that was handed out is
// not changed any more; Plan works on a copy.
type Ring struct {
	// Revision counts the writes of the ring. Whatever is derived from the ring carries it, so that an older ring never
	// overwrites what a newer one has published.
	Revision int64
	// Keys are ordered: Active, Next, then Retiring from the newest to the oldest.
	Keys []Key
	// HandledRequest is the last rotation request that was answered with a rotation.
	HandledRequest string
	// MaxAge is how long a copy of the JWKS may be cached, as it is in force: what is served comes from here and not
	// from the policy, so that nothing is ever served that the ring has not counted with.
	MaxAge time.Duration
	// FormerMaxAge counts beside MaxAge until FormerUntil: copies handed out before MaxAge was lowered live that long.
	// FormerUntil is zero until the JWKS has been seen published with FormerRevision or a later one.
	FormerMaxAge   time.Duration
	FormerUntil    time.Time
	FormerRevision int64
	// Dropped are the ids of the compromised keys that left the ring last, the newest at the end; at most maxDropped.
	Dropped []string
	// LostAt is when this ring replaced one that had vanished; zero if it never did.
	LostAt time.Time
}

// Key is one key and the times of its life. Times that have not come yet are zero.
type Key struct {
	// ID is the RFC 7638 thumbprint.
	ID        string
	Algorithm jose.SignatureAlgorithm
	// Size is that of an RSA key in bits, otherwise 0.
	Size  int
	State State
	// JWK is the private key while it is needed, and the public key after; a symmetric key stays whole.
	JWK jose.JSONWebKey

	CreatedAt time.Time
	// PublishedAt is when the JWKS was first seen to hold the key, never before it was written.
	PublishedAt time.Time
	ActivatedAt time.Time
	RetiredAt   time.Time
	// RemoveAfter is known once the key has left the mounted Secret.
	RemoveAfter time.Time

	// MaxLifetime is the largest token lifetime ever in force while the key could sign.
	MaxLifetime time.Duration
	// Exception says why the key signed before it was ripe, if it did.
	Exception string
}

// Symmetric says whether the key is one of an HS algorithm, which is never published.
func (k *Key) Symmetric() bool { return symmetric(k.Algorithm) }

// Active returns the key that signs, or nil in a ring that has none.
func (r *Ring) Active() *Key { return r.first(Active) }

// Next returns the key that will sign after the active one, or nil in a ring that has none.
func (r *Ring) Next() *Key { return r.first(Next) }

// Key returns the key with this id, or nil.
func (r *Ring) Key(id string) *Key {
	for i := range r.Keys {
		if r.Keys[i].ID == id {
			return &r.Keys[i]
		}
	}
	return nil
}

// MustConfirmMounted says whether a plan for the ring needs to know from the API server itself what is mounted, where a
// copy that may be late says that it is the key with the given id, or none: because keys are not exported and one waits to
// be counted out, or because one was counted out and is mounted all the same.
func (r *Ring) MustConfirmMounted(export bool, mounted string) bool {
	return slices.ContainsFunc(r.Keys, func(key Key) bool {
		if key.State != Retiring {
			return false
		}
		return key.RemoveAfter.IsZero() && !export || !key.RemoveAfter.IsZero() && key.ID == mounted
	})
}

// MaxLifetime returns the largest lifetime that a token of any key in the ring can have.
func (r *Ring) MaxLifetime() time.Duration {
	var longest time.Duration
	for i := range r.Keys {
		longest = max(longest, r.Keys[i].MaxLifetime)
	}
	return longest
}

func (r *Ring) first(state State) *Key {
	for i := range r.Keys {
		if r.Keys[i].State == state {
			return &r.Keys[i]
		}
	}
	return nil
}

func (r *Ring) clone() *Ring {
	copied := *r
	copied.Keys, copied.Dropped = slices.Clone(r.Keys), slices.Clone(r.Dropped)
	return &copied
}

// sort puts the keys into the order that Keys documents: a verifier that looks only at the first key of the JWKS finds
// the one that signs.
func (r *Ring) sort() {
	rank := map[State]int{Active: 0, Next: 1, Retiring: 2}
	slices.SortStableFunc(r.Keys, func(a, b Key) int {
		if a.State != b.State {
			return rank[a.State] - rank[b.State]
		}
		return b.RetiredAt.Compare(a.RetiredAt)
	})
}
