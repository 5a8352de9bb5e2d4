package server

import (
	"net/http"
	"strings"

	"github.com/keyturn/keyturn/internal/authserver"
	"github.com/keyturn/keyturn/internal/issuers"
)

// Endpoints answers at the endpoints of issuers with sessions. It is safe for concurrent use.
type Endpoints interface {
	// ServeEndpoint answers a request to the endpoint with this path, one of those in package issuers.
	ServeEndpoint(w http.ResponseWriter, r *http.Request, a *issuers.Authority, path string, info authserver.RequestInfo)
}

var _ Endpoints = (*authserver.Server)(nil)

// endpointHandlers are the paths of the endpoints below an issuer, and the names of their handlers. No path is the end of
// another one, so a request has one endpoint at most.
var endpointHandlers = map[string]string{
	issuers.PathToken:         "token",
	issuers.PathRevoke:        "revoke",
	issuers.PathIntrospect:    "introspect",
	issuers.PathSessions:      "sessions",
	issuers.PathSessionLogin:  "session-login",
	issuers.PathSessionRenew:  "session-refresh",
	issuers.PathSessionLogout: "session-logout",
	issuers.PathSessionEndAll: "session-logout-all",
}

// noAuthorities is where no issuer has sessions.
type noAuthorities struct{}

func (noAuthorities) AuthorityByURL(string) *issuers.Authority { return nil }

func (noAuthorities) AuthorityByName(_, _ string) *issuers.Authority { return nil }

// splitEndpoint takes the endpoint off the end of a path. What is left is the path of the issuer, as the client sees it.
func splitEndpoint(path string) (issuerPath, endpoint string, found bool) {
	// The last segment, or the last two, are all that an endpoint can be.
	for end, segments := len(path), 0; segments < 2; segments++ {
		slash := strings.LastIndexByte(path[:end], '/')
		if slash < 0 {
			return "", "", false
		}
		if _, found := endpointHandlers[path[slash:]]; found {
			return path[:slash], path[slash:], true
		}
		end = slash
	}
	return "", "", false
}

// toEndpoint is the destination of a request to an endpoint of an issuer, which may be nil for none.
func toEndpoint(a *issuers.Authority, endpoint, host, issuerPath string) destination {
	if a == nil {
		return destination{handler: handlerNone}
	}
	return destination{
		handler: endpointHandlers[endpoint], authority: a, endpoint: endpoint,
		info: authserver.RequestInfo{Host: host, Path: issuerPath},
	}
}

// serveEndpoint answers a request to an endpoint of an issuer.
func (s *Server) serveEndpoint(x *exchange, r *http.Request, to destination) {
	to.info.Client = s.forwarded.client(r)
	s.options.Endpoints.ServeEndpoint(x, r, to.authority, to.endpoint, to.info)
}
