package keyring

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// DefaultKeySize is the size of an RSA key in bits where a policy names none.
const DefaultKeySize = 2048

// Generator makes the key of a new Next or Active. Plan takes it as a parameter, because it is the one thing about a
// plan that cannot be repeated.
type Generator func(algorithm jose.SignatureAlgorithm, size int) (Key, error)

// Generate makes a key from the system's randomness. The size counts for RSA algorithms only.
func Generate(algorithm jose.SignatureAlgorithm, size int) (Key, error) {
	material, err := generate(algorithm, size)
	if err != nil {
		return Key{}, fmt.Errorf("generating a key for %s: %w", algorithm, err)
	}
	jwk := jose.JSONWebKey{Key: material, Algorithm: string(algorithm), Use: "sig"}
	jwk.KeyID, err = thumbprint(&jwk)
	if err != nil {
		return Key{}, err
	}
	return Key{ID: jwk.KeyID, Algorithm: algorithm, Size: sizeOf(material), JWK: jwk}, nil
}

func generate(algorithm jose.SignatureAlgorithm, size int) (any, error) {
	switch algorithm {
	case jose.ES256, jose.ES384, jose.ES512:
		return ecdsa.GenerateKey(curves[algorithm], rand.Reader)
	case jose.EdDSA:
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	case jose.HS256, jose.HS384, jose.HS512:
		secret := make([]byte, secretBytes[algorithm])
		_, err := rand.Read(secret)
		return secret, err
	case jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512:
		return rsa.GenerateKey(rand.Reader, rsaSize(algorithm, size))
	default:
		return nil, fmt.Errorf("unknown algorithm %q", algorithm)
	}
}

// curves are those of RFC 7518 section 3.4.
var curves = map[jose.SignatureAlgorithm]elliptic.Curve{
	jose.ES256: elliptic.P256(), jose.ES384: elliptic.P384(), jose.ES512: elliptic.P521(),
}

// secretBytes are the least lengths that RFC 7518 section 3.2 allows: as long as the hash.
var secretBytes = map[jose.SignatureAlgorithm]int{jose.HS256: 32, jose.HS384: 48, jose.HS512: 64}

// rsaSize is the size that a key must have under a policy: 0 for all but RSA.
func rsaSize(algorithm jose.SignatureAlgorithm, size int) int {
	if !strings.HasPrefix(string(algorithm), "RS") && !strings.HasPrefix(string(algorithm), "PS") {
		return 0
	}
	if size == 0 {
		return DefaultKeySize
	}
	return size
}

// sizeOf is the size of an RSA key in bits: 0 for all but RSA.
func sizeOf(material any) int {
	switch key := material.(type) {
	case *rsa.PrivateKey:
		return key.N.BitLen()
	case *rsa.PublicKey:
		return key.N.BitLen()
	default:
		return 0
	}
}

func symmetric(algorithm jose.SignatureAlgorithm) bool {
	return strings.HasPrefix(string(algorithm), "HS")
}

// fits says whether the key material is what the algorithm signs with.
func fits(algorithm jose.SignatureAlgorithm, material any) bool {
	if private, ok := material.(interface{ Public() crypto.PublicKey }); ok {
		material = private.Public()
	}
	switch public := material.(type) {
	case *ecdsa.PublicKey:
		return public.Curve == curves[algorithm]
	case ed25519.PublicKey:
		return algorithm == jose.EdDSA
	case *rsa.PublicKey:
		return rsaSize(algorithm, 0) != 0 && public.N.BitLen() >= DefaultKeySize
	case []byte:
		return symmetric(algorithm) && len(public) >= secretBytes[algorithm]
	default:
		return false
	}
}

// thumbprint is that of RFC 7638. The library computes it for public keys; for a symmetric key section 3.2 hashes the key
// itself, which gives nothing away of one that is random and as long as the hash.
func thumbprint(jwk *jose.JSONWebKey) (string, error) {
	var sum []byte
	var err error
	if secret, ok := jwk.Key.([]byte); ok {
		hash := sha256.Sum256([]byte(`{"k":"` + base64.RawURLEncoding.EncodeToString(secret) + `","kty":"oct"}`))
		sum = hash[:]
	} else {
		sum, err = jwk.Thumbprint(crypto.SHA256)
	}
	if err != nil {
		return "", fmt.Errorf("computing the RFC 7638 thumbprint: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}
