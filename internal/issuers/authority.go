package issuers

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/keyring"
	"github.com/keyturn/keyturn/internal/session"
	"github.com/keyturn/keyturn/internal/token"
)

// Authority is an issuer with spec.sessions, as this replica knows it: what is needed to open sessions, to continue them
// and to sign their access tokens. It is immutable.
type Authority struct {
	// Name is that of the TokenIssuer.
	Name types.NamespacedName
	// Session is the issuer as a session.Manager needs it. Its Keys are nil until the Secret with the keys for refresh
	// tokens is known: then nothing can be opened or refreshed yet.
	Session session.Issuer
	// Spec is spec.sessions, not to be changed.
	Spec *v1alpha1.SessionPolicy
	// Verification is the issuer as the verifier knows it.
	Verification *token.Issuer
	// FixedClaims are those of spec.sessions.claims.fixed: a string or a list of strings each. Not to be changed.
	FixedClaims map[string]any

	ring   *keyring.Ring
	policy keyring.Policy
	// signer has the active key. Nil without a ring.
	signer *token.Signer
}

// Authorities finds issuers with sessions. It is safe for concurrent use and takes no lock. A result is nil where there is
// no such issuer, or where it has no sessions.
type Authorities interface {
	AuthorityByURL(issuerURL string) *Authority
	AuthorityByName(namespace, name string) *Authority
}

var _ Authorities = (*Registry)(nil)

// AuthorityByURL implements Authorities.
func (r *Registry) AuthorityByURL(issuerURL string) *Authority {
	if v := r.table.Load().at(issuerURL); v != nil {
		return v.authority
	}
	return nil
}

// AuthorityByName implements Authorities. An issuer that does not own its URL has no sessions.
func (r *Registry) AuthorityByName(namespace, name string) *Authority {
	if v := r.owner(namespace, name); v != nil {
		return v.authority
	}
	return nil
}

// SignUntil is until when the active key may sign without further word about the ring: once the next key must have taken
// over and every signer must have heard of it, this replica cannot know whether its key is still good.
func (a *Authority) SignUntil(now time.Time) time.Time {
	return a.ring.RotationAt(now, a.policy).Add(a.policy.PropagationDelay)
}

// newAuthority renders the sessions of an issuer of our own; nil where it has none.
func newAuthority(e *entry, v *view) (*Authority, error) {
	spec := e.issuer.Spec.Sessions
	if spec == nil {
		return nil, nil //nolint:nilnil // Most issuers have no sessions.
	}
	name := nameOf(e.issuer)
	a := &Authority{
		Name: name,
		Session: session.Issuer{
			Reference: session.IssuerReference{Namespace: name.Namespace, Name: name.Name},
			URL:       v.token.URL, Keys: e.refreshKeys, Policy: SessionPolicy(e.issuer),
		},
		Spec: spec, Verification: &v.token, FixedClaims: fixedClaims(spec), ring: v.ring, policy: v.policy,
	}
	if err := a.Session.Policy.Validate(); err != nil {
		return nil, fmt.Errorf("spec.sessions: %w", err)
	}
	if v.ring == nil || v.ring.Active() == nil {
		return a, nil
	}
	if before := e.view; before != nil && before.authority != nil && before.ring == v.ring {
		a.signer = before.authority.signer
		return a, nil
	}
	var err error
	a.signer, err = newSigner(v.ring)
	return a, err
}

func newSigner(ring *keyring.Ring) (*token.Signer, error) {
	active := ring.Active()
	return token.NewSigner(&active.JWK, active.Algorithm, active.MaxLifetime)
}

func fixedClaims(spec *v1alpha1.SessionPolicy) map[string]any {
	claims := make(map[string]any, len(spec.Claims.Fixed))
	for _, fixed := range spec.Claims.Fixed {
		if fixed.Value != nil {
			claims[string(fixed.Name)] = *fixed.Value
		} else {
			claims[string(fixed.Name)] = fixed.Values
		}
	}
	return claims
}
