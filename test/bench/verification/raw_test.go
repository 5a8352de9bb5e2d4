package verification

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"math/big"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// signed is a token taken apart: what is signed, and the signature.
type signed struct{ text, signature []byte }

func takenApart(b *testing.B, raws []string) []signed {
	b.Helper()
	parts := make([]signed, len(raws))
	for n, raw := range raws {
		cut := strings.LastIndexByte(raw, '.')
		signature, err := base64.RawURLEncoding.DecodeString(raw[cut+1:])
		if err != nil {
			b.Fatal(err)
		}
		parts[n] = signed{[]byte(raw[:cut]), signature}
	}
	return parts
}

func (s signed) verifiedBy(i *issuer) bool {
	switch public := i.public.(type) {
	case *ecdsa.PublicKey:
		half := len(s.signature) / 2
		r, t := new(big.Int).SetBytes(s.signature[:half]), new(big.Int).SetBytes(s.signature[half:])
		sum := sha256.Sum256(s.text)
		return ecdsa.Verify(public, sum[:], r, t)
	case ed25519.PublicKey:
		return ed25519.Verify(public, s.text, s.signature)
	case *rsa.PublicKey:
		sum := sha256.Sum256(s.text)
		if i.algorithm == jose.PS256 {
			return rsa.VerifyPSS(public, crypto.SHA256, sum[:], s.signature, nil) == nil
		}
		return rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], s.signature) == nil
	}
	mac := hmac.New(sha256.New, i.public.([]byte))
	mac.Write(s.text)
	return hmac.Equal(mac.Sum(nil), s.signature)
}
