package revocation

import (
	"crypto/rand"
	"encoding/binary"
	"math"
	"time"
	"unsafe"

	"github.com/dchest/siphash"
)

// digest stands for a text of any length: its SipHash-2-4 of 128 bits. Two texts have the same one with a probability of
// 2 to the power of -128, and nobody can look for such texts without the secret, which differs in each index. What would
// come of it is one token denied for the revocation of another.
type digest [2]uint64

func (d digest) less(other digest) bool {
	return d[0] < other[0] || d[0] == other[0] && d[1] < other[1]
}

// secret is a key of SipHash.
type secret [2]uint64

func newSecret() secret {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails
	return secret{binary.LittleEndian.Uint64(random[:8]), binary.LittleEndian.Uint64(random[8:])}
}

// digest tells kinds apart too: the same value may be a subject and a client. Kind 0 is for the IDs of rules.
func (s secret) digest(kind Kind, text string) digest {
	// Not []byte(text), which would copy it. Nothing writes to the bytes.
	//nolint:gosec // See above: the bytes are only read, and only while the string lives.
	low, high := siphash.Hash128(s[0]^uint64(kind), s[1], unsafe.Slice(unsafe.StringData(text), len(text)))
	return digest{low, high}
}

// moment is a time in nanoseconds since 1970, or the beginning or the end of time.
type moment int64

func momentOf(t time.Time) moment {
	switch seconds := t.Unix(); {
	case seconds <= math.MinInt64/int64(time.Second):
		return math.MinInt64
	case seconds >= math.MaxInt64/int64(time.Second):
		return math.MaxInt64
	}
	return moment(t.UnixNano())
}

func (m moment) time() time.Time { return time.Unix(0, int64(m)).UTC() }
