package token

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
)

// methods check a signature and nothing else. go-jose does so only together with parsing the token, which was parsed and
// checked before: that would be half of what a new token costs beside the arithmetic.
var methods = map[jose.SignatureAlgorithm]jwt.SigningMethod{
	jose.ES256: jwt.SigningMethodES256, jose.ES384: jwt.SigningMethodES384, jose.ES512: jwt.SigningMethodES512,
	jose.EdDSA: jwt.SigningMethodEdDSA,
	jose.RS256: jwt.SigningMethodRS256, jose.RS384: jwt.SigningMethodRS384, jose.RS512: jwt.SigningMethodRS512,
	jose.PS256: jwt.SigningMethodPS256, jose.PS384: jwt.SigningMethodPS384, jose.PS512: jwt.SigningMethodPS512,
	jose.HS256: jwt.SigningMethodHS256, jose.HS384: jwt.SigningMethodHS384, jose.HS512: jwt.SigningMethodHS512,
}

// curves are those that the ECDSA algorithms are defined for (RFC 7518 section 3.4), which the library leaves to us.
var curves = map[jose.SignatureAlgorithm]elliptic.Curve{
	jose.ES256: elliptic.P256(), jose.ES384: elliptic.P384(), jose.ES512: elliptic.P521(),
}

// verifySignature reports whether the key made the signature of a token that decode has accepted. The algorithm was
// found among those of the key before; here it has to fit the type of the key too, and for ECDSA the curve (RFC 8725
// section 3.1).
func verifySignature(raw string, signature []byte, algorithm jose.SignatureAlgorithm, key *Key) bool {
	method, end := methods[algorithm], strings.LastIndexByte(raw, '.')
	if method == nil || end < 0 {
		return false
	}
	if public, ok := key.Public.(*ecdsa.PublicKey); ok && public.Curve != curves[algorithm] {
		return false
	}
	return method.Verify(raw[:end], signature, key.Public) == nil
}
