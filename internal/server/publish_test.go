package server

import (
	"net/http"
	"net/netip"
	"testing"
)

// What the publications of the fakes hold.
const (
	keys      = `{"keys":[]}`
	ofShop    = `{"issuer":"https://tokens.example.com/shop"}`
	ofRoot    = `{"issuer":"https://root.example.com"}`
	ofPort    = `{"issuer":"https://port.example.com:8443/a/b"}`
	jwkSet    = "application/jwk-set+json"
	plainJSON = "application/json"
)

var publicationRequests = []struct {
	host, path string
	// forwarded is X-Forwarded-Host.
	forwarded string
	// body is what is shown. Empty where nothing is.
	body, mediaType string
}{
	{"tokens.example.com", "/shop/.well-known/jwks.json", "", keys, jwkSet},
	{"tokens.example.com", "/shop/.well-known/openid-configuration", "", ofShop, plainJSON},
	{"tokens.example.com", "/shop/.well-known/oauth-authorization-server", "", ofShop, plainJSON},
	{"tokens.example.com", "/.well-known/openid-configuration/shop", "", ofShop, plainJSON},
	{"tokens.example.com", "/.well-known/oauth-authorization-server/shop", "", ofShop, plainJSON},
	{"Tokens.Example.COM:443", "/shop/.well-known/jwks.json", "", keys, jwkSet},
	{"root.example.com", "/.well-known/jwks.json", "", keys, jwkSet},
	{"root.example.com", "/.well-known/openid-configuration", "", ofRoot, plainJSON},
	{"port.example.com:8443", "/.well-known/oauth-authorization-server/a/b", "", ofPort, plainJSON},
	{"keyturn.svc", "/.well-known/openid-configuration", "evil.example.com, root.example.com", ofRoot, plainJSON},
	{"keyturn.svc", "/issuers/web/shop/.well-known/jwks.json", "", keys, jwkSet},
	{"keyturn.svc", "/issuers/web/shop/.well-known/openid-configuration", "", ofShop, plainJSON},
	{"keyturn.svc", "/issuers/web/shop/.well-known/oauth-authorization-server", "", ofShop, plainJSON},

	{"tokens.example.com:8443", "/shop/.well-known/jwks.json", "", "", ""},
	{"tokens.example.com", "/Shop/.well-known/jwks.json", "", "", ""},
	{"tokens.example.com", "/shop//.well-known/jwks.json", "", "", ""},
	{"tokens.example.com", "/x/../shop/.well-known/jwks.json", "", "", ""},
	{"tokens.example.com", "/%73hop/.well-known/jwks.json", "", "", ""},
	{"tokens.example.com", "/.well-known/jwks.json/shop", "", "", ""},
	{"tokens.example.com", "/.well-known/openid-configurationshop", "", "", ""},
	{"tokens.example.com", "/shop", "", "", ""},
	{"tokens.example.com", "/", "", "", ""},
	{"root.example.com", "/.well-known/openid-configuration/", "", "", ""},
	{"root.example.com", "/.well-known/openid-configuration", "evil.example.com", "", ""},
	{"keyturn.svc", "/issuers/web/shop", "", "", ""},
	{"keyturn.svc", "/issuers/web/shop/x/.well-known/jwks.json", "", "", ""},
	{"keyturn.svc", "/issuers/web/other/.well-known/jwks.json", "", "", ""},
	{"keyturn.svc", "/issuers//shop/.well-known/jwks.json", "", "", ""},
	{"keyturn.svc", "/issuers/web//.well-known/jwks.json", "", "", ""},
	{"keyturn.svc", "/issuers/", "", "", ""},
	{"keyturn.svc", "/verification", "", "", ""},
	{"keyturn.svc", "/verify-fore/audience=shop-api", "", "", ""},
	{"keyturn.svc", "/tokenreview/", "", "", ""},
}

func TestPublicationsAreFound(t *testing.T) {
	options := testOptions()
	options.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")} // the peer of httptest
	s := New(options)
	for _, test := range publicationRequests {
		header := http.Header{"Host": {test.host}}
		if test.forwarded != "" {
			header.Set("X-Forwarded-Host", test.forwarded)
		}
		answer := serve(s, "GET", test.path, header)
		if test.body == "" {
			if answer.StatusCode != http.StatusNotFound || answer.Header.Get("Content-Type") != plainJSON {
				t.Errorf("%s%s: %d, want 404 and JSON", test.host, test.path, answer.StatusCode)
			}
			continue
		}
		if answer.StatusCode != http.StatusOK || answer.body != test.body {
			t.Errorf("%s%s: %d %s, want 200 %s", test.host, test.path, answer.StatusCode, answer.body, test.body)
		}
		if got := answer.Header.Get("Content-Type"); got != test.mediaType {
			t.Errorf("%s%s: Content-Type %s, want %s", test.host, test.path, got, test.mediaType)
		}
	}
}

func TestPublicationHeaders(t *testing.T) {
	answer := serve(New(testOptions()), "GET", "/issuers/web/shop/.well-known/jwks.json", http.Header{
		"Range": {"bytes=0-3"}, "Origin": {"https://app.example.com"},
	})
	for name, want := range map[string]string{
		"Cache-Control":               "public, max-age=600",
		"Etag":                        `"jwks-1"`,
		"X-Content-Type-Options":      "nosniff",
		"Access-Control-Allow-Origin": "*",
		"Content-Length":              "11",
	} {
		if got := answer.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if answer.StatusCode != http.StatusOK {
		t.Errorf("status %d for a range, want the whole", answer.StatusCode)
	}
}

// RFC 9110 section 13.1.2.
func TestIfNoneMatch(t *testing.T) {
	for _, test := range []struct {
		method string
		match  []string
		status int
		body   string
	}{
		{"GET", nil, 200, `{"keys":[]}`},
		{"HEAD", nil, 200, ""},
		{"GET", []string{`"jwks-1"`}, 304, ""},
		{"HEAD", []string{`"jwks-1"`}, 304, ""},
		{"GET", []string{`W/"jwks-1"`}, 304, ""},
		{"GET", []string{`"a", W/"b","jwks-1"`}, 304, ""},
		{"GET", []string{`*`}, 304, ""},
		{"GET", []string{`"jwks-2"`}, 200, `{"keys":[]}`},
		{"GET", []string{`jwks-1`}, 200, `{"keys":[]}`},
		{"GET", []string{`"a", "jwks-`}, 200, `{"keys":[]}`},
	} {
		header := http.Header{}
		if test.match != nil {
			header["If-None-Match"] = test.match
		}
		answer := serve(New(testOptions()), test.method, "/issuers/web/shop/.well-known/jwks.json", header)
		if answer.StatusCode != test.status || answer.body != test.body {
			t.Errorf("%s %q: %d %q, want %d %q",
				test.method, test.match, answer.StatusCode, answer.body, test.status, test.body)
		}
		if got := answer.Header.Get("Etag"); got != `"jwks-1"` {
			t.Errorf("%s %q: ETag %s", test.method, test.match, got)
		}
		if got := answer.Header.Get("Cache-Control"); got != "public, max-age=600" {
			t.Errorf("%s %q: Cache-Control %s", test.method, test.match, got)
		}
	}
}

func TestPublicationsAreReadOnly(t *testing.T) {
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "PATCH"} {
		answer := serve(New(testOptions()), method, "/issuers/web/shop/.well-known/jwks.json", nil)
		if answer.StatusCode != http.StatusMethodNotAllowed || answer.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %d, Allow %q", method, answer.StatusCode, answer.Header.Get("Allow"))
		}
	}
}
