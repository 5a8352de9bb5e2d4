package verification

import (
	"runtime"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyturn/keyturn/internal/token"
	"github.com/keyturn/keyturn/test/bench/stats"
)

// BenchmarkFlood lets a verifier remember good tokens, and sends it a flood of distinct tokens with wrong signatures. It
// reports the share of the good ones that are remembered after it ("cached/good"), and by how much the heap has grown
// ("heap-growth-B"); ns/op is the whole flood.
func BenchmarkFlood(b *testing.B) {
	good, flood := 10_000, 50_000
	if testing.Short() {
		good, flood = 100, 500
	}
	i := newIssuer(b, jose.ES256)
	raws, forged := i.mint(b, good), forge(i.mint(b, flood))
	for b.Loop() {
		b.StopTimer()
		v := i.verifier()
		verifyAll(b, v, raws, token.Allowed)
		before := stats.Heap()
		b.StartTimer()
		verifyAll(b, v, forged, token.SignatureInvalid)
		b.StopTimer()
		growth := stats.Heap() - before
		b.ReportMetric(float64(cached(b, v, raws))/float64(good), "cached/good")
		b.ReportMetric(float64(growth), "heap-growth-B")
		b.StartTimer()
	}
	// What is made before the benchmark would otherwise be freed in the middle of it.
	runtime.KeepAlive(raws)
	runtime.KeepAlive(forged)
}

func verifyAll(b *testing.B, v *token.Verifier, raws []string, reason token.Reason) {
	verify := ours(v, reason)
	for _, raw := range raws {
		verify(b, raw)
	}
}

// cached counts the tokens that the verifier remembers: they cost no allocation, while a new one costs dozens. A few are
// let pass, because the cache tidies up at the same time.
func cached(b *testing.B, v *token.Verifier, raws []string) int {
	count, verify := 0, ours(v, token.Allowed)
	var before, after runtime.MemStats
	for _, raw := range raws {
		runtime.ReadMemStats(&before)
		verify(b, raw)
		runtime.ReadMemStats(&after)
		if after.Mallocs-before.Mallocs < 20 {
			count++
		}
	}
	return count
}
