package app

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// keyturn plays Keyturn: it remembers the requests and answers as the test says.
type keyturn struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
}

func newKeyturn(t *testing.T, answer http.HandlerFunc) *keyturn {
	t.Helper()
	k := &keyturn{}
	k.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k.mu.Lock()
		k.requests = append(k.requests, r)
		k.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(k.Close)
	return k
}

// handler is the example in front of this Keyturn.
func (k *keyturn) handler(t *testing.T) http.Handler {
	t.Helper()
	address, err := url.Parse(k.URL)
	if err != nil {
		t.Fatal(err)
	}
	h, err := New(Options{Keyturn: address, Transport: k.Client().Transport, IssuerPath: "/shop", Audience: "shop api"})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// last is the one request that Keyturn got.
func (k *keyturn) last(t *testing.T) *http.Request {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.requests) != 1 {
		t.Fatalf("Keyturn got %d requests, want one", len(k.requests))
	}
	return k.requests[0]
}

func serve(h http.Handler, r *http.Request) *http.Response {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func text(t *testing.T, response *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestPage(t *testing.T) {
	h := newKeyturn(t, http.NotFound).handler(t)
	for path, want := range map[string]struct{ kind, content string }{
		"/":           {"text/html; charset=utf-8", `<meta name="keyturn-issuer" content="/shop">`},
		"/keyturn.js": {"text/javascript; charset=utf-8", "export const createSession"},
		"/page.js":    {"text/javascript; charset=utf-8", "from './keyturn.js'"},
		"/style.css":  {"text/css; charset=utf-8", ":root"},
		"/icon.svg":   {"image/svg+xml", "<svg"},
	} {
		response := serve(h, httptest.NewRequest(http.MethodGet, path, http.NoBody))
		if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != want.kind {
			t.Errorf("%s: %s, Content-Type %q", path, response.Status, response.Header.Get("Content-Type"))
		}
		if !strings.Contains(text(t, response), want.content) {
			t.Errorf("%s does not contain %q", path, want.content)
		}
		policy := response.Header.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none'; script-src 'self';") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: Content-Security-Policy %q", path, policy)
		}
		if response.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: the browser may guess the type", path)
		}
	}
}

// TestProxy has Keyturn see the host that the browser asked for, and what the proxy knows about the browser, not what
// the browser says about itself.
func TestProxy(t *testing.T) {
	for _, path := range []string{"/shop/session/refresh", "/shop/.well-known/openid-configuration"} {
		k := newKeyturn(t, func(w http.ResponseWriter, _ *http.Request) {
			http.SetCookie(w, &http.Cookie{Name: "__Secure-keyturn", Value: "v", Path: "/shop/session"})
			w.WriteHeader(http.StatusTeapot)
		})
		r := httptest.NewRequest(http.MethodPost, "https://shop.example"+path, strings.NewReader("body"))
		r.RemoteAddr = "192.0.2.7:4711"
		r.Header.Set("X-Forwarded-For", "198.51.100.1")
		r.Header.Set("X-Forwarded-Host", "evil.example")
		r.Header.Set("X-Forwarded-Proto", "http")
		r.Header.Set("X-Csrf", "1")
		r.Header.Set("Origin", "https://shop.example")
		r.AddCookie(&http.Cookie{Name: "__Secure-keyturn", Value: "old"})
		response := serve(k.handler(t), r)
		if response.StatusCode != http.StatusTeapot || len(response.Cookies()) != 1 {
			t.Errorf("%s: the answer is %s with cookies %v", path, response.Status, response.Cookies())
		}
		seen := k.last(t)
		got := map[string]string{"path": seen.URL.Path, "host": seen.Host}
		want := map[string]string{
			"path": path, "host": "shop.example",
			"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Host": "shop.example", "X-Forwarded-Proto": "https",
			"X-Csrf": "1", "Origin": "https://shop.example", "Cookie": "__Secure-keyturn=old",
		}
		for name := range want {
			if _, known := got[name]; !known {
				got[name] = strings.Join(seen.Header[name], " | ")
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: what Keyturn sees (-want +got):\n%s", path, diff)
		}
	}
}

// TestNotProxied keeps what is for workloads from browsers.
func TestNotProxied(t *testing.T) {
	k := newKeyturn(t, func(http.ResponseWriter, *http.Request) {})
	h := k.handler(t)
	for _, path := range []string{
		"/shop/sessions", "/shop/introspect", "/shop/token", "/shop", "/verify", "/session/refresh", "/other",
	} {
		r := httptest.NewRequest(http.MethodPost, path, http.NoBody)
		if got := serve(h, r).StatusCode; got != http.StatusNotFound && got != http.StatusMethodNotAllowed {
			t.Errorf("POST %s is answered %d", path, got)
		}
	}
	if len(k.requests) != 0 {
		t.Errorf("Keyturn got %d requests", len(k.requests))
	}
}

func TestKeyturnIsAway(t *testing.T) {
	k := newKeyturn(t, http.NotFound)
	h := k.handler(t)
	k.Close()
	for _, path := range []string{"/shop/session/refresh", "/api/orders"} {
		response := serve(h, httptest.NewRequest(http.MethodPost, path, http.NoBody))
		if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") != "1" {
			t.Errorf("%s: %s, Retry-After %q", path, response.Status, response.Header.Get("Retry-After"))
		}
		body := text(t, response)
		if !strings.Contains(body, `"temporarily_unavailable"`) || strings.Contains(body, "127.0.0.1") {
			t.Errorf("%s: the answer is %s", path, body)
		}
	}
}

