package token

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// accessTokenType is the value of "typ" (RFC 9068 section 2.1).
const accessTokenType = "at+jwt"

// idBytes is the size of "jti": enough that two are never alike.
const idBytes = 16

// AccessToken is what an access token says (RFC 9068 section 2.2).
type AccessToken struct {
	Issuer, Subject, ClientID, SessionID string
	Audiences, Scopes                    []string
	// IssuedAt and Expiry are cut to whole seconds, since readers of "iat" and "exp" often know no others.
	IssuedAt, Expiry time.Time
	// Extra are further claims. Those that Keyturn sets itself are not taken from here.
	Extra map[string]any
}

// Signer signs access tokens with one key. It is immutable and safe for concurrent use.
type Signer struct {
	keyID  string
	signer jose.Signer
}

// NewSigner returns a signer with a private or symmetric key, which signs by this algorithm alone.
func NewSigner(key *jose.JSONWebKey, algorithm jose.SignatureAlgorithm) (*Signer, error) {
	options := (&jose.SignerOptions{}).WithType(accessTokenType).WithHeader("kid", key.KeyID)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key.Key}, options)
	if err != nil {
		return nil, fmt.Errorf("preparing the key %s to sign: %w", key.KeyID, err)
	}
	return &Signer{keyID: key.KeyID, signer: signer}, nil
}

// KeyID is the value of the header "kid".
func (s *Signer) KeyID() string { return s.keyID }

// Sign returns the token in its compact form, with an id (claim "jti") of its own.
func (s *Signer) Sign(t *AccessToken) (string, error) {
	payload, err := json.Marshal(t.claims())
	if err != nil {
		return "", fmt.Errorf("rendering the claims of an access token: %w", err)
	}
	signed, err := s.signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("signing an access token with the key %s: %w", s.keyID, err)
	}
	return signed.CompactSerialize()
}

func (t *AccessToken) claims() map[string]any {
	claims := make(map[string]any, len(t.Extra)+10)
	for name, value := range t.Extra {
		claims[name] = value
	}
	claims["iss"], claims["sub"], claims["client_id"], claims["sid"] = t.Issuer, t.Subject, t.ClientID, t.SessionID
	// A list also for one: whoever reads a list only (RFC 9068 section 2.2 allows both) is right either way.
	claims["aud"] = t.Audiences
	claims["iat"], claims["nbf"], claims["exp"] = t.IssuedAt.Unix(), t.IssuedAt.Unix(), t.Expiry.Unix()
	claims["jti"] = newTokenID()
	delete(claims, "scope")
	if len(t.Scopes) > 0 {
		claims["scope"] = strings.Join(t.Scopes, " ")
	}
	return claims
}

func newTokenID() string {
	var id [idBytes]byte
	_, _ = rand.Read(id[:]) // It never fails: it ends the program instead.
	return base64.RawURLEncoding.EncodeToString(id[:])
}
