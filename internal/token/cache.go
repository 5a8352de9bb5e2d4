package token

import (
	"crypto/sha256"
	"math"
	"unsafe"

	"github.com/maypok86/otter/v2"
)

// digest is the SHA-256 of a token: what is kept to know it again, in place of the token.
type digest = [sha256.Size]byte

// seen is what is remembered of a token: what follows from its text, and which key has verified its signature. It is
// immutable once it is in the cache. It holds no decision.
type seen struct {
	header Header
	claims Claims
	// verifiedBy is the key that made the signature. Nil while that is not known.
	verifiedBy *Key
}

// entrySize is what an entry costs beside the strings of its claims: itself, its node in the cache (key, value and eight
// words), and its share of a hash table that may be half empty.
const entrySize = int(unsafe.Sizeof(seen{})) + sha256.Size + 9*8 + 32

// cache remembers tokens with a good signature. Looking up takes no lock and does not allocate. When it is full, what is
// seldom asked for goes first.
type cache struct {
	entries *otter.Cache[digest, *seen]
}

// newCache returns a cache of at most so many entries and about so many bytes. One bound keeps both: every entry weighs
// at least its share of the bytes.
func newCache(maxEntries int, maxBytes int64) *cache {
	share := (maxBytes + int64(maxEntries) - 1) / int64(maxEntries)
	return &cache{entries: otter.Must(&otter.Options[digest, *seen]{
		MaximumWeight: uint64(maxBytes), //nolint:gosec // NewVerifier makes no cache of a size below 1.
		Weigher: func(_ digest, token *seen) uint32 {
			weight := max(share, int64(entrySize+len(token.header.KeyID)+token.claims.memory()))
			return uint32(min(weight, math.MaxUint32)) //nolint:gosec // Bounded right here.
		},
	})}
}

func (c *cache) find(of digest) *seen {
	token, _ := c.entries.GetIfPresent(of)
	return token
}

// remember keeps a token that verifiedBy has verified. A nil cache remembers nothing.
func (c *cache) remember(of digest, token *seen) {
	if c != nil {
		c.entries.Set(of, token)
	}
}
