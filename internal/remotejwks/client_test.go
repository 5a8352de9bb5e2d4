package remotejwks

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
)

func TestFetchRefuses(t *testing.T) {
	good := jwks(t, p256(t, "a"))
	tests := map[string]struct {
		answer http.HandlerFunc
		edit   func(*Source)
		want   string // what LastError says
	}{
		"an answer other than 200": {
			answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted); _, _ = w.Write(good) },
			want:   "202 Accepted",
		},
		"a server error": {
			answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
			want:   "502 Bad Gateway",
		},
		"a body over 1 MiB": {
			answer: func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write(good)
				_, _ = w.Write(bytes.Repeat([]byte(" "), maxBody-len(good)+1))
			},
			want: "larger than 1048576 bytes",
		},
		"a body that breaks off": {
			answer: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "9999")
				_, _ = w.Write(good)
			},
			want: "reading the answer",
		},
		"a redirect to http": {
			answer: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "http://example.com/jwks?token=hidden")
				w.WriteHeader(http.StatusFound)
			},
			want: "redirect to http://example.com/jwks: only https URLs are fetched",
		},
		"a redirect with a password": {
			answer: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "https://user:hidden@example.com/")
				w.WriteHeader(http.StatusFound)
			},
			want: "user name or password",
		},
		"a redirect without end": {
			answer: func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/jwks", http.StatusFound) },
			want:   "more than 3 redirects",
		},
		"a redirect to an internal address": {
			answer: func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://127.0.0.2:"+port(r.Host)+"/jwks", http.StatusFound)
			},
			want: "refused to connect to 127.0.0.2",
		},
		"plain http": {
			edit: func(s *Source) { s.JWKSURL = strings.Replace(s.JWKSURL, "https:", "http:", 1) + "?token=hidden" },
			want: "only https",
		},
		"a URL without a host":        {edit: func(s *Source) { s.JWKSURL = "https:///jwks" }, want: "no host"},
		"a URL that cannot be parsed": {edit: func(s *Source) { s.JWKSURL = "https://%zz?token=hidden" }, want: "cannot be parsed"},
		"a CA that did not sign the certificate": {
			edit: func(s *Source) { s.CABundle = otherCA },
			want: "external.caBundle",
		},
		"the system's CAs for a certificate of its own": {
			edit: func(s *Source) { s.CABundle = "" },
			want: "external.caBundle",
		},
		"a CA bundle that is none": {edit: func(s *Source) { s.CABundle = "-----BEGIN CERTIFICATE-----" }, want: "CA bundle holds no certificate"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			remote := newIssuer(t)
			remote.publish("/jwks", good)
			if test.answer != nil {
				remote.handle("/jwks", test.answer)
			}
			source := remote.source()
			if test.edit != nil {
				test.edit(&source)
			}
			f, _ := newFetcher(source, nil)
			status := cycle(t, f)
			if !strings.Contains(status.LastError, test.want) || len(status.Keys) != 0 {
				t.Errorf("LastError = %q with %d keys, want one with %q and none", status.LastError, len(status.Keys), test.want)
			}
			if strings.Contains(status.LastError, "hidden") {
				t.Errorf("LastError = %q repeats what may be secret", status.LastError)
			}
		})
	}
}

func TestFetchFollowsThreeRedirects(t *testing.T) {
	remote := newIssuer(t)
	for from, to := range map[string]string{"/jwks": "/2", "/2": "/3", "/3": "/4"} {
		remote.handle(from, http.RedirectHandler(to, http.StatusFound).ServeHTTP)
	}
	remote.publish("/4", jwks(t, p256(t, "a")))
	f, _ := newFetcher(remote.source(), nil)
	cycleWell(t, f)
	if remote.hits("/4") != 1 {
		t.Error("the last of three redirects was not followed")
	}
}

func TestFetchStopsAtFourthRedirect(t *testing.T) {
	remote := newIssuer(t)
	remote.handle("/jwks", http.RedirectHandler("/jwks", http.StatusFound).ServeHTTP)
	f, _ := newFetcher(remote.source(), nil)
	if cycle(t, f); remote.hits("/jwks") != 1+maxRedirects {
		t.Errorf("%d requests, want the first and three redirects", remote.hits("/jwks"))
	}
}

