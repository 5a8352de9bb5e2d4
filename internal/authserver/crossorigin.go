package authserver

import (
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/rs/cors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/keyturn/keyturn/api/v1alpha1"
)

// headerCSRF must be in every request to the browser's endpoints, with any value. A page of another origin can send it
// only after a preflight, which only allowed origins pass; a form can never send it.
const headerCSRF = "X-Csrf"

// preflightMaxAge is for how many seconds a browser may remember a preflight: an hour, which is more than most do.
const preflightMaxAge = 3600

// fences keep pages of other origins away from the browser's endpoints. The zero value is ready.
type fences struct {
	// byIssuer holds the last fence of each issuer, by its types.NamespacedName.
	byIssuer sync.Map
}

// fence is what spec.sessions.allowedOrigins says, ready to be asked.
type fence struct {
	// spec is that which it was made of: an issuer that changes gets another.
	spec       *v1alpha1.SessionPolicy
	protection *http.CrossOriginProtection
	// cors is nil without allowed origins: then no page of another origin may read an answer.
	cors *cors.Cors
}

func (f *fences) of(issuer types.NamespacedName, spec *v1alpha1.SessionPolicy) *fence {
	if known, found := f.byIssuer.Load(issuer); found && known.(*fence).spec == spec {
		return known.(*fence)
	}
	made := newFence(spec)
	f.byIssuer.Store(issuer, made)
	return made
}

func (f *fences) forget(issuer types.NamespacedName) { f.byIssuer.Delete(issuer) }

func newFence(spec *v1alpha1.SessionPolicy) *fence {
	made := &fence{spec: spec, protection: http.NewCrossOriginProtection()}
	var origins []string
	for _, origin := range spec.AllowedOrigins {
		// The schema lets nothing pass that is refused here; whatever is refused is not allowed.
		if err := made.protection.AddTrustedOrigin(origin); err == nil && !strings.Contains(origin, "*") {
			origins = append(origins, origin)
		}
	}
	if len(origins) > 0 { // The library takes an empty list for "all".
		made.cors = cors.New(cors.Options{
			AllowedOrigins: origins, AllowedMethods: []string{http.MethodPost},
			AllowedHeaders: []string{"Content-Type", headerCSRF}, ExposedHeaders: []string{"Retry-After"},
			AllowCredentials: true, MaxAge: preflightMaxAge,
		})
	}
	return made
}

// fence answers preflights and refuses requests that a page of another origin may have caused. It reports whether the
// request is answered.
func (s *Server) fence(c *call) (done bool) {
	fence := s.fences.of(c.authority.Name, c.authority.Spec)
	preflight := c.r.Method == http.MethodOptions && c.r.Header.Get("Access-Control-Request-Method") != ""
	if fence.cors != nil {
		fence.cors.HandlerFunc(c.w, c.r)
		if preflight {
			return true
		}
	}
	if c.r.Method != http.MethodPost {
		return false // Nobody but the check of the method will look at it.
	}
	if refused := fence.check(c); refused != nil {
		refuse(c.w, refused)
		return true
	}
	return false
}

func (f *fence) check(c *call) *refusal {
	header := c.r.Header
	origin, site := header.Get("Origin"), header.Get("Sec-Fetch-Site")
	// The protection compares the origin with the host that it finds in the request, which may be a proxy's.
	seen := *c.r
	seen.Host = c.info.Host
	switch {
	case f.protection.Check(&seen) != nil, f.insecure(origin):
		return crossOrigin("The request comes from a page of another origin; add that to spec.sessions.allowedOrigins.")
	case origin == "" && site == "" && len(header.Values("Cookie")) > 0:
		return crossOrigin("The request has a cookie and does not say which page it comes from; every current browser does.")
	case header.Get(headerCSRF) == "":
		return crossOrigin("The request lacks the header X-CSRF, which must be there with any value, such as 1.")
	}
	return nil
}

// insecure reports whether the page came over plain http, where anybody on the way could have written it. It is another
// origin than the issuer even with the same host, which older browsers do not say.
func (f *fence) insecure(origin string) bool {
	return strings.HasPrefix(origin, "http://") && !slices.Contains(f.spec.AllowedOrigins, origin)
}

func crossOrigin(description string) *refusal {
	return &refusal{status: http.StatusForbidden, code: codeAccessDenied, description: description}
}
