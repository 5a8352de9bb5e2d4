package verification

import (
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyturn/keyturn/internal/token"
)

// pool is how many tokens a benchmark takes turns with.
const pool = 256

// BenchmarkVerify compares, for each algorithm:
//
//	raw         the signature check of the standard library alone, on decoded signatures
//	new         a token that was not seen before, and is remembered then
//	seen        a token that is remembered
//	forged      a token with a wrong signature
//
// and other libraries at the same work as new: parsing, signature, iss, aud, exp, nbf and iat, with a leeway.
func BenchmarkVerify(b *testing.B) {
	for _, algorithm := range []jose.SignatureAlgorithm{
		jose.ES256, jose.ES384, jose.EdDSA, jose.RS256, jose.PS256, jose.HS256,
	} {
		b.Run(string(algorithm), func(b *testing.B) {
			i := newIssuer(b, algorithm)
			raws := i.mint(b, pool)
			b.Run("raw", func(b *testing.B) { benchmarkRaw(b, i, raws) })
			b.Run("new", func(b *testing.B) { benchmarkNew(b, i, raws) })
			b.Run("seen", func(b *testing.B) {
				verify := ours(i.verifier(), token.Allowed)
				for _, raw := range raws {
					verify(b, raw)
				}
				benchmark(b, raws, verify)
			})
			b.Run("forged", func(b *testing.B) {
				benchmark(b, forge(raws), ours(i.verifier(), token.SignatureInvalid))
			})
			b.Run("go-jose", func(b *testing.B) { benchmark(b, raws, goJose(i)) })
			b.Run("golang-jwt", func(b *testing.B) { benchmark(b, raws, golangJWT(i)) })
			b.Run("jwx", func(b *testing.B) { benchmark(b, raws, jwx(b, i)) })
		})
	}
}

// benchmark verifies the tokens in turn.
func benchmark(b *testing.B, raws []string, verify func(*testing.B, string)) {
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		verify(b, raws[n%len(raws)])
	}
}

// benchmarkNew takes another verifier whenever all tokens were seen.
func benchmarkNew(b *testing.B, i *issuer, raws []string) {
	b.ReportAllocs()
	var verify func(*testing.B, string)
	for n := 0; b.Loop(); n++ {
		if n%len(raws) == 0 {
			b.StopTimer()
			verify = ours(i.verifier(), token.Allowed)
			b.StartTimer()
		}
		verify(b, raws[n%len(raws)])
	}
}

// ours expects the reason of every token.
func ours(v *token.Verifier, reason token.Reason) func(*testing.B, string) {
	return func(b *testing.B, raw string) {
		if got := v.Verify(raw, token.Want{}).Reason; got != reason {
			b.Fatalf("Reason = %s, want %s", got, reason)
		}
	}
}