// A server can finish its answer just because it notices that we hang up.
func TestFetchRefusesAnswerAfterItsEnd(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	recorder := httptest.NewRecorder()
	c, err := newClusterClient(roundTripper(func(*http.Request) (*http.Response, error) {
		cancel(errTimeout)
		return recorder.Result(), nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.get(ctx, "https://issuer.example.com"); !errors.Is(err, errTimeout) {
		t.Errorf("error = %v, want the timeout", err)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (r roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return r(request) }

func TestFetchAcceptsBodyOfOneMebibyte(t *testing.T) {
	remote := newIssuer(t)
	document := jwks(t, p256(t, "a"))
	remote.publish("/jwks", append(document, bytes.Repeat([]byte(" "), maxBody-len(document))...))
	f, _ := newFetcher(remote.source(), nil)
	cycleWell(t, f)
}

func TestFetchSendsNothingOfOurs(t *testing.T) {
	remote := newIssuer(t)
	var headers []http.Header
	note := func(r *http.Request) { headers = append(headers, r.Header.Clone()) }
	remote.handle("/jwks", func(w http.ResponseWriter, r *http.Request) {
		note(r)
		http.SetCookie(w, &http.Cookie{Name: "trace", Value: "1", Path: "/"})
		http.Redirect(w, r, "/moved", http.StatusFound)
	})
	remote.handle("/moved", func(w http.ResponseWriter, r *http.Request) { note(r); _, _ = w.Write(jwks(t, p256(t, "a"))) })
	f, _ := newFetcher(remote.source(), nil)
	cycleWell(t, f)
	want := http.Header{"Accept": {"application/jwk-set+json, application/json"}, "User-Agent": {"keyturn"}, "Accept-Encoding": {"gzip"}}
	if diff := cmp.Diff([]http.Header{want, want}, headers); diff != "" {
		t.Errorf("headers of both requests (-want +got):\n%s", diff)
	}
}

func TestFetchIgnoresProxyOfEnvironment(t *testing.T) {
	c, err := newClient(Source{}, loopback)
	if err != nil {
		t.Fatal(err)
	}
	// net/http reads the environment once per process and never for a loopback address: only the setting can be tested.
	if c.http.Transport.(*http.Transport).Proxy != nil {
		t.Error("a proxy would connect in our place, past the address guard")
	}
}

// A name is checked by what it resolves to at the moment of dialing.
func TestFetchGuardsResolvedAddress(t *testing.T) {
	remote := newIssuer(t)
	remote.publish("/jwks", jwks(t, p256(t, "a")))
	source := remote.source()
	source.JWKSURL = "https://localhost:" + port(remote.Listener.Addr().String()) + "/jwks"
	for _, allowed := range [][]netip.Prefix{nil, {netip.MustParsePrefix("10.0.0.0/8")}} {
		f := New(source, Options{AllowedInternal: allowed})
		if got := f.fetch(t.Context()); !errors.Is(got.err, ErrInternalAddress) {
			t.Errorf("error for a name of this host with %v allowed = %v, want ErrInternalAddress", allowed, got.err)
		}
	}
	if remote.hits("/jwks") != 0 {
		t.Error("the server was reached")
	}
}

func TestClusterSource(t *testing.T) {
	remote := newIssuer(t)
	remote.publish("/openid/v1/jwks", jwks(t, rsaKey("a")))
	// No address is allowed and no CA given: the transport of the cluster's own connection decides.
	f := New(Source{IssuerURL: "https://kubernetes.default.svc", BaseURL: remote.URL + "/", Transport: remote.Client().Transport}, Options{})
	cycleWell(t, f)
	if diff := cmp.Diff(algorithmsOf{"a": {jose.RS256, jose.PS256}}, ids(f.Current().Keys)); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}

func TestClusterSourceRefuses(t *testing.T) {
	remote := newIssuer(t)
	var reached bool
	elsewhere := newIssuer(t)
	elsewhere.handle("/", func(http.ResponseWriter, *http.Request) { reached = true })
	source := Source{BaseURL: remote.URL, Transport: remote.Client().Transport}
	tests := map[string]struct {
		answer http.HandlerFunc
		source Source
		want   string
	}{
		"no transport": {source: Source{BaseURL: remote.URL}, want: "Source.Transport"},
		"not permitted": {
			answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
			source: source, want: "system:service-account-issuer-discovery",
		},
		"a redirect, which would carry the credentials along": {
			answer: http.RedirectHandler(elsewhere.URL+"/", http.StatusFound).ServeHTTP,
			source: source, want: "302 Found",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			remote.handle("/openid/v1/jwks", test.answer)
			f := New(test.source, Options{})
			if status := cycle(t, f); !strings.Contains(status.LastError, test.want) {
				t.Errorf("LastError = %q, want %q in it", status.LastError, test.want)
			}
		})
	}
	if reached {
		t.Error("the redirect was followed")
	}
}

func TestShown(t *testing.T) {
	for target, want := range map[string]string{
		"https://user:secret@example.com/a/b?token=secret#secret": "https://example.com/a/b",
		"https://example.com": "https://example.com",
		"https://%zz/secret":  "a URL that cannot be parsed",
	} {
		if got := shown(target); got != want {
			t.Errorf("shown(%q) = %q, want %q", target, got, want)
		}
	}
	inner := errors.New("inner")
	if got := bare(&url.Error{Op: "Get", URL: "https://example.com?secret", Err: inner}); !errors.Is(got, inner) || got.Error() != inner.Error() {
		t.Errorf("bare() = %v, want the error without the URL", got)
	}
}

func port(address string) string {
	return address[strings.LastIndexByte(address, ':')+1:]
}

// otherCA is a certificate that has nothing to do with the test servers: the private key was never kept.
const otherCA = `-----BEGIN CERTIFICATE-----
MIIBlTCCATugAwIBAgIUQKU0m3vA6RsCrc2vZPp6q8Gpu+AwCgYIKoZIzj0EAwIw
HzEdMBsGA1UEAwwUc29tZSBvdGhlciBhdXRob3JpdHkwIBcNMjYxMTIxMDQxNDQz
WhgPMjEyNjEwMjgwNDE0NDNaMB8xHTAbBgNVBAMMFHNvbWUgb3RoZXIgYXV0aG9y
aXR5MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEEm66tT2zWRggDleW9/x5byC
HsTH9zw9QUQ5Fkv1pNM4VEHGE5ihIueJYFe29A0FA/GOBL+b/3SUHjmS1sj3QaNT
MFEwHQYDVR0OBBYEFOO4BKyhAH4pNVRdh+649tD4l4N/MB8GA1UdIwQYMBaAFOO4
BKyhAH4pNVRdh+649tD4l4N/MA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwID
SAAwRQIhAMfkU7E/08rrGlGeYD9Weq0gkMFCJ9rkvc5jhse83pMdAiB8ElRxYoVC
si0vovUnQQDJBUj5Y0KbbIxuMq+PhOz7VA==
-----END CERTIFICATE-----
`
