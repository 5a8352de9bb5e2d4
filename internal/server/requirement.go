package server

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/keyturn/keyturn/internal/token"
)

// The bounds of a requirement.
const (
	// maxRequirementBytes is the longest requirement, percent-encoding included.
	maxRequirementBytes = 4096
	// maxRequirementValues is the largest number of issuers, of audiences, and of scopes.
	maxRequirementValues = 32
	// maxRequirementsKept bounds the parsed requirements that are remembered. A gateway has a handful.
	maxRequirementsKept = 1024
)

// The mistakes that a requirement can have. They do not repeat it, because a token may have got into it.
var (
	errRequirementMissing = errors.New("the path holds no requirement; write it as one segment after /verify-for/, " +
		"such as audience=shop-api&scope=orders:read")
	errRequirementTooLong  = errors.New("the requirement is longer than 4096 bytes")
	errRequirementEncoding = errors.New("the requirement is no query string; write it such as " +
		"audience=shop-api&scope=orders:read, with percent-encoding")
	errRequirementUnknown = errors.New("the requirement has a parameter that is neither issuer, audience nor scope; where the " +
		"gateway appends the path and query of its client, use /verify/ or /verify-for/<requirement> as the prefix")
	errRequirementIssuer = errors.New("the requirement has an issuer that is not the namespace and the name of a " +
		"TokenIssuer, such as shop/tokens, or more than 32")
	errRequirementAudience = errors.New("the requirement has an audience that is empty or has control characters, " +
		"or more than 32")
	errRequirementScope = errors.New("the requirement has a scope that is empty or has characters that a scope " +
		"cannot have (RFC 6749 section 3.3), or more than 32")
)

// requirements parses what gateways require, and remembers it.
type requirements struct {
	parsed sync.Map // string -> requirement
	kept   atomic.Int64
}

// requirement is a parsed requirement, or the mistake in it.
type requirement struct {
	want    token.Want
	mistake error
}

// get parses a requirement, unless it has been seen before. Empty means the issuer's own default.
func (c *requirements) get(raw string) (token.Want, error) {
	switch {
	case raw == "":
		return token.Want{}, nil
	case len(raw) > maxRequirementBytes:
		return token.Want{}, errRequirementTooLong
	}
	if known, found := c.parsed.Load(raw); found {
		known := known.(requirement)
		return known.want, known.mistake
	}
	want, mistake := parseRequirement(raw)
	// Anybody who reaches the server can make requirements up, so there is an end to remembering them. It may be
	// overrun by as many as there are requests at once.
	if c.kept.Load() < maxRequirementsKept {
		// A copy, because raw is a part of the whole request line, which would be kept with it.
		if _, loaded := c.parsed.LoadOrStore(strings.Clone(raw), requirement{want, mistake}); !loaded {
			c.kept.Add(1)
		}
	}
	return want, mistake
}

// parseRequirement reads a query string: issuer and audience may repeat, and any of them will do; scope may repeat or hold several
// separated by spaces, and all of them are needed. Whatever is not understood is a mistake, never ignored, because the
// gateway's operator meant something by it.
func parseRequirement(raw string) (token.Want, error) {
	values, err := url.ParseQuery(strings.Clone(raw))
	if err != nil {
		return token.Want{}, errRequirementEncoding
	}
	for name := range values {
		if name != "issuer" && name != "audience" && name != "scope" {
			return token.Want{}, errRequirementUnknown
		}
	}
	want := token.Want{Issuers: values["issuer"], Audiences: values["audience"]}
	if len(want.Issuers) > maxRequirementValues || slices.ContainsFunc(want.Issuers, notAnIssuer) {
		return token.Want{}, errRequirementIssuer
	}
	if len(want.Audiences) > maxRequirementValues {
		return token.Want{}, errRequirementAudience
	}
	for _, audience := range want.Audiences {
		if audience == "" || !utf8.ValidString(audience) || strings.ContainsFunc(audience, unicode.IsControl) {
			return token.Want{}, errRequirementAudience
		}
	}
	for _, list := range values["scope"] {
		for scope := range strings.SplitSeq(list, " ") {
			if !validScope(scope) || len(want.Scopes) == maxRequirementValues {
				return token.Want{}, errRequirementScope
			}
			want.Scopes = append(want.Scopes, scope)
		}
	}
	if len(values) == 0 {
		return token.Want{}, errRequirementMissing
	}
	return want, nil
}

// notAnIssuer reports that this is not the namespace and the name of an object.
func notAnIssuer(named string) bool {
	namespace, name, _ := strings.Cut(named, "/")
	return len(validation.IsDNS1123Label(namespace)) > 0 || len(validation.IsDNS1123Subdomain(name)) > 0
}

// validScope is the scope-token of RFC 6749 section 3.3. It can stand in a quoted string of a header as it is.
func validScope(scope string) bool {
	for i := range len(scope) {
		if c := scope[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return scope != ""
}
