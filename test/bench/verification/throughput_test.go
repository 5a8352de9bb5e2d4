package verification

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"k8s.io/utils/clock"

	"github.com/keyturn/keyturn/internal/token"
)

// BenchmarkThroughput verifies ES256 tokens on one core and on two at once: seen ones, new ones, and a mix in which each
// tenth is new. The new ones are so many more than the cache holds that they are forgotten before they come again. It
// reports "verifications/s". With no lock that all share, two cores do twice the work of one.
func BenchmarkThroughput(b *testing.B) {
	i := newIssuer(b, jose.ES256)
	hot, cold := i.mint(b, pool), i.mint(b, 64*pool)
	for _, load := range []struct {
		name     string
		newOfTen int
	}{{"seen", 0}, {"mixed", 1}, {"new", 10}} {
		for _, cores := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/cores=%d", load.name, cores), func(b *testing.B) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
				v := token.NewVerifier(i, clock.RealClock{}, token.Options{MaxEntries: 2 * pool})
				verifyAll(b, v, hot, token.Allowed)
				b.ReportAllocs()
				var workers atomic.Int64
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					// They do not ask for the same token at the same time.
					for n := int(workers.Add(1)) * (len(cold)/4 + pool/2); pb.Next(); n++ {
						raw := hot[n%len(hot)]
						if n%10 < load.newOfTen {
							raw = cold[n%len(cold)]
						}
						if got := v.Verify(raw, token.Want{}).Reason; got != token.Allowed {
							b.Errorf("Reason = %s, want %s", got, token.Allowed)
							return
						}
					}
				})
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "verifications/s")
			})
		}
	}
}
