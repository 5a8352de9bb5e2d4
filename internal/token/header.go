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

// clone returns a header that is no part of a document.
func (h *Header) clone() *Header {
	return &Header{
		Algorithm: jose.SignatureAlgorithm(strings.Clone(string(h.Algorithm))),
		KeyID:     strings.Clone(h.KeyID),
		Type:      strings.Clone(h.Type),
	}
}

// size is that of the texts, in bytes.
func (h *Header) size() int { return len(h.Algorithm) + len(h.KeyID) + len(h.Type) }

// algorithms are those that any key may have. "none" is not an algorithm.
var algorithms = map[jose.SignatureAlgorithm]bool{
	jose.ES256: true, jose.ES384: true, jose.ES512: true, jose.EdDSA: true,
	jose.RS256: true, jose.RS384: true, jose.RS512: true,
	jose.PS256: true, jose.PS384: true, jose.PS512: true,
	jose.HS256: true, jose.HS384: true, jose.HS512: true,
}

// parseHeader reads the decoded header. It returns Allowed, or why it cannot.
func parseHeader(document []byte) (Header, Reason) {
	var reader headerReader
	ok := readObject(document, reader.member)
	switch header := reader.header; {
	case !ok, !reader.hasAlgorithm:
		return Header{}, Malformed
	case !algorithms[header.Algorithm]:
		return Header{}, AlgorithmNotAllowed
	case reader.notAllowed:
		return Header{}, HeaderNotAllowed
	case reader.critical:
		return Header{}, CriticalUnknown
	case header.KeyID == "":
		return Header{}, KeyIDMissing
	default:
		return header, Allowed
	}
}

// headerReader also notes which members are there.
type headerReader struct {
	header                             Header
	hasAlgorithm, notAllowed, critical bool
}

func (r *headerReader) member(in *object, name string) {
	switch name {
	case "alg":
		r.header.Algorithm, r.hasAlgorithm = jose.SignatureAlgorithm(in.text()), true
	case "kid":
		r.header.KeyID = in.text()
	case "typ":
		r.header.Type = strings.TrimPrefix(strings.ToLower(in.text()), "application/")
	case "jwk", "jku", "x5u", "x5c", "b64":
		// They name a key that the token brings along, or change what is signed (RFC 7797). The thumbprints x5t and x5t#S256
		// are harmless: they are not used.
		r.notAllowed = true
		in.skip()
	case "crit":
		r.critical = true
		in.skip()
	default:
		in.skip()
	}
}
