package token

import (
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// Header is what verification uses of the JOSE header (RFC 7515 section 4.1).
type Header struct {
	// Algorithm is the member "alg".
	Algorithm jose.SignatureAlgorithm
	// KeyID is the member "kid".
	KeyID string
	// Type is the member "typ" in lower case and without "application/", as RFC 7515 section 4.1.9 has them compared.
	// Empty when there is none.
	Type string
}

// Generic reports whether the type of the token says no more than that it is a JWT.
func (h Header) Generic() bool { return h.Type == "" || h.Type == "jwt" }

// algorithms are those that any key may have. "none" is not an algorithm.
var algorithms = map[jose.SignatureAlgorithm]bool{
	jose.ES256: true, jose.ES384: true, jose.ES512: true, jose.EdDSA: true,
	jose.RS256: true, jose.RS384: true, jose.RS512: true,
	jose.PS256: true, jose.PS384: true, jose.PS512: true,
	jose.HS256: true, jose.HS384: true, jose.HS512: true,
}

// headersNotAllowed name a key that the token brings along, or change what is signed (RFC 7797). The thumbprints x5t and
// x5t#S256 are harmless: they are not used.
var headersNotAllowed = []string{"jwk", "jku", "x5u", "x5c", "b64"}

// parseHeader reads the decoded header. It returns Allowed, or why it cannot.
func parseHeader(document []byte) (Header, Reason) {
	object, ok := decodeObject(document)
	if !ok {
		return Header{}, Malformed
	}
	in := members{object: object}
	header := Header{
		Algorithm: jose.SignatureAlgorithm(in.text("alg")),
		KeyID:     in.text("kid"),
		Type:      strings.TrimPrefix(strings.ToLower(in.text("typ")), "application/"),
	}
	if in.broken || !in.has("alg") {
		return Header{}, Malformed
	}
	if !algorithms[header.Algorithm] {
		return Header{}, AlgorithmNotAllowed
	}
	for _, name := range headersNotAllowed {
		if in.has(name) {
			return Header{}, HeaderNotAllowed
		}
	}
	if in.has("crit") {
		return Header{}, CriticalUnknown
	}
	if header.KeyID == "" {
		return Header{}, KeyIDMissing
	}
	return header, Allowed
}
