package issuers

import (
	"crypto/sha256"
	"encoding/base64"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/keyring"
	"github.com/keyturn/keyturn/internal/token"
)

// view is everything that readers may ask of one issuer: immutable.
type view struct {
	// issuer is what it was rendered from.
	issuer      *v1alpha1.TokenIssuer
	token       token.Issuer
	publication *Publication
	maxLifetime time.Duration
	// authority is nil for an issuer without sessions.
	authority *Authority

	// ring and policy are for the metrics; ring is nil for an external issuer.
	ring   *keyring.Ring
	policy keyring.Policy
}

// newView renders what is known of an issuer, keeping the pointers of keys that have not changed.
func newView(e *entry) (*view, error) {
	issuer := e.issuer
	v := &view{
		issuer: issuer,
		token: token.Issuer{
			Namespace: issuer.Namespace, Name: issuer.Name, URL: issuer.Spec.IssuerURL,
			Audiences: issuer.Spec.Audiences, Scopes: issuer.Spec.Tokens.RequiredScopes, Types: tokenTypes(issuer),
			ClockSkew: issuer.Spec.Tokens.ClockSkew.Duration, GroupsClaim: issuer.Spec.Tokens.GroupsClaim,
			Revocations: e.rules,
		},
		maxLifetime: MaxLifetime(issuer),
	}
	if issuer.Spec.External != nil {
		set, stale := e.keySet()
		v.token.Keys, v.token.KeysStale, v.token.Refetch = set.Keys, stale, e.refetch
		return v, nil
	}
	v.policy = SigningPolicy(issuer)
	if err := v.useRing(e.ring, e.view, issuer.Spec.Sessions != nil); err != nil {
		return nil, err
	}
	var err error
	v.authority, err = newAuthority(e, v)
	return v, err
}

func (v *view) external() bool { return v.policy.Algorithm == "" }

// useRing takes the keys of our own. Next is among them: a replica whose watch lags must accept what a key signs that
// has just become Active.
func (v *view) useRing(ring *keyring.Ring, before *view, sessions bool) error {
	v.ring = ring
	v.token.Keys = map[string]*token.Key{}
	if ring == nil {
		return nil
	}
	for i := range ring.Keys {
		key := verificationKey(&ring.Keys[i], v.policy.MaxLifetime)
		if before != nil {
			if old := before.token.Keys[key.ID]; old != nil && old.MaxLifetime == key.MaxLifetime {
				key = old
			}
		}
		v.token.Keys[key.ID] = key
	}
	if before != nil && before.ring == ring && before.token.URL == v.token.URL && sessions == (before.authority != nil) {
		v.publication = before.publication // every change of the issuer's status comes by here
		return nil
	}
	var err error
	v.publication, err = newPublication(v.token.URL, ring, sessions)
	return err
}

func verificationKey(key *keyring.Key, maxLifetime time.Duration) *token.Key {
	verification := &token.Key{
		ID: key.ID, Algorithms: []jose.SignatureAlgorithm{key.Algorithm}, MaxLifetime: key.MaxLifetime,
	}
	if key.State == keyring.Next {
		verification.MaxLifetime = maxLifetime
	}
	if secret, ok := key.JWK.Key.([]byte); ok {
		verification.Public = secret
	} else {
		public := key.JWK.Public()
		verification.Public = public.Key
	}
	return verification
}

// newPublication renders the documents of an issuer of our own. The max-age is the ring's: what it has counted with.
func newPublication(issuerURL string, ring *keyring.Ring, sessions bool) (*Publication, error) {
	jwks, err := ring.JWKS()
	if err != nil {
		return nil, err
	}
	discovery, err := newMetadata(issuerURL, ring, sessions)
	if err != nil {
		return nil, err
	}
	return &Publication{
		IssuerURL: issuerURL, JWKS: newDocument(jwks), Discovery: newDocument(discovery), MaxAge: ring.MaxAge,
	}, nil
}

// JWKSURL is where the JWKS of an issuer of our own is served.
func JWKSURL(issuerURL string) string { return issuerURL + "/.well-known/jwks.json" }

func newDocument(body []byte) Document {
	sum := sha256.Sum256(body)
	return Document{Body: body, ETag: `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`}
}

// older says whether a keeps a URL that both claim.
func older(a, b *v1alpha1.TokenIssuer) bool {
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.CreationTimestamp.Before(&b.CreationTimestamp)
	}
	if a.Namespace != b.Namespace {
		return a.Namespace < b.Namespace
	}
	return a.Name < b.Name
}

// URLOwner returns the one of several issuers that keeps a URL that they share: the oldest.
func URLOwner(issuers []v1alpha1.TokenIssuer) *v1alpha1.TokenIssuer {
	var owner *v1alpha1.TokenIssuer
	for i := range issuers {
		if owner == nil || older(&issuers[i], owner) {
			owner = &issuers[i]
		}
	}
	return owner
}
