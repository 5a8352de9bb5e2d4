package remotejwks

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/json"
)

// rediscoverAfter is how long the jwks_uri of a discovery document is used before it is asked for again.
const rediscoverAfter = time.Hour

// clusterJWKSPath is where every API server publishes the keys of its ServiceAccount issuer.
const clusterJWKSPath = "/openid/v1/jwks"

// reader brings the JWK Set of one source, and finds it first where that is needed. One call at a time.
type reader struct {
	source Source
	client *client
	// broken is why nothing can ever be read: the source itself is at fault.
	broken error

	jwksURL      string
	discoveredAt time.Time
}

func newReader(source Source, options Options) *reader {
	r := &reader{source: source}
	if source.BaseURL != "" {
		r.client, r.broken = newClusterClient(source.Transport)
	} else {
		r.client, r.broken = newClient(source, options.AllowedInternal)
	}
	return r
}

// read returns the document and the header that came with it.
func (r *reader) read(ctx context.Context, now time.Time) ([]byte, http.Header, error) {
	if r.broken != nil {
		return nil, nil, r.broken
	}
	target, err := r.locate(ctx, now)
	if err != nil {
		return nil, nil, err
	}
	body, header, err := r.client.get(ctx, target)
	if err != nil {
		if status := (statusError{}); r.source.BaseURL != "" && errors.As(err, &status) && status.code == http.StatusForbidden {
			err = fmt.Errorf("%w: bind the ClusterRole system:service-account-issuer-discovery to the operator's ServiceAccount", err)
		}
		return nil, nil, fmt.Errorf("fetching the JWK Set: %w", err)
	}
	return body, header, nil
}

// forget makes the next read discover anew: the JWK Set was not where, or not what, it should be.
func (r *reader) forget() {
	r.jwksURL = ""
}

func (r *reader) close() {
	if r.client != nil {
		r.client.close()
	}
}

// locate returns the URL of the JWK Set.
func (r *reader) locate(ctx context.Context, now time.Time) (string, error) {
	if r.source.BaseURL != "" {
		return strings.TrimSuffix(r.source.BaseURL, "/") + clusterJWKSPath, nil
	}
	if r.source.JWKSURL != "" {
		return checked("external.jwksURL", r.source.JWKSURL)
	}
	if r.jwksURL != "" && now.Sub(r.discoveredAt) < rediscoverAfter {
		return r.jwksURL, nil
	}
	found, err := r.discover(ctx)
	if err != nil {
		return "", fmt.Errorf("discovering the JWK Set of the issuer: %w", err)
	}
	r.jwksURL, r.discoveredAt = found, now
	return found, nil
}

// discover asks the well-known URLs one after the other, on to the next only where there is nothing at one.
func (r *reader) discover(ctx context.Context) (string, error) {
	if _, err := checked("the issuer URL", r.source.IssuerURL); err != nil {
		return "", err
	}
	var missing error
	for _, target := range wellKnown(r.source.IssuerURL) {
		body, _, err := r.client.get(ctx, target)
		if status := (statusError{}); errors.As(err, &status) && status.code >= 400 && status.code < 500 {
			missing = errors.Join(missing, err)
			continue
		}
		if err != nil {
			return "", err
		}
		return r.readDiscovery(target, body)
	}
	if r.source.Upstream {
		return "", fmt.Errorf("%w\nset login.upstreams[].issuerURL to the URL of an issuer with a discovery document", missing)
	}
	return "", fmt.Errorf("%w\nset external.jwksURL if the issuer has no discovery document", missing)
}

// readDiscovery takes the jwks_uri from a document that is about this very issuer.
func (r *reader) readDiscovery(target string, body []byte) (string, error) {
	var document struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(body, &document); err != nil {
		return "", fmt.Errorf("the answer of %s is not a discovery document: %w", shown(target), err)
	}
	// OpenID Connect Discovery 1.0 section 4.3 and RFC 8414 section 3.3: identical, not merely equivalent. Otherwise
	// whoever can answer at one issuer's URL could pass his keys off as another's.
	if document.Issuer != r.source.IssuerURL {
		return "", fmt.Errorf("%s is the document of the issuer %s, not of %s: issuerURL must be spelled exactly like its \"issuer\"",
			shown(target), quoted(document.Issuer), quoted(r.source.IssuerURL))
	}
	return checked("the jwks_uri of the discovery document", document.JWKSURI)
}

// wellKnown lists where the discovery document may be, by preference: OpenID Connect Discovery 1.0 section 4, then
// RFC 8414 section 3.1 with its own suffix and, for issuers with a path, with that of OpenID Connect (section 5).
func wellKnown(issuerURL string) []string {
	trimmed := strings.TrimSuffix(issuerURL, "/")
	urls := []string{trimmed + "/.well-known/openid-configuration"}
	parsed, err := url.Parse(trimmed)
	if err != nil {
		return urls
	}
	origin, path := parsed.Scheme+"://"+parsed.Host, parsed.EscapedPath()
	urls = append(urls, origin+"/.well-known/oauth-authorization-server"+path)
	if path != "" {
		urls = append(urls, origin+"/.well-known/openid-configuration"+path)
	}
	return urls
}

func checked(name, target string) (string, error) {
	parsed, err := url.Parse(target)
	if err != nil {
		return "", fmt.Errorf("%s cannot be parsed: %w", name, bare(err))
	}
	if err := checkURL(parsed); err != nil {
		return "", fmt.Errorf("%s is %s: %w", name, quoted(shown(target)), err)
	}
	return target, nil
}