func TestGuardLetsThrough(t *testing.T) {
	k := newKeyturn(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Auth-Subject", "al%C3%AFce")
	})
	r := httptest.NewRequest(http.MethodGet, "/api/orders", http.NoBody)
	r.Header["Authorization"] = []string{"Bearer one", "Bearer two"}
	r.Header.Set("X-Auth-Subject", "root")
	r.Header.Set("Cookie", "theirs=1")
	response := serve(k.handler(t), r)
	if body := text(t, response); response.StatusCode != http.StatusOK || !strings.Contains(body, `"customer": "alïce"`) {
		t.Errorf("%s %s", response.Status, body)
	}
	if got := response.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control %q", got)
	}
	seen := k.last(t)
	if got := seen.URL.String(); got != "/verify?audience=shop+api" {
		t.Errorf("Keyturn was asked %s", got)
	}
	if diff := cmp.Diff([]string{"Bearer one", "Bearer two"}, seen.Header["Authorization"]); diff != "" {
		t.Errorf("Keyturn must see every Authorization header (-want +got):\n%s", diff)
	}
	if seen.Header.Get("Cookie") != "" || seen.Header.Get("X-Auth-Subject") != "" {
		t.Errorf("Keyturn got more than it needs: %v", seen.Header)
	}
}

// TestGuardRemovesIdentity does not let a client say who it is where Keyturn says nothing.
func TestGuardRemovesIdentity(t *testing.T) {
	k := newKeyturn(t, func(http.ResponseWriter, *http.Request) {})
	r := httptest.NewRequest(http.MethodGet, "/api/orders", http.NoBody)
	r.Header.Set("X-Auth-Subject", "root")
	if response := serve(k.handler(t), r); response.StatusCode != http.StatusInternalServerError {
		t.Errorf("without an identity the answer is %s: %s", response.Status, text(t, response))
	}
}

func TestGuardDenies(t *testing.T) {
	for name, test := range map[string]struct {
		status, want  int
		wantChallenge string
	}{
		"no token":    {http.StatusUnauthorized, http.StatusUnauthorized, `Bearer error="invalid_token"`},
		"wrong scope": {http.StatusForbidden, http.StatusForbidden, `Bearer error="invalid_token"`},
		"no verdict":  {http.StatusInternalServerError, http.StatusServiceUnavailable, ""},
		"not found":   {http.StatusNotFound, http.StatusServiceUnavailable, ""},
		"redirect":    {http.StatusTemporaryRedirect, http.StatusServiceUnavailable, ""},
		"no content":  {http.StatusNoContent, http.StatusServiceUnavailable, ""},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKeyturn(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(test.status)
			})
			response := serve(k.handler(t), httptest.NewRequest(http.MethodGet, "/api/orders", http.NoBody))
			if response.StatusCode != test.want || response.Header.Get("WWW-Authenticate") != test.wantChallenge {
				t.Errorf("%s, WWW-Authenticate %q", response.Status, response.Header.Get("WWW-Authenticate"))
			}
			if body := text(t, response); strings.Contains(body, "Rain jacket") {
				t.Errorf("the application has answered: %s", body)
			}
			k.last(t)
		})
	}
}

func TestLongBody(t *testing.T) {
	k := newKeyturn(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	body := strings.NewReader(strings.Repeat("a", maxBodyBytes+1))
	response := serve(k.handler(t), httptest.NewRequest(http.MethodPost, "/shop/session/login", body))
	if response.StatusCode == http.StatusOK {
		t.Error("a body of any length is passed on")
	}
}

func TestOptions(t *testing.T) {
	good := Options{Keyturn: &url.URL{Scheme: "https", Host: "keyturn:9443"}}
	for name, test := range map[string]struct {
		change func(*Options)
		want   string // a part of the error; empty for none
	}{
		"no path":           {func(*Options) {}, ""},
		"a path":            {func(o *Options) { o.IssuerPath = "/a/b" }, ""},
		"no address":        {func(o *Options) { o.Keyturn = nil }, "https URL"},
		"plain http":        {func(o *Options) { o.Keyturn = &url.URL{Scheme: "http", Host: "keyturn"} }, "https URL"},
		"no host":           {func(o *Options) { o.Keyturn = &url.URL{Scheme: "https"} }, "https URL"},
		"a relative path":   {func(o *Options) { o.IssuerPath = "shop" }, "begins with a slash"},
		"a slash at an end": {func(o *Options) { o.IssuerPath = "/shop/" }, "begins with a slash"},
		"a pattern":         {func(o *Options) { o.IssuerPath = "/{shop}" }, "begins with a slash"},
		"the API's path":    {func(o *Options) { o.IssuerPath = "/api/shop" }, "is the API's"},
	} {
		t.Run(name, func(t *testing.T) {
			options := good
			test.change(&options)
			_, err := New(options)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}
