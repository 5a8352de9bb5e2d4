package remotejwks

import (
	"cmp"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-logr/logr"
	"k8s.io/utils/clock"
)

// Source says where the keys of one issuer are found and how far they are trusted. It corresponds to spec.external.
type Source struct {
	// IssuerURL is the value of the claim "iss", compared exactly with the "issuer" of the discovery document.
	IssuerURL string
	// JWKSURL is the https URL of the JWK Set. Empty: it comes from discovery at IssuerURL.
	JWKSURL string
	// CABundle holds the certificate authorities in PEM that replace the system's. Empty: the system's.
	CABundle string
	// Algorithms are those that keys may verify. Symmetric ones never fit a public key and have no effect.
	// Default: ES256, ES384, ES512, EdDSA, RS256, PS256.
	Algorithms []jose.SignatureAlgorithm
	// RefreshInterval is the time from one fetch to the next. Default: 10m.
	RefreshInterval time.Duration
	// MaxStaleness is the age at which a set that could not be fetched anew stops being used. Default: 24h.
	MaxStaleness time.Duration
	// MaxLifetime is the longest "exp" - "iat" that the keys may vouch for. Default: 24h.
	MaxLifetime time.Duration
	// Upstream is true for an entry of spec.sessions.login.upstreams: redirects must stay on the host that was asked, and
	// errors name the fields of such an entry in place of those of spec.external.
	Upstream bool
	// BaseURL is the URL of the cluster's own API server, whose ServiceAccount keys are read from
	// BaseURL + "/openid/v1/jwks" through Transport; IssuerURL, JWKSURL and CABundle then play no part in fetching, and
	// neither does the address guard. Empty for every other issuer.
	BaseURL string
	// Transport is the authenticated connection to BaseURL. It must be set where BaseURL is, and is not used otherwise.
	Transport http.RoundTripper
}

// Options are what a Fetcher needs beside its source. The zero value works.
type Options struct {
	// Clock measures intervals, timeouts and staleness. Default: the real one.
	Clock clock.Clock
	// Logger hears of changed keys and of fetches that fail. Default: silence.
	Logger logr.Logger
	// AllowedInternal are the internal networks in which an issuer may be, from --allow-internal-addresses.
	AllowedInternal []netip.Prefix
	// OnChange is called when keys come, go or change, and when the set turns stale or fresh. It is called by Run, never
	// concurrently, and returns before waiting calls of Refetch do: what it rebuilds is there when they return. It must
	// not call Refetch.
	OnChange func(*Set)
	// Previous is the set of the fetcher that this one replaces because its source was edited: Current starts with those
	// of its keys that the new source allows, so that an edit interrupts nothing. Nil unless both have the same IssuerURL,
	// JWKSURL and BaseURL.
	Previous *Set
}

func (s Source) withDefaults() Source {
	if len(s.Algorithms) == 0 {
		s.Algorithms = []jose.SignatureAlgorithm{jose.ES256, jose.ES384, jose.ES512, jose.EdDSA, jose.RS256, jose.PS256}
	}
	s.Algorithms = slices.Clone(s.Algorithms)
	s.RefreshInterval = cmp.Or(s.RefreshInterval, 10*time.Minute)
	s.MaxStaleness = cmp.Or(s.MaxStaleness, 24*time.Hour)
	s.MaxLifetime = cmp.Or(s.MaxLifetime, 24*time.Hour)
	return s
}

func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.OnChange == nil {
		o.OnChange = func(*Set) {}
	}
	return o
}
