package revocation

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

// filledIndex returns an index with so many rules, spread over all kinds, and the facts of a token that none denies.
func filledIndex(rules int) (*Index, Facts) {
	kinds := []Kind{TokenID, SessionID, Subject, ClientID, Audience, KeyID}
	names := map[Kind]string{TokenID: "jti", SessionID: "sid", Subject: "sub", ClientID: "client", Audience: "aud", KeyID: "kid"}
	index := NewIndex()
	for i := range rules {
		kind := kinds[i%len(kinds)]
		index.Put(Rule{
			ID: fmt.Sprintf("00000000-0000-4000-8000-%012d", i), Kind: kind,
			Value: fmt.Sprintf("%s-%d", names[kind], i/len(kinds)), IssuedBefore: noon,
		})
	}
	return index, Facts{
		TokenID: "jti-good", SessionID: "sid-good", Subject: "sub-good", ClientID: "client-good", KeyID: "kid-good",
		Audiences: []string{"aud-good"}, IssuedAt: noon.Add(time.Second),
	}
}

var sizes = []int{0, 1000, 1_000_000}

// A good token with six facts: six look-ups where there are rules, and none where there are not.
func BenchmarkMatch(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprintf("%d-rules", size), func(b *testing.B) {
			index, token := filledIndex(size)
			b.ReportAllocs()
			for b.Loop() {
				index.Match(&token)
			}
		})
	}
}

// One look-up.
func BenchmarkKeyRevoked(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprintf("%d-rules", size), func(b *testing.B) {
			index, _ := filledIndex(size)
			b.ReportAllocs()
			for b.Loop() {
				index.KeyRevoked("kid-good")
			}
		})
	}
}

func BenchmarkMatchParallel(b *testing.B) {
	index, token := filledIndex(1_000_000)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			index.Match(&token)
		}
	})
}

// How much memory a million rules keep.
func BenchmarkMemory(b *testing.B) {
	const rules = 1_000_000
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		index, _ := filledIndex(rules)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/rules, "bytes/rule")
		runtime.KeepAlive(index)
	}
}
