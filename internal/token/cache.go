package token

import (
	"crypto/sha256"
	"math"
	"time"
	"unsafe"

	"github.com/maypok86/otter/v2"
	"k8s.io/utils/clock"
)

// digest is the SHA-256 of a token: what is kept to know it again, in place of the token.
type digest = [sha256.Size]byte

// seen is what is remembered of a token: what follows from its text, and which key has verified its signature. It is
// immutable once it is in the cache. It holds no decision.
type seen struct {
	// header may be shared with other tokens that have the same.
	header *Header
	claims Claims
	// verifiedBy is the key that made the signature. Nil while that is not known.
	verifiedBy *Key
	// expires is when the token does, for good, the skew included: in microseconds since 1970, because a time.Time would
	// make this larger than the 256 bytes that the allocator takes for it.
	expires int64
}

// lateness is how long a token is remembered that has expired, so that a client that has not noticed yet, and asks again
// and again, does not cost a signature check each time.
const lateness = time.Minute

// entrySize is what an entry costs beside the texts of its claims: itself, a header of its own, as if it shared none, its
// node in the cache (key, value and eight words), and its share of a hash table that may be half empty.
const entrySize = int(unsafe.Sizeof(seen{})+unsafe.Sizeof(Header{})) + sha256.Size + 9*8 + 32

// cache remembers tokens with a good signature until shortly after they expire. Looking up takes no lock and does not
// allocate. When it is full, what is seldom asked for goes first.
type cache struct {
	entries *otter.Cache[digest, *seen]
}

// newCache returns a cache of at most so many entries and about so many bytes. One bound keeps both: every entry weighs
// at least its share of the bytes.
func newCache(maxEntries int, maxBytes int64, clk clock.PassiveClock) *cache {
	share := (maxBytes + int64(maxEntries) - 1) / int64(maxEntries)
	return &cache{entries: otter.Must(&otter.Options[digest, *seen]{
		Clock: ticking{clk},
		ExpiryCalculator: otter.ExpiryWritingFunc(func(written otter.Entry[digest, *seen]) time.Duration {
			// At least 1, because to otter 0 means for ever.
			return max(1, time.UnixMicro(written.Value.expires).Add(lateness).Sub(time.Unix(0, written.SnapshotAtNano)))
		}),
		MaximumWeight: uint64(maxBytes), //nolint:gosec // NewVerifier makes no cache of a size below 1.
		Weigher: func(_ digest, token *seen) uint32 {
			weight := max(share, int64(entrySize+token.header.size()+int(token.claims.size)))
			return uint32(min(weight, math.MaxUint32)) //nolint:gosec // Bounded right here.
		},
	})}
}

func (c *cache) find(of digest) *seen {
	token, _ := c.entries.GetIfPresent(of)
	return token
}

// remember keeps a token that verifiedBy has verified, unless it has expired. Nobody else may have the token yet. A nil
// cache remembers nothing.
func (c *cache) remember(of digest, token *seen, now time.Time) {
	if c != nil && now.UnixMicro() < token.expires {
		token.claims.compact()
		c.entries.Set(of, token)
	}
}

// ticking is the clock by which entries expire. It decides nothing: the expiry of a token is checked on every request.
type ticking struct{ clock.PassiveClock }

// NowNano is the time in nanoseconds since 1970.
func (t ticking) NowNano() int64 { return t.Now().UnixNano() }

// Tick says when to remove what has expired.
func (ticking) Tick(interval time.Duration) <-chan time.Time {
	return time.Tick(interval) //nolint:forbidigo // When memory is freed is nothing that a test could wait for.
}
