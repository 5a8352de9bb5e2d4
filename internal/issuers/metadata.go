package issuers

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/keyturn/keyturn/internal/keyring"
)

// The paths of an issuer's endpoints, below its URL.
const (
	PathToken         = "/token"
	PathRevoke        = "/revoke"
	PathIntrospect    = "/introspect"
	PathSessions      = "/sessions"
	PathSessionLogin  = "/session/login"
	PathSessionRenew  = "/session/refresh"
	PathSessionLogout = "/session/logout"
	PathSessionEndAll = "/session/logout-all"
)

// The grant types of the token endpoint (RFC 6749 section 6, RFC 8693 section 2.1).
const (
	GrantRefreshToken  = "refresh_token"
	GrantTokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
)

// metadata has the fields that OpenID Connect Discovery 1.0 section 3 requires of every provider, as far as an issuer
// without an authorization endpoint has them, and RFC 8414 section 2.
type metadata struct {
	Issuer        string   `json:"issuer"`
	JWKSURI       string   `json:"jwks_uri"`
	ResponseTypes []string `json:"response_types_supported"`
	SubjectTypes  []string `json:"subject_types_supported"`
	Algorithms    []string `json:"id_token_signing_alg_values_supported"`

	*endpoints
}

// endpoints are those of an issuer with sessions. Its clients are public ones: they hold no secret of their own.
type endpoints struct {
	Token                string   `json:"token_endpoint"`
	Revocation           string   `json:"revocation_endpoint"`
	Introspection        string   `json:"introspection_endpoint"`
	GrantTypes           []string `json:"grant_types_supported"`
	TokenAuthMethods     []string `json:"token_endpoint_auth_methods_supported"`
	RevocationAuthMethod []string `json:"revocation_endpoint_auth_methods_supported"`
}

// newMetadata renders the discovery document.
func newMetadata(issuerURL string, ring *keyring.Ring, sessions bool) ([]byte, error) {
	document := metadata{
		Issuer:        issuerURL,
		JWKSURI:       JWKSURL(issuerURL),
		ResponseTypes: []string{"id_token"},
		SubjectTypes:  []string{"public"},
	}
	for i := range ring.Keys {
		if name := string(ring.Keys[i].Algorithm); !slices.Contains(document.Algorithms, name) {
			document.Algorithms = append(document.Algorithms, name)
		}
	}
	if sessions {
		document.endpoints = &endpoints{
			Token: issuerURL + PathToken, Revocation: issuerURL + PathRevoke, Introspection: issuerURL + PathIntrospect,
			GrantTypes:       []string{GrantRefreshToken, GrantTokenExchange},
			TokenAuthMethods: []string{"none"}, RevocationAuthMethod: []string{"none"},
		}
	}
	rendered, err := json.Marshal(document)
	if err != nil {
		return nil, fmt.Errorf("rendering the discovery document: %w", err)
	}
	return rendered, nil
}
