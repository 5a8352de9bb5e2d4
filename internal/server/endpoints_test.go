package server

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/keyturn/keyturn/internal/authserver"
	"github.com/keyturn/keyturn/internal/issuers"
)

// fakeAuthorities holds issuers with sessions by URL and by namespace/name.
type fakeAuthorities map[string]*issuers.Authority

func (a fakeAuthorities) AuthorityByURL(url string) *issuers.Authority { return a[url] }

func (a fakeAuthorities) AuthorityByName(namespace, name string) *issuers.Authority {
	return a[namespace+"/"+name]
}

// fakeEndpoints notes what it was asked, and answers 201.
type fakeEndpoints struct {
	authority *issuers.Authority
	path      string
	info      authserver.RequestInfo
}

func (e *fakeEndpoints) ServeEndpoint(w http.ResponseWriter, _ *http.Request, a *issuers.Authority, path string, info authserver.RequestInfo) {
	e.authority, e.path, e.info = a, path, info
	w.WriteHeader(http.StatusCreated)
}

func newFakeAuthorities() fakeAuthorities {
	at := func(name string) *issuers.Authority {
		return &issuers.Authority{Name: types.NamespacedName{Namespace: "web", Name: name}}
	}
	shop, root := at("shop"), at("root")
	return fakeAuthorities{
		"https://tokens.example.com/shop": shop, "web/shop": shop, "https://root.example.com": root,
		"https://tokens.example.com/session": at("session"),
	}
}

func TestEndpointsAreFound(t *testing.T) {
	for _, test := range []struct {
		host, target string
		// issuer is whose endpoint it is, at the path endpoint, seen below prefix. Empty where there is none.
		issuer, endpoint, prefix string
	}{
		{"tokens.example.com", "/shop/token", "shop", issuers.PathToken, "/shop"},
		{"tokens.example.com", "/shop/token?x=/session/login", "shop", issuers.PathToken, "/shop"},
		{"Tokens.Example.com:443", "/shop/revoke", "shop", issuers.PathRevoke, "/shop"},
		{"tokens.example.com", "/shop/introspect", "shop", issuers.PathIntrospect, "/shop"},
		{"tokens.example.com", "/shop/sessions", "shop", issuers.PathSessions, "/shop"},
		{"tokens.example.com", "/shop/session/login", "shop", issuers.PathSessionLogin, "/shop"},
		{"tokens.example.com", "/shop/session/refresh", "shop", issuers.PathSessionRenew, "/shop"},
		{"tokens.example.com", "/shop/session/logout", "shop", issuers.PathSessionLogout, "/shop"},
		{"tokens.example.com", "/shop/session/logout-all", "shop", issuers.PathSessionEndAll, "/shop"},
		{"root.example.com", "/token", "root", issuers.PathToken, ""},
		{"root.example.com", "/session/login", "root", issuers.PathSessionLogin, ""},
		{"tokens.example.com", "/session/token", "session", issuers.PathToken, "/session"},
		{"tokens.example.com", "/session/session/login", "session", issuers.PathSessionLogin, "/session"},
		{"anything", "/issuers/web/shop/token", "shop", issuers.PathToken, "/issuers/web/shop"},
		{"anything", "/issuers/web/shop/session/logout-all", "shop", issuers.PathSessionEndAll, "/issuers/web/shop"},

		{"tokens.example.com", "/shop/token/", "", "", ""},
		{"tokens.example.com", "/shop//token", "", "", ""},
		{"tokens.example.com", "/shop/x/../token", "", "", ""},
		{"tokens.example.com", "/shop%2Ftoken", "", "", ""},
		{"tokens.example.com", "/shop/%74oken", "", "", ""},
		{"tokens.example.com", "/shop/session%2Flogin", "", "", ""},
		{"tokens.example.com", "/shop/session", "", "", ""},
		{"tokens.example.com", "/shop/xtoken", "", "", ""},
		{"tokens.example.com", "/other/token", "", "", ""},
		{"other.example.com", "/shop/token", "", "", ""},
		{"anything", "/issuers/web/other/token", "", "", ""},
		{"anything", "/issuers/web/shop/x/token", "", "", ""},
		{"anything", "/issuers/web/token", "", "", ""},
		{"anything", "/issuers//shop/token", "", "", ""},
		{"tokens.example.com", "/verify/token", "", "", ""},
	} {
		t.Run(test.host+test.target, func(t *testing.T) {
			options, endpoints := testOptions(), &fakeEndpoints{}
			options.Authorities, options.Endpoints = newFakeAuthorities(), endpoints
			answer := serve(New(options), http.MethodPost, test.target, http.Header{"Host": {test.host}})
			if test.issuer == "" {
				if endpoints.authority != nil || answer.StatusCode == http.StatusCreated {
					t.Fatalf("it is %s of %v", endpoints.path, endpoints.authority)
				}
				return
			}
			if endpoints.authority == nil {
				t.Fatalf("there is nothing: %d %s", answer.StatusCode, answer.body)
			}
			if endpoints.authority.Name.Name != test.issuer || endpoints.path != test.endpoint || endpoints.info.Path != test.prefix {
				t.Errorf("it is %s of %s below %q", endpoints.path, endpoints.authority.Name, endpoints.info.Path)
			}
			if want := strings.TrimSuffix(strings.ToLower(test.host), ":443"); endpoints.info.Host != want {
				t.Errorf("the host is %q, want %q", endpoints.info.Host, want)
			}
		})
	}
}

func TestEndpointsBehindAProxy(t *testing.T) {
	options, endpoints := testOptions(), &fakeEndpoints{}
	options.Authorities, options.Endpoints = newFakeAuthorities(), endpoints
	options.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} // that of httptest's requests
	serve(New(options), http.MethodPost, "/shop/token", http.Header{
		"Host": {"keyturn.svc"}, "X-Forwarded-Host": {"Tokens.example.com:443"}, "X-Forwarded-For": {"203.0.113.9"},
	})
	want := authserver.RequestInfo{Client: netip.MustParseAddr("203.0.113.9"), Host: "tokens.example.com", Path: "/shop"}
	if endpoints.info != want {
		t.Errorf("%+v, want %+v", endpoints.info, want)
	}
}

func TestNoEndpointsWithoutSessions(t *testing.T) {
	for name, options := range map[string]Options{
		"neither":        testOptions(),
		"no authorities": func() Options { o := testOptions(); o.Endpoints = &fakeEndpoints{}; return o }(),
		"no endpoints":   func() Options { o := testOptions(); o.Authorities = newFakeAuthorities(); return o }(),
	} {
		for _, target := range []string{"/shop/token", "/issuers/web/shop/token"} {
			answer := serve(New(options), http.MethodPost, target, http.Header{"Host": {"tokens.example.com"}})
			if answer.StatusCode != http.StatusNotFound {
				t.Errorf("%s: %s answers %d", name, target, answer.StatusCode)
			}
		}
	}
}
