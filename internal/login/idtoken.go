package login

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/session"
)

const (
	// issuedLeeway is how far in the future an upstream's clock may be.
	issuedLeeway = time.Minute
	// maxSubjectBytes bounds the subject, the prefix included: what a session can have.
	maxSubjectBytes = 256
	// maxClaimsBytes bounds what is taken over, as JSON: what a session can have.
	maxClaimsBytes = 8 << 10
)

// identify makes an identity of an ID token, or says why there is none. The claim "iss" has been compared.
func (t unverified) identify(spec *v1alpha1.UpstreamLogin, now time.Time) (Identity, error) {
	if err := t.checkKind(); err != nil {
		return Identity{}, err
	}
	if err := t.claims.checkTimes(now); err != nil {
		return Identity{}, err
	}
	clientID, err := t.claims.client(spec.Audiences)
	if err != nil {
		return Identity{}, err
	}
	subject, err := t.claims.subject(spec)
	if err != nil {
		return Identity{}, err
	}
	mapped, err := t.claims.mapped(spec.Claims)
	if err != nil {
		return Identity{}, err
	}
	return Identity{Subject: subject, Claims: mapped, Source: session.SourceUpstream, Client: clientID}, nil
}

// checkKind refuses what the issuer signs for other purposes, as far as that says what it is (RFC 8725 section 3.11):
// an access token is typed "at+jwt", and a logout token has the claim "events".
func (t unverified) checkKind() error {
	if algorithm, _ := t.header.text("alg"); !slices.Contains(upstreamAlgorithms, jose.SignatureAlgorithm(algorithm)) {
		return fmt.Errorf("it is not signed with one of %v", upstreamAlgorithms)
	}
	if typ, found := t.header["typ"]; found {
		if text, _ := typ.(string); !strings.EqualFold(text, "JWT") {
			return errors.New(`its header "typ" says that it is not an ID token`)
		}
	}
	if _, found := t.claims["events"]; found {
		return errors.New("it tells of events, and is not an ID token")
	}
	return nil
}

// checkTimes checks "exp" and "iat", both of which OpenID Connect Core 1.0 section 2 demands.
func (c claims) checkTimes(now time.Time) error {
	if _, err := c.expiry(now); err != nil {
		return err
	}
	issuedAt, ok := c.time("iat")
	if !ok {
		return errors.New(`it has no claim "iat" with a time`)
	}
	if issuedAt.After(now.Add(issuedLeeway)) {
		return errors.New("it was issued in the future: the clock of its issuer is wrong, or the operator's")
	}
	return nil
}

// client returns the client that the token was issued to (OpenID Connect Core 1.0 section 3.1.3.7, numbers 3 to 5): one
// that is accepted is in "aud"; where "aud" has several values there is an "azp"; and where that is, it is accepted
// too.
func (c claims) client(accepted []string) (string, error) {
	audiences := c.texts("aud")
	first := slices.IndexFunc(audiences, func(audience string) bool { return slices.Contains(accepted, audience) })
	if first < 0 {
		return "", errors.New(`it was issued to another client: none of login.upstreams[].audiences is in its claim "aud"`)
	}
	clientID := audiences[first]
	if _, found := c["azp"]; found || len(audiences) > 1 {
		clientID, _ = c.text("azp")
		if !slices.Contains(accepted, clientID) {
			return "", errors.New(`it was issued to another client: its claim "azp" is not in login.upstreams[].audiences`)
		}
	}
	return clientID, nil
}

// subject returns the prefix and the claim that says who the user is.
func (c claims) subject(spec *v1alpha1.UpstreamLogin) (string, error) {
	name := spec.SubjectClaim
	if name == "" {
		name = "sub"
	}
	value, ok := c.text(name)
	if !ok || value == "" {
		return "", fmt.Errorf("it has no claim %q with a text: set login.upstreams[].subjectClaim to one that it always has",
			name)
	}
	// U+FFFD is what readers make of half a character, so it can stand for more than one user.
	unfit := func(r rune) bool { return unicode.IsControl(r) || r == utf8.RuneError }
	subject := spec.SubjectPrefix + value
	if len(subject) > maxSubjectBytes || strings.IndexFunc(subject, unfit) >= 0 {
		return "", fmt.Errorf("its claim %q cannot be a subject: with the prefix it must be at most %d bytes of text "+
			"without control characters", name, maxSubjectBytes)
	}
	return subject, nil
}

// mapped returns the claims that the spec takes over, those of them that the token has. One that is null is not there.
func (c claims) mapped(mappings []v1alpha1.ClaimMapping) (map[string]any, error) {
	var taken map[string]any
	for _, mapping := range mappings {
		from := mapping.From
		if from == "" {
			from = string(mapping.Name)
		}
		value := c[from]
		if value == nil {
			continue
		}
		if taken == nil {
			taken = map[string]any{}
		}
		taken[string(mapping.Name)] = value
	}
	if taken == nil {
		return nil, nil //nolint:nilnil // Nil stands for no claims.
	}
	document, err := json.Marshal(taken)
	if err != nil {
		return nil, fmt.Errorf("encoding the claims that are taken over: %w", err)
	}
	if len(document) > maxClaimsBytes {
		return nil, fmt.Errorf("the claims that login.upstreams[].claims takes over have more than %d bytes: map fewer, or "+
			"have the issuer send less", maxClaimsBytes)
	}
	return taken, nil
}
