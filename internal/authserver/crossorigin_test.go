package authserver

import (
	"net/http"
	"testing"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/issuers"
)

const (
	allowed = "https://app.example.com"
	local   = "http://localhost:3000"
	evil    = "https://evil.example.net"
)

// browserPaths are the endpoints where a cookie counts.
var browserPaths = []string{
	issuers.PathSessionLogin, issuers.PathSessionRenew, issuers.PathSessionLogout, issuers.PathSessionEndAll,
}

// TestWhichPagesMayAsk has what a browser says about where a request comes from. "-" stands for an absent header.
func TestWhichPagesMayAsk(t *testing.T) {
	for _, test := range []struct {
		name               string
		origin, site, csrf string
		noCookie           bool
		refused            bool
	}{
		{name: "the own origin", origin: origin, site: "same-origin", csrf: "1"},
		{name: "any value", origin: origin, site: "same-origin", csrf: "yes"},
		{name: "an older browser", origin: origin, site: "-", csrf: "1"},
		{name: "an allowed origin", origin: allowed, site: "same-site", csrf: "1"},
		{name: "one that is local", origin: local, site: "cross-site", csrf: "1"},
		{name: "an allowed origin in an older browser", origin: allowed, site: "-", csrf: "1"},
		{name: "no browser and no cookie", origin: "-", site: "-", csrf: "1", noCookie: true},
		{name: "typed by the user", origin: "-", site: "none", csrf: "1"},

		{name: "no browser and a cookie", origin: "-", site: "-", csrf: "1", refused: true},
		{name: "no header", origin: origin, site: "same-origin", csrf: "-", refused: true},
		{name: "an empty header", origin: origin, site: "same-origin", csrf: "", refused: true},
		{name: "no header from an allowed origin", origin: allowed, site: "same-site", csrf: "-", refused: true},
		{name: "no header and no cookie", origin: "-", site: "-", csrf: "-", noCookie: true, refused: true},
		{name: "another site", origin: evil, site: "cross-site", csrf: "1", refused: true},
		{name: "a neighbor", origin: "https://www.example.com", site: "same-site", csrf: "1", refused: true},
		{name: "another site in an older browser", origin: evil, site: "-", csrf: "1", refused: true},
		{name: "another site without a cookie", origin: evil, site: "cross-site", csrf: "1", noCookie: true, refused: true},
		{name: "an opaque origin", origin: "null", site: "cross-site", csrf: "1", refused: true},
		{name: "an opaque origin in an older browser", origin: "null", site: "-", csrf: "1", refused: true},
		{name: "the host over plain http", origin: "http://" + host, site: "-", csrf: "1", refused: true},
		{name: "the host over plain http in a careless browser", origin: "http://" + host, site: "same-origin", csrf: "1", refused: true},
		{name: "the host with another port", origin: origin + ":8443", site: "-", csrf: "1", refused: true},
		{name: "no origin of another site", origin: "-", site: "cross-site", csrf: "1", refused: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, path := range browserPaths {
				w := newWorld(t)
				w.spec().AllowedOrigins = []string{allowed, local}
				opened, cookie := w.loggedIn()
				r := w.browserRequest(path, aliceLogsIn)
				if !test.noCookie {
					r.AddCookie(&http.Cookie{Name: cookie.Name, Value: cookie.Value})
				}
				for name, value := range map[string]string{"Origin": test.origin, "Sec-Fetch-Site": test.site, headerCSRF: test.csrf} {
					r.Header.Set(name, value)
					if value == "-" {
						r.Header.Del(name)
					}
				}
				a := w.send(r, path)
				if refused := a.StatusCode == http.StatusForbidden && a.text("error") == codeAccessDenied; refused != test.refused {
					t.Fatalf("%s answers %d %s", path, a.StatusCode, a.raw)
				}
				if test.refused {
					w.claims(opened.text("access_token"))
					w.wantEvents()
				}
			}
		})
	}
}

// TestHostBehindAProxy is the one that the client asked for, which the request itself does not show.
func TestHostBehindAProxy(t *testing.T) {
	w := newWorld(t)
	r := w.browserRequest(issuers.PathSessionLogin, aliceLogsIn)
	r.Host = "keyturn.keyturn-system.svc"
	r.Header.Del("Sec-Fetch-Site")
	w.send(r, issuers.PathSessionLogin).want(t, http.StatusOK, "")
	if r.Host != "keyturn.keyturn-system.svc" {
		t.Error("the request was changed")
	}
}

