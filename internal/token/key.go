package token

import (
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyturn/keyturn/internal/revocation"
)

// Key verifies signatures. It is immutable and compared by its pointer: a snapshot that keeps a key keeps the pointer,
// so that a cached signature stays attached to the very key that made it.
type Key struct {
	// ID is the value of the header "kid" that selects the key.
	ID string
	// Algorithms are what the key may verify: exactly one for a key of our own.
	Algorithms []jose.SignatureAlgorithm
	// Public is an *ecdsa.PublicKey, *rsa.PublicKey, ed25519.PublicKey, or []byte for HMAC.
	Public any
	// MaxLifetime is the longest "exp" - "iat" that the key may vouch for.
	MaxLifetime time.Duration
}

// Issuer is what verification must know of one issuer: an immutable snapshot.
type Issuer struct {
	// Namespace and Name are those of the TokenIssuer.
	Namespace, Name string
	// URL is the value of the claim "iss".
	URL string
	// Keys are the verification keys by id.
	Keys map[string]*Key
	// KeysStale is true when the keys of an external issuer are older than its policy allows: nothing verifies.
	KeysStale bool
	// Audiences are the accepted values of "aud" where a request names none: one of them must be there.
	Audiences []string
	// Scopes must all be there where a request names none.
	Scopes []string
	// Types are the accepted values of the header "typ": lower case, without "application/"; "" for a token without.
	Types []string
	// ClockSkew is the leeway for exp, nbf and iat.
	ClockSkew time.Duration
	// GroupsClaim names the claim that holds the groups of the subject.
	GroupsClaim string
	// Revocations are asked on every request.
	Revocations *revocation.Index
	// Refetch, for an external issuer, fetches its keys anew because a token names one that is not in Keys, and returns
	// the snapshot after it; at most once a second, and waiting for 2 seconds at most. Nil for an issuer of our own.
	Refetch func(keyID string) *Issuer
}

// is reports whether this is the issuer that Want.Issuers names so.
func (i *Issuer) is(named string) bool {
	namespace, name, _ := strings.Cut(named, "/")
	return namespace == i.Namespace && name == i.Name
}

// Directory finds issuers. It is safe for concurrent use and takes no lock.
type Directory interface {
	// Synced is false until everything that the API server knew at the start has been applied.
	Synced() bool
	// ByURL returns the issuer with this URL, or nil.
	ByURL(url string) *Issuer
}
