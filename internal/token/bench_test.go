package token

import (
	"runtime"
	"testing"
)

// BenchmarkCacheMemory reports what a remembered token really keeps, beside what it is taken to weigh. What tokens cost
// in time is measured in test/bench/verification.
func BenchmarkCacheMemory(b *testing.B) {
	const count = 20_000
	made := tokens(b, count)
	w := newWorld()
	for b.Loop() {
		v := NewVerifier(w, w.clock, Options{MaxBytes: 1 << 30, MaxEntries: 1 << 30})
		before := heap()
		for _, raw := range made {
			v.Verify(raw, Want{})
		}
		if got := v.cached(); got != count {
			b.Fatalf("%d tokens remembered, want %d", got, count)
		}
		b.ReportMetric((heap()-before)/count, "bytes/token")
		b.ReportMetric(float64(v.cache.entries.WeightedSize())/count, "weight/token")
		runtime.KeepAlive(v)
	}
	runtime.KeepAlive(made)
}

func heap() float64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return float64(stats.HeapAlloc)
}
