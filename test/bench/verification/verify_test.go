package verification

import (
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyturn/keyturn/internal/token"
	"github.com/keyturn/keyturn/test/bench/stats"
)

const (
	// pool is how many tokens a benchmark takes turns with.
	pool = 256
	// slice is how many of them are verified one way, before the others have their turn. pool is a multiple of it.
	slice = 32
)

var algorithms = []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA, jose.RS256, jose.PS256, jose.HS256}

// contender is a way of verifying a token.
type contender struct {
	name string
	// renew, if it is not nil, is called before the tokens come round again, and not timed.
	renew func()
	// verify verifies the token with this number.
	verify func(b *testing.B, n int)
}

// contenders are:
//
//	raw         the signature check of the standard library alone, on decoded signatures
//	new         a token that was not seen before, and is remembered then
//	forged      a token with a wrong signature
//	seen        a token that is remembered
//
// and other libraries at the same work as new: parsing, signature, iss, aud, exp, nbf and iat, with a leeway.
func contenders(b *testing.B, algorithm jose.SignatureAlgorithm) []contender {
	i := newIssuer(b, algorithm)
	raws := i.mint(b, pool)
	parts, forged := takenApart(b, raws), forge(raws)
	fresh, seen, other := i.verifier(), i.verifier(), i.verifier()
	verifyAll(b, seen, raws, token.Allowed)
	of := func(verify func(*testing.B, string)) func(*testing.B, int) {
		return func(b *testing.B, n int) { verify(b, raws[n]) }
	}
	return []contender{
		{name: "raw", verify: func(b *testing.B, n int) {
			if !parts[n].verifiedBy(i) {
				b.Fatal("the standard library denies the signature")
			}
		}},
		{name: "new", renew: func() { fresh = i.verifier() }, verify: func(b *testing.B, n int) { ours(fresh, token.Allowed)(b, raws[n]) }},
		{name: "forged", verify: func(b *testing.B, n int) { ours(other, token.SignatureInvalid)(b, forged[n]) }},
		{name: "seen", verify: of(ours(seen, token.Allowed))},
		{name: "go-jose", verify: of(goJose(i))},
		{name: "golang-jwt", verify: of(golangJWT(i))},
		{name: "jwx", verify: of(jwx(b, i))},
	}
}

// BenchmarkVerify is for looking at one of them, with a profile.
func BenchmarkVerify(b *testing.B) {
	for _, algorithm := range algorithms {
		b.Run(string(algorithm), func(b *testing.B) {
			for _, c := range contenders(b, algorithm) {
				b.Run(c.name, func(b *testing.B) {
					b.ReportAllocs()
					for n := 0; b.Loop(); n++ {
						if n%pool == 0 && c.renew != nil {
							b.StopTimer()
							c.renew()
							b.StartTimer()
						}
						c.verify(b, n%pool)
					}
				})
			}
		})
	}
}

// BenchmarkSeen is a remembered token by itself.
func BenchmarkSeen(b *testing.B) {
	i := newIssuer(b, jose.ES256)
	raws, v := i.mint(b, pool), i.verifier()
	verifyAll(b, v, raws, token.Allowed)
	verify := ours(v, token.Allowed)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		verify(b, raws[n%pool])
	}
}

// BenchmarkBesideRaw compares them. They take turns every few milliseconds, so that what disturbs the machine disturbs all
// of them, and of each it reports the median time of a slice ("new-ns"), of its ratio to the raw check beside it
// ("new/raw"), and of what it takes more ("new-more-ns").
func BenchmarkBesideRaw(b *testing.B) {
	count := 200
	if testing.Short() {
		count = 2
	}
	for _, algorithm := range algorithms {
		b.Run(string(algorithm), func(b *testing.B) {
			all := contenders(b, algorithm)
			took := map[string][]float64{}
			for b.Loop() {
				for at := range count {
					for _, c := range all {
						took[c.name] = append(took[c.name], c.slice(b, at*slice%pool))
					}
				}
			}
			raw := took["raw"]
			for _, c := range all {
				b.ReportMetric(stats.Median(took[c.name]), c.name+"-ns")
				b.ReportMetric(stats.Median(combined(took[c.name], raw, func(a, b float64) float64 { return a / b })), c.name+"/raw")
				b.ReportMetric(stats.Median(combined(took[c.name], raw, func(a, b float64) float64 { return a - b })), c.name+"-more-ns")
			}
		})
	}
}

// slice returns the nanoseconds for one of the next tokens.
func (c contender) slice(b *testing.B, from int) float64 {
	if from == 0 && c.renew != nil {
		c.renew()
	}
	start := time.Now()
	for n := from; n < from+slice; n++ {
		c.verify(b, n)
	}
	return float64(time.Since(start).Nanoseconds()) / slice
}

func combined(a, b []float64, combine func(a, b float64) float64) []float64 {
	made := make([]float64, len(a))
	for i := range a {
		made[i] = combine(a[i], b[i])
	}
	return made
}

// ours expects the reason of every token.
func ours(v *token.Verifier, reason token.Reason) func(*testing.B, string) {
	return func(b *testing.B, raw string) {
		if got := v.Verify(raw, token.Want{}).Reason; got != reason {
			b.Fatalf("Reason = %s, want %s", got, reason)
		}
	}
}
