package token

import "github.com/go-jose/go-jose/v4"

// verifySignature reports whether the key made the signature of a token that decode has accepted. The algorithm was
// found among those of the key before; the library checks again that it fits the type, and for ECDSA the curve, of the
// key (RFC 8725 section 3.1).
func verifySignature(raw string, key *Key) bool {
	signed, err := jose.ParseSignedCompact(raw, key.Algorithms)
	if err != nil {
		return false
	}
	_, err = signed.Verify(key.Public)
	return err == nil
}
