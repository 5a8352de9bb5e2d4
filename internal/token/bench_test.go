package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	"encoding/base64"
	"math/big"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	golangjwt "github.com/golang-jwt/jwt/v5"
)

var benchmarked = []jose.SignatureAlgorithm{
	jose.ES256, jose.ES384, jose.ES512, jose.EdDSA, jose.RS256, jose.PS256, jose.HS256,
}

// BenchmarkVerify compares, for each algorithm: raw, only the signature check of the standard library on a decoded
// signature; new, a token that is not remembered; seen, one that is; and two libraries at the same work as new.
func BenchmarkVerify(b *testing.B) {
	for _, algorithm := range benchmarked {
		b.Run(string(algorithm), func(b *testing.B) {
			raw := goodToken(b, algorithm)
			b.Run("raw", func(b *testing.B) { benchmarkRaw(b, algorithm, raw) })
			b.Run("new", func(b *testing.B) { benchmarkVerifier(b, raw, Options{MaxEntries: -1}) })
			b.Run("seen", func(b *testing.B) { benchmarkVerifier(b, raw, Options{}) })
			b.Run("go-jose", func(b *testing.B) { benchmarkGoJose(b, algorithm, raw) })
			b.Run("golang-jwt", func(b *testing.B) { benchmarkGolangJWT(b, algorithm, raw) })
		})
	}
}

// BenchmarkVerifyParallel shows what readers of the cache cost one another.
func BenchmarkVerifyParallel(b *testing.B) {
	w := newWorld()
	v := w.verifier()
	raw := goodToken(b, jose.ES256)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if got := v.Verify(raw, Want{}).Reason; got != Allowed {
				b.Error(got)
				return
			}
		}
	})
}

// BenchmarkCacheMemory reports what a remembered token really keeps, beside what it is taken to weigh.
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

func benchmarkVerifier(b *testing.B, raw string, options Options) {
	w := newWorld()
	v := NewVerifier(w, w.clock, options)
	v.Verify(raw, Want{})
	b.ReportAllocs()
	for b.Loop() {
		if got := v.Verify(raw, Want{}).Reason; got != Allowed {
			b.Fatal(got)
		}
	}
}

func benchmarkRaw(b *testing.B, algorithm jose.SignatureAlgorithm, raw string) {
	cut := strings.LastIndexByte(raw, '.')
	text := []byte(raw[:cut])
	made, err := base64.RawURLEncoding.DecodeString(raw[cut+1:])
	if err != nil {
		b.Fatal(err)
	}
	public := newKey(algorithm).Public
	b.ReportAllocs()
	for b.Loop() {
		if !verifiedByStandardLibrary(algorithm, public, text, made) {
			b.Fatal("the standard library denies the signature")
		}
	}
}

func verifiedByStandardLibrary(algorithm jose.SignatureAlgorithm, public any, text, made []byte) bool {
	var sum []byte
	if hash, ok := hashes[algorithm]; ok {
		sum = hashed(hash, text)
	}
	switch public := public.(type) {
	case *ecdsa.PublicKey:
		half := len(made) / 2
		return ecdsa.Verify(public, sum, new(big.Int).SetBytes(made[:half]), new(big.Int).SetBytes(made[half:]))
	case ed25519.PublicKey:
		return ed25519.Verify(public, text, made)
	case *rsa.PublicKey:
		if algorithm == jose.PS256 {
			return rsa.VerifyPSS(public, crypto.SHA256, sum, made, nil) == nil
		}
		return rsa.VerifyPKCS1v15(public, crypto.SHA256, sum, made) == nil
	}
	return hmac.Equal(hmacSHA256(public.([]byte), text), made)
}

func benchmarkGoJose(b *testing.B, algorithm jose.SignatureAlgorithm, raw string) {
	public := newKey(algorithm).Public
	expected := jwt.Expected{Issuer: issuerURL, AnyAudience: jwt.Audience{"shop-api"}, Time: noon}
	b.ReportAllocs()
	for b.Loop() {
		parsed, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{algorithm})
		if err != nil {
			b.Fatal(err)
		}
		var claims jwt.Claims
		if err := parsed.Claims(public, &claims); err != nil {
			b.Fatal(err)
		}
		if err := claims.ValidateWithLeeway(expected, 30*time.Second); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkGolangJWT(b *testing.B, algorithm jose.SignatureAlgorithm, raw string) {
	public := newKey(algorithm).Public
	parser := golangjwt.NewParser(
		golangjwt.WithValidMethods([]string{string(algorithm)}), golangjwt.WithIssuer(issuerURL),
		golangjwt.WithAudience("shop-api"), golangjwt.WithLeeway(30*time.Second), golangjwt.WithIssuedAt(),
		golangjwt.WithTimeFunc(func() time.Time { return noon }),
	)
	b.ReportAllocs()
	for b.Loop() {
		_, err := parser.ParseWithClaims(raw, &golangjwt.RegisteredClaims{}, func(*golangjwt.Token) (any, error) {
			return public, nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
