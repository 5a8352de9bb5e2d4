package keyring

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// PublicKeys returns the keys of the JWKS: the public half of every asymmetric key, the active one first.
func (r *Ring) PublicKeys() jose.JSONWebKeySet {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for i := range r.Keys {
		if key := &r.Keys[i]; !key.Symmetric() {
			set.Keys = append(set.Keys, key.JWK.Public())
		}
	}
	return set
}

// JWKS renders the JWK Set (RFC 7517 section 5). The same ring renders the same bytes.
func (r *Ring) JWKS() ([]byte, error) {
	rendered, err := json.Marshal(r.PublicKeys())
	if err != nil {
		return nil, fmt.Errorf("rendering the JWKS: %w", err)
	}
	return rendered, nil
}

// PublishedIDs reads the key ids back from a rendered JWKS. What cannot be read holds none.
func PublishedIDs(jwks []byte) []string {
	var set struct {
		Keys []struct {
			ID string `json:"kid"`
		} `json:"keys"`
	}
	if json.Unmarshal(jwks, &set) != nil {
		return nil
	}
	var ids []string
	for _, key := range set.Keys {
		ids = append(ids, key.ID)
	}
	return ids
}

// SigningKey is a private key in the forms that signers read. Never log one.
type SigningKey struct {
	// PEM is PKCS#8 (RFC 5208); nil for a symmetric key.
	PEM []byte
	// JWK is RFC 7517.
	JWK []byte
	// Bytes is a symmetric key as it is; nil for others.
	Bytes []byte
}

// ExportPrivate renders the private half of a key for those who sign with it.
func (k *Key) ExportPrivate() (SigningKey, error) {
	jwk, err := json.Marshal(k.JWK)
	if err != nil || !k.Symmetric() && k.JWK.IsPublic() {
		return SigningKey{}, errors.New("rendering the signing key: the ring does not hold it as a private key")
	}
	if secret, ok := k.JWK.Key.([]byte); ok {
		return SigningKey{JWK: jwk, Bytes: secret}, nil
	}
	der, err := x509.MarshalPKCS8PrivateKey(k.JWK.Key)
	if err != nil {
		return SigningKey{}, fmt.Errorf("rendering the signing key as PKCS#8: %w", err)
	}
	return SigningKey{JWK: jwk, PEM: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})}, nil
}
