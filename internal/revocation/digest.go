package revocation

import (
	"hash/maphash"
	"math"
	"time"
)

// digest stands for a text of any length: two hashes of 64 bits with a seed each. Two texts have the same one by a
// chance of 2 to the power of -128. It is no cryptography, but the seeds are random and differ in each index, so that
// there is nothing to calculate such texts from. What would come of them is one token denied for the revocation of
// another.
type digest [2]uint64

func (d digest) less(other digest) bool {
	return d[0] < other[0] || d[0] == other[0] && d[1] < other[1]
}

// secret are the seeds of an index.
type secret [2]maphash.Seed

func newSecret() secret { return secret{maphash.MakeSeed(), maphash.MakeSeed()} }

// digest tells kinds apart too: the same value may be a subject and a client. Kind 0 is for the IDs of rules.
func (s secret) digest(kind Kind, text string) digest {
	return digest{maphash.String(s[0], text) ^ uint64(kind), maphash.String(s[1], text)}
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
