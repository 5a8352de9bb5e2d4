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
	// IssuedAt and Expiry are "iat" and "exp", in whole seconds, since many readers know no others. "nbf" is "iat".
	IssuedAt, Expiry time.Time
	// Extra are further claims. Those that Keyturn sets itself are not taken from here.
	Extra map[string]any
}

// Signer signs access tokens with one key. It is immutable and safe for concurrent use.
type Signer struct {
	keyID       string
	signer      jose.Signer
	maxLifetime time.Duration
}

// NewSigner returns a signer with a private or symmetric key, which signs by this algorithm alone, and nothing that lives
// longer than maxLifetime: verifiers hold the key to it, and it leaves the JWKS when the last such token has expired.
func NewSigner(key *jose.JSONWebKey, algorithm jose.SignatureAlgorithm, maxLifetime time.Duration) (*Signer, error) {
	options := (&jose.SignerOptions{}).WithType(accessTokenType).WithHeader("kid", key.KeyID)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key.Key}, options)
	if err != nil {
		return nil, fmt.Errorf("preparing the key %s to sign: %w", key.KeyID, err)
	}
	return &Signer{keyID: key.KeyID, signer: signer, maxLifetime: maxLifetime}, nil
}

// KeyID is the value of the header "kid".
func (s *Signer) KeyID() string { return s.keyID }

// Sign returns the token in its compact form, with an id (claim "jti") of its own. It cuts the times of t to what the token
// says, and t.Expiry to what the key may vouch for.
func (s *Signer) Sign(t *AccessToken) (string, error) {
	t.IssuedAt, t.Expiry = t.IssuedAt.UTC().Truncate(time.Second), t.Expiry.UTC().Truncate(time.Second)
	if latest := t.IssuedAt.Add(s.maxLifetime); t.Expiry.After(latest) {
		t.Expiry = latest.Truncate(time.Second)
	}
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
