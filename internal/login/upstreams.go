package login

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"k8s.io/utils/clock"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/remotejwks"
)

// maxIDTokenBytes bounds an ID token. Long lists of groups make some large.
const maxIDTokenBytes = 16 << 10

// upstreamAlgorithms are those that an ID token may be signed with. Symmetric ones are not among them, whose key would
// be the secret of a client (OpenID Connect Core 1.0 section 10.1), and neither is "none".
var upstreamAlgorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

// UpstreamOptions are what Upstreams need. The zero value works.
type UpstreamOptions struct {
	// Clock is the time of everything here. Default: the real one.
	Clock clock.Clock
	// AllowedInternal are the internal networks in which an issuer may be, from --allow-internal-addresses.
	AllowedInternal []netip.Prefix
}

// Upstreams authenticate people by ID tokens of other issuers. It is safe for concurrent use.
type Upstreams struct {
	clock clock.Clock
	keys  *upstreamKeys
}

// NewUpstreams returns what authenticates by ID tokens. It fetches nothing before there is one to check.
func NewUpstreams(options UpstreamOptions) *Upstreams {
	if options.Clock == nil {
		options.Clock = clock.RealClock{}
	}
	return &Upstreams{clock: options.Clock, keys: newUpstreamKeys(options)}
}

// Authenticate says whom the ID token is about, if one of the upstreams has issued it to one of the clients that are
// accepted from it. The errors are ErrRefused, ErrUnavailable, and ErrNotOffered without any upstream.
//
// Nothing is fetched for an issuer that is not listed, nor for a token that would be refused whoever has signed it.
func (u *Upstreams) Authenticate(
	ctx context.Context, specs []v1alpha1.UpstreamLogin, idToken string,
) (Identity, error) {
	if len(specs) == 0 {
		return Identity{}, ErrNotOffered
	}
	presented, err := readUnverified(idToken, maxIDTokenBytes)
	if err != nil {
		return Identity{}, fmt.Errorf("%w: the ID token: %w", ErrRefused, err)
	}
	spec := issuedBy(specs, presented.claims)
	if spec == nil {
		return Identity{}, fmt.Errorf("%w: the ID token is of an issuer that is not in spec.sessions.login.upstreams",
			ErrRefused)
	}
	if _, err := presented.identify(spec, u.clock.Now()); err != nil {
		return Identity{}, fmt.Errorf("%w: the ID token of %s: %w", ErrRefused, spec.IssuerURL, err)
	}
	keyID, _ := presented.header.text("kid")
	set, err := u.keys.get(ctx, spec, keyID)
	if err != nil {
		return Identity{}, err
	}
	identity, err := u.verify(ctx, spec, set, idToken, presented.header)
	if err != nil {
		return Identity{}, fmt.Errorf("%w: the ID token of %s: %w", ErrRefused, spec.IssuerURL, err)
	}
	return identity, nil
}

// issuedBy returns the upstream that the token says it is from. Issuers are compared exactly (OpenID Connect Core 1.0
// section 3.1.3.7).
func issuedBy(specs []v1alpha1.UpstreamLogin, presented claims) *v1alpha1.UpstreamLogin {
	issuer, found := presented.text("iss")
	for i := range specs {
		if found && specs[i].IssuerURL == issuer {
			return &specs[i]
		}
	}
	return nil
}

// verify checks everything: signature, issuer and times, and then once more, now in what was signed, what was looked at
// before only to save work.
func (u *Upstreams) verify(
	ctx context.Context, spec *v1alpha1.UpstreamLogin, set *remotejwks.Set, idToken string, header claims,
) (Identity, error) {
	// The library knows one client; identify checks several.
	config := &oidc.Config{SkipClientIDCheck: true, Now: u.clock.Now}
	for _, algorithm := range upstreamAlgorithms {
		config.SupportedSigningAlgs = append(config.SupportedSigningAlgs, string(algorithm))
	}
	verified, err := oidc.NewVerifier(spec.IssuerURL, keySet{set}, config).Verify(ctx, idToken)
	if err != nil {
		return Identity{}, err
	}
	var payload json.RawMessage
	if err := verified.Claims(&payload); err != nil {
		return Identity{}, fmt.Errorf("reading its claims: %w", err)
	}
	signed, err := readClaims(payload)
	if err != nil {
		return Identity{}, err
	}
	return unverified{header: header, claims: signed}.identify(spec, u.clock.Now())
}

// keySet verifies with the keys of an upstream, each with none but its own algorithms (RFC 8725 section 3.1).
type keySet struct{ set *remotejwks.Set }

var errSignature = errors.New("no key of the issuer has made its signature")

// VerifySignature implements oidc.KeySet. The header "kid" selects the key.
func (k keySet) VerifySignature(_ context.Context, idToken string) ([]byte, error) {
	signed, err := jose.ParseSignedCompact(idToken, upstreamAlgorithms)
	if err != nil {
		return nil, errSignature // the library's error repeats parts of the token
	}
	key := k.set.Keys[signed.Signatures[0].Protected.KeyID]
	if key == nil {
		return nil, errSignature
	}
	if signed, err = jose.ParseSignedCompact(idToken, key.Algorithms); err != nil {
		return nil, errSignature
	}
	payload, err := signed.Verify(key.Public)
	if err != nil {
		return nil, errSignature
	}
	return payload, nil
}