func TestPreflight(t *testing.T) {
	for name, test := range map[string]struct {
		origin, method, header string
		origins                []string
		status                 int
		allowed                bool
	}{
		"allowed":         {allowed, "POST", "content-type,x-csrf", []string{allowed}, 204, true},
		"local":           {local, "POST", "x-csrf", []string{allowed, local}, 204, true},
		"not allowed":     {evil, "POST", "content-type,x-csrf", []string{allowed}, 204, false},
		"another method":  {allowed, "PUT", "x-csrf", []string{allowed}, 204, false},
		"another header":  {allowed, "POST", "authorization", []string{allowed}, 204, false},
		"no other origin": {evil, "POST", "content-type,x-csrf", nil, 405, false},
		"a wildcard":      {evil, "POST", "content-type,x-csrf", []string{"https://*.example.net", "*"}, 405, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.spec().AllowedOrigins = test.origins
			for _, path := range browserPaths {
				a := w.do(http.MethodOptions, path, "", http.Header{
					"Origin": {test.origin}, "Access-Control-Request-Method": {test.method}, "Access-Control-Request-Headers": {test.header},
				})
				if a.StatusCode != test.status {
					t.Errorf("%s answers %d", path, a.StatusCode)
				}
				got := a.Header.Get("Access-Control-Allow-Origin")
				if (got == test.origin) != test.allowed || (!test.allowed && got != "") {
					t.Errorf("%s allows the origin %q", path, got)
				}
				if credentials := a.Header.Get("Access-Control-Allow-Credentials"); (credentials == "true") != test.allowed {
					t.Errorf("%s allows credentials: %q", path, credentials)
				}
			}
		})
	}
}

// TestAnswersThatAPageMayRead are those to allowed origins: the good ones, and errors too.
func TestAnswersThatAPageMayRead(t *testing.T) {
	w := newWorld(t)
	w.spec().AllowedOrigins = []string{allowed}
	for from, readable := range map[string]bool{allowed: true, evil: false} {
		for _, body := range []string{aliceLogsIn, `{}`} {
			r := w.browserRequest(issuers.PathSessionLogin, body)
			r.Header.Set("Origin", from)
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			a := w.send(r, issuers.PathSessionLogin)
			if got := a.Header.Get("Access-Control-Allow-Origin"); (got == from) != readable || (!readable && got != "") {
				t.Errorf("the answer %d may be read by %q", a.StatusCode, got)
			}
			if a.Header.Get("Vary") != "Origin" {
				t.Errorf("Vary is %q", a.Header.Get("Vary"))
			}
		}
	}
	// The other endpoints know no cookie, and no page has any business there.
	a := w.do(http.MethodPost, issuers.PathToken, "", http.Header{"Origin": {allowed}})
	if got := a.Header.Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("the token endpoint may be read by %q", got)
	}
}

func TestAnotherSpecHasAnotherFence(t *testing.T) {
	w := newWorld(t)
	ask := func() int {
		r := w.browserRequest(issuers.PathSessionLogin, aliceLogsIn)
		r.Header.Set("Origin", allowed)
		r.Header.Set("Sec-Fetch-Site", "same-site")
		return w.send(r, issuers.PathSessionLogin).StatusCode
	}
	if got := ask(); got != http.StatusForbidden {
		t.Errorf("before the origin is allowed: %d", got)
	}
	w.edit(func(spec *v1alpha1.SessionPolicy) { spec.AllowedOrigins = []string{allowed} })
	first := w.fences.of(w.authority().Name, w.spec())
	if got := ask(); got != http.StatusOK {
		t.Errorf("after the origin was allowed: %d", got)
	}
	if w.fences.of(w.authority().Name, w.spec()) != first {
		t.Error("the fence is built for each request")
	}
	w.ForgetIssuer("web", "shop")
	if _, found := w.fences.byIssuer.Load(w.authority().Name); found {
		t.Error("the fence of an issuer that is gone stays")
	}
}
