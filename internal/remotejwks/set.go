package remotejwks

import (
	"crypto"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyturn/keyturn/internal/token"
)

// Set is what one successful fetch brought. It is immutable.
type Set struct {
	// Keys are the usable keys by id. A key that did not change since the set before has the same pointer.
	Keys map[string]*token.Key
	// Skipped has one sentence for each key of the document that cannot be used. It holds no key material.
	Skipped []string
	// FetchedAt is when the fetch began. Zero before the first success.
	FetchedAt time.Time

	staleAt time.Time
}

// Stale says whether the set is too old to verify with. A set that was never fetched is stale. Ask the set that Current
// returns: a fetch that finds the same keys replaces it without a call of OnChange.
func (s *Set) Stale(now time.Time) bool {
	return !now.Before(s.staleAt)
}

func newSet(keys map[string]*token.Key, skipped []string, fetchedAt time.Time, maxStaleness time.Duration) *Set {
	return &Set{Keys: keys, Skipped: skipped, FetchedAt: fetchedAt, staleAt: fetchedAt.Add(maxStaleness)}
}

// adopt starts a fetcher with the keys of the one before it, without what its source no longer allows.
func adopt(previous *Set, source Source) *Set {
	if previous == nil || previous.FetchedAt.IsZero() {
		return &Set{}
	}
	keys := make(map[string]*token.Key, len(previous.Keys))
	for id, key := range previous.Keys {
		allowed := slices.DeleteFunc(slices.Clone(key.Algorithms), func(algorithm jose.SignatureAlgorithm) bool {
			return !slices.Contains(source.Algorithms, algorithm)
		})
		if len(allowed) > 0 {
			keys[id] = &token.Key{ID: id, Algorithms: allowed, Public: key.Public, MaxLifetime: source.MaxLifetime}
		}
	}
	keys, _ = keepPointers(previous.Keys, keys)
	return newSet(keys, previous.Skipped, previous.FetchedAt, source.MaxStaleness)
}

// keepPointers returns next with the old pointer of every key that is still the same, because a verifier's cached
// signatures are attached to pointers. It returns old itself, and false, when nothing differs.
func keepPointers(old, next map[string]*token.Key) (keys map[string]*token.Key, changed bool) {
	keys = make(map[string]*token.Key, len(next))
	changed = len(old) != len(next)
	for id, key := range next {
		if before, found := old[id]; found && sameKey(before, key) {
			key = before
		} else {
			changed = true
		}
		keys[id] = key
	}
	if !changed {
		return old, false
	}
	return keys, true
}

func sameKey(a, b *token.Key) bool {
	return a.ID == b.ID && a.MaxLifetime == b.MaxLifetime && slices.Equal(a.Algorithms, b.Algorithms) &&
		samePublic(a.Public, b.Public)
}

func samePublic(a, b any) bool {
	key, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(b)
}
