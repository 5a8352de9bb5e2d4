package verification

import (
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	golangjwt "github.com/golang-jwt/jwt/v5"
	"github.com/lestrrat-go/jwx/v3/jwa"
	jwxjwt "github.com/lestrrat-go/jwx/v3/jwt"
)

// Each library gets the key at hand and options that are made once, as a service that knows its one issuer would have it.

func goJose(i *issuer) func(*testing.B, string) {
	algorithms := []jose.SignatureAlgorithm{i.algorithm}
	return func(b *testing.B, raw string) {
		parsed, err := jwt.ParseSigned(raw, algorithms)
		if err != nil {
			b.Fatal(err)
		}
		var claims jwt.Claims
		if err := parsed.Claims(i.public, &claims); err != nil {
			b.Fatal(err)
		}
		expected := jwt.Expected{Issuer: issuerURL, AnyAudience: jwt.Audience{audience}, Time: time.Now()}
		if err := claims.ValidateWithLeeway(expected, skew); err != nil {
			b.Fatal(err)
		}
	}
}

func golangJWT(i *issuer) func(*testing.B, string) {
	parser := golangjwt.NewParser(
		golangjwt.WithValidMethods([]string{string(i.algorithm)}), golangjwt.WithIssuer(issuerURL),
		golangjwt.WithAudience(audience), golangjwt.WithExpirationRequired(), golangjwt.WithIssuedAt(),
		golangjwt.WithLeeway(skew),
	)
	key := func(*golangjwt.Token) (any, error) { return i.public, nil }
	return func(b *testing.B, raw string) {
		if _, err := parser.ParseWithClaims(raw, &golangjwt.RegisteredClaims{}, key); err != nil {
			b.Fatal(err)
		}
	}
}

func jwx(b *testing.B, i *issuer) func(*testing.B, string) {
	algorithm, ok := jwa.LookupSignatureAlgorithm(string(i.algorithm))
	if !ok {
		b.Fatalf("jwx does not know %s", i.algorithm)
	}
	// It checks exp, nbf and iat without being asked to.
	options := []jwxjwt.ParseOption{
		jwxjwt.WithKey(algorithm, i.public), jwxjwt.WithIssuer(issuerURL), jwxjwt.WithAudience(audience),
		jwxjwt.WithRequiredClaim(jwxjwt.ExpirationKey), jwxjwt.WithAcceptableSkew(skew),
	}
	return func(b *testing.B, raw string) {
		if _, err := jwxjwt.ParseString(raw, options...); err != nil {
			b.Fatal(err)
		}
	}
}
