package server

import (
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/keyturn/keyturn/internal/authserver"
	"github.com/keyturn/keyturn/internal/issuers"
)

// The names of the handlers, as the metrics and the log give them.
const (
	handlerVerify      = "verify"
	handlerTokenReview = "tokenreview"
	handlerJWKS        = "jwks"
	handlerDiscovery   = "discovery"
	handlerNone        = "none"
)

// The fixed paths. An issuerURL cannot have a path below one of them: the CRD refuses it.
const (
	pathVerify      = "/verify"
	pathVerifyFor   = "/verify-for"
	pathTokenReview = "/tokenreview"
	pathIssuers     = "/issuers/"
)

// The well-known paths, appended to the path of the issuer URL (OpenID Connect Discovery 1.0 section 4) or, for the
// metadata, inserted in front of it (RFC 8414 section 3.1).
const (
	wellKnownJWKS   = "/.well-known/jwks.json"
	wellKnownOpenID = "/.well-known/openid-configuration"
	wellKnownOAuth  = "/.well-known/oauth-authorization-server"
)

// destination is where a request goes.
type destination struct {
	handler string
	// requirement is what the gateway requires of a token, as a query string. For handlerVerify.
	requirement string
	// mustRequire is true where an empty requirement is a mistake, and not the issuer's default. For handlerVerify.
	mustRequire bool
	// publication is what to show. For handlerJWKS and handlerDiscovery.
	publication *issuers.Publication
	// authority, endpoint and info are whose endpoint it is, its path in package issuers, and what is known of the request.
	// Nil for the handlers that are not in endpointHandlers.
	authority *issuers.Authority
	endpoint  string
	info      authserver.RequestInfo
}

// route finds the destination of a request. It compares the path as it came: nothing is decoded, cleaned or redirected,
// because where a gateway appends its client's path to ours, "..", "//" and "%2F" are the client's, and what they mean
// is between the client and the application.
func (s *Server) route(r *http.Request) destination {
	path := rawPath(r.URL)
	switch {
	case path == pathVerify:
		return destination{handler: handlerVerify, requirement: r.URL.RawQuery}
	case strings.HasPrefix(path, pathVerify+"/"), path == pathVerify+"*":
		// The client's path follows the prefix; it is "*" in "OPTIONS *" (RFC 9110 section 9.3.7).
		return destination{handler: handlerVerify}
	case path == pathVerifyFor:
		return destination{handler: handlerVerify, mustRequire: true}
	case strings.HasPrefix(path, pathVerifyFor+"/"):
		requirement, _, _ := strings.Cut(path[len(pathVerifyFor)+1:], "/")
		return destination{handler: handlerVerify, requirement: requirement, mustRequire: true}
	case path == pathTokenReview:
		return destination{handler: handlerTokenReview}
	case strings.HasPrefix(path, pathIssuers):
		return s.routeByName(s.forwarded.host(r), path[len(pathIssuers):])
	}
	return s.routeByURL(s.forwarded.host(r), path)
}

// rawPath is the path exactly as it came. URL.EscapedPath alone is not: it encodes a path anew when one character of
// it should have been encoded, and would then turn a "%2F" elsewhere in it into a slash. With that, a client's "{"
// could move the end of the requirement in front of it.
func rawPath(u *url.URL) string {
	if u.RawPath != "" {
		return u.RawPath
	}
	return u.EscapedPath()
}

// routeByName finds what an issuer publishes and serves below /issuers/<namespace>/<name>.
func (s *Server) routeByName(host, path string) destination {
	namespace, rest, _ := strings.Cut(path, "/")
	name, _, _ := strings.Cut(rest, "/")
	below := rest[len(name):]
	if _, found := endpointHandlers[below]; found && namespace != "" && name != "" {
		return toEndpoint(s.options.Authorities.AuthorityByName(namespace, name), below, canonicalHost(host), pathIssuers+namespace+"/"+name)
	}
	handler := handlerNone
	switch below {
	case wellKnownJWKS:
		handler = handlerJWKS
	case wellKnownOpenID, wellKnownOAuth:
		handler = handlerDiscovery
	}
	if handler == handlerNone || namespace == "" || name == "" {
		return destination{handler: handlerNone}
	}
	return published(handler, s.options.Publications.PublicationByName(namespace, name))
}

// routeByURL finds what an issuer publishes and serves at its own URL.
func (s *Server) routeByURL(host, path string) destination {
	host = canonicalHost(host)
	if issuerPath, endpoint, found := splitEndpoint(path); found && host != "" {
		return toEndpoint(s.options.Authorities.AuthorityByURL("https://"+host+issuerPath), endpoint, host, issuerPath)
	}
	handler, issuerPath := splitWellKnown(path)
	if handler == handlerNone || host == "" {
		return destination{handler: handlerNone}
	}
	return published(handler, s.options.Publications.PublicationByURL("https://"+host+issuerPath))
}

func published(handler string, publication *issuers.Publication) destination {
	if publication == nil {
		return destination{handler: handlerNone}
	}
	return destination{handler: handler, publication: publication}
}

// splitWellKnown takes the well-known part out of a path. What is left is the path of the issuer URL.
func splitWellKnown(path string) (handler, issuerPath string) {
	if issuerPath, found := strings.CutSuffix(path, wellKnownJWKS); found {
		return handlerJWKS, issuerPath
	}
	for _, wellKnown := range []string{wellKnownOpenID, wellKnownOAuth} {
		if issuerPath, found := strings.CutSuffix(path, wellKnown); found {
			return handlerDiscovery, issuerPath
		}
		if issuerPath, found := strings.CutPrefix(path, wellKnown+"/"); found {
			return handlerDiscovery, "/" + issuerPath
		}
	}
	return handlerNone, ""
}

// canonicalHost spells a Host header as issuer URLs do: in lower case and without the default port of https.
func canonicalHost(host string) string {
	host = strings.ToLower(host)
	if _, port, err := net.SplitHostPort(host); err == nil && port == "443" {
		return strings.TrimSuffix(host, ":443")
	}
	return host
}
