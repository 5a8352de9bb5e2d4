package remotejwks

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const oidcPath = "/.well-known/openid-configuration"

func TestDiscovery(t *testing.T) {
	const oauthPath = "/.well-known/oauth-authorization-server"
	tests := map[string]struct {
		issuer string // what follows the server's URL in IssuerURL
		path   string // where the document is
		states string // what follows the server's URL in "issuer"; default: the same as issuer
		uri    string // jwks_uri, default: the server's URL + /keys
		want   string // what LastError says; empty for success
	}{
		"OpenID Connect":                          {path: oidcPath},
		"OpenID Connect with a path":              {issuer: "/realms/shop", path: "/realms/shop" + oidcPath},
		"trailing slash is part of the issuer":    {issuer: "/", path: oidcPath},
		"trailing slash after a path":             {issuer: "/v2/", path: "/v2" + oidcPath},
		"RFC 8414":                                {path: oauthPath},
		"RFC 8414 with a path":                    {issuer: "/realms/shop", path: oauthPath + "/realms/shop"},
		"RFC 8414 with OpenID Connect's suffix":   {issuer: "/realms/shop", path: oidcPath + "/realms/shop"},
		"none":                                    {path: "/nowhere", want: "external.jwksURL"},
		"another issuer":                          {path: oidcPath, states: "/other", want: "not of"},
		"a slash too many":                        {path: oidcPath, states: "/", want: "spelled exactly"},
		"a slash too few":                         {issuer: "/", path: oidcPath, states: "-none", want: "spelled exactly"},
		"jwks_uri over http":                      {path: oidcPath, uri: "http://example.com/keys", want: "jwks_uri"},
		"jwks_uri missing":                        {path: oidcPath, uri: "-", want: "jwks_uri"},
		"jwks_uri with a password":                {path: oidcPath, uri: "https://u:hidden@example.com/", want: "user name"},
		"jwks_uri at an address of the node":      {path: oidcPath, uri: "https://127.0.0.3/keys", want: "refused to connect to 127.0.0.3"},
		"jwks_uri at the metadata service":        {path: oidcPath, uri: "https://169.254.169.254/keys", want: "refused to connect"},
		"jwks_uri at a mapped address of the LAN": {path: oidcPath, uri: "https://[::ffff:192.168.0.1]/", want: "refused to connect"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			remote := newIssuer(t)
			states, uri := test.issuer, remote.URL+"/keys"
			switch {
			case test.states == "-none":
				states = ""
			case test.states != "":
				states = test.states
			}
			switch {
			case test.uri == "-":
				uri = ""
			case test.uri != "":
				uri = test.uri
			}
			remote.publish(test.path, discovery(t, remote.URL+states, uri))
			remote.publish("/keys", jwks(t, p256(t, "a")))
			f, _ := newFetcher(Source{IssuerURL: remote.URL + test.issuer, CABundle: remote.caBundle()}, nil)
			status := cycle(t, f)
			if test.want == "" && status.LastError != "" || !strings.Contains(status.LastError, test.want) {
				t.Errorf("LastError = %q, want %q in it", status.LastError, test.want)
			}
			if got := len(status.Keys) == 1; got != (test.want == "") {
				t.Errorf("%d keys with LastError %q", len(status.Keys), status.LastError)
			}
			if strings.Contains(status.LastError, "hidden") {
				t.Errorf("LastError = %q repeats a password", status.LastError)
			}
		})
	}
}

// A server in trouble is not asked at its other well-known URLs, and a wrong document does not make it look further.
func TestDiscoveryStopsAtFirstAnswer(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"trouble":        func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"no JSON":        func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"another issuer": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"issuer":"https://x"}`)) },
	} {
		t.Run(name, func(t *testing.T) {
			remote := newIssuer(t)
			remote.handle(oidcPath, answer)
			f, _ := newFetcher(Source{IssuerURL: remote.URL, CABundle: remote.caBundle()}, nil)
			if cycle(t, f).LastError == "" {
				t.Error("the fetch succeeded")
			}
			if n := remote.hits("/.well-known/oauth-authorization-server"); n != 0 {
				t.Errorf("the next well-known URL was asked %d times, want none", n)
			}
		})
	}
}

func TestDiscoveryIsHourlyOrAfterFailure(t *testing.T) {
	remote := newIssuer(t)
	key := p256(t, "a")
	remote.publish(oidcPath, discovery(t, remote.URL, remote.URL+"/keys"))
	remote.publish("/keys", jwks(t, key))
	f, clock := newFetcher(Source{IssuerURL: remote.URL, CABundle: remote.caBundle()}, nil)
	expect := func(when string, discovered, fetched int) {
		t.Helper()
		if d, k := remote.hits(oidcPath), remote.hits("/keys"); d != discovered || k != fetched {
			t.Errorf("%s: %d discoveries and %d fetches, want %d and %d", when, d, k, discovered, fetched)
		}
	}
	cycleWell(t, f)
	clock.Step(59 * time.Minute)
	cycleWell(t, f)
	expect("within the hour", 1, 2)
	clock.Step(time.Minute)
	cycleWell(t, f)
	expect("after the hour", 2, 3)

	remote.handle("/keys", nil)
	cycle(t, f)
	expect("at the failure", 2, 4)
	remote.publish("/moved", jwks(t, key))
	remote.publish(oidcPath, discovery(t, remote.URL, remote.URL+"/moved"))
	cycleWell(t, f)
	expect("after the failure", 3, 4)

	remote.publish("/moved", jwks(t)) // an empty set is a failure too
	cycle(t, f)
	cycle(t, f)
	expect("after an empty set", 4, 4)
}

func TestWellKnown(t *testing.T) {
	got := wellKnown("https://example.com/a%2Fb/c/")
	want := []string{
		"https://example.com/a%2Fb/c/.well-known/openid-configuration",
		"https://example.com/.well-known/oauth-authorization-server/a%2Fb/c",
		"https://example.com/.well-known/openid-configuration/a%2Fb/c",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("wellKnown() (-want +got):\n%s", diff)
	}
}
