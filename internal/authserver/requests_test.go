package authserver

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/session"
	"github.com/keyturn/keyturn/internal/token"
)

// answered is the answer to a request.
type answered struct {
	*http.Response
	raw    string
	fields map[string]any
}

func (a answered) text(name string) string {
	text, _ := a.fields[name].(string)
	return text
}

// description is what error_description may hold (RFC 6749 section 5.2).
var description = regexp.MustCompile(`^[\x20-\x21\x23-\x5B\x5D-\x7E]+$`)

// do sends a request to an endpoint, and holds every answer to what is true of all.
func (w *world) do(method, path, body string, header http.Header) answered {
	w.t.Helper()
	r := httptest.NewRequest(method, issuerURL+path, strings.NewReader(body))
	for name, values := range header {
		r.Header[http.CanonicalHeaderKey(name)] = values
	}
	return w.send(r, path)
}

func (w *world) send(r *http.Request, path string) answered {
	w.t.Helper()
	recorder := httptest.NewRecorder()
	client := netip.MustParseAddr("203.0.113.9")
	w.ServeEndpoint(recorder, r, w.authority(), path, RequestInfo{Client: client, Host: host, Path: "/shop"})
	a := answered{Response: recorder.Result(), raw: recorder.Body.String()}
	if a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Pragma") != "no-cache" {
		w.t.Errorf("%s may be cached: %v", path, a.Header)
	}
	if a.raw != "" {
		if err := json.Unmarshal([]byte(a.raw), &a.fields); err != nil || a.Header.Get("Content-Type") != "application/json" {
			w.t.Fatalf("%s answers %q as %s: %v", path, a.raw, a.Header.Get("Content-Type"), err)
		}
	}
	if a.StatusCode >= 400 && (a.text("error") == "" || !description.MatchString(a.text("error_description"))) {
		w.t.Errorf("%s answers %d with the error %q: %q", path, a.StatusCode, a.text("error"), a.text("error_description"))
	}
	for _, name := range []string{"access_token", "refresh_token"} {
		if secret := a.text(name); secret != "" {
			w.secrets = append(w.secrets, secret)
		}
	}
	for _, cookie := range a.Cookies() {
		if cookie.Value != "" {
			w.secrets = append(w.secrets, cookie.Value)
		}
	}
	return a
}

// want checks the status and the value of "error".
func (a answered) want(t testing.TB, status int, code string) {
	t.Helper()
	if a.StatusCode != status || a.text("error") != code {
		t.Fatalf("answered %d %s %s, want %d %s", a.StatusCode, a.text("error"), a.text("error_description"), status, code)
	}
}

// form sends parameters: pairs of a name and a value.
func (w *world) form(path string, parameters ...string) answered {
	w.t.Helper()
	return w.formWith(path, nil, parameters...)
}

func (w *world) formWith(path string, header http.Header, parameters ...string) answered {
	w.t.Helper()
	values := url.Values{}
	for pair := range slices.Chunk(parameters, 2) {
		values.Add(pair[0], pair[1])
	}
	all := http.Header{"Content-Type": {mediaForm}}
	for name, value := range header {
		all[name] = value
	}
	return w.do(http.MethodPost, path, values.Encode(), all)
}

// refreshWith presents a refresh token at the token endpoint.
func (w *world) refreshWith(refreshToken string, more ...string) answered {
	w.t.Helper()
	return w.form(issuers.PathToken, append([]string{"grant_type", issuers.GrantRefreshToken, "refresh_token", refreshToken}, more...)...)
}

// issue opens a session as the workload does.
func (w *world) issue(body string) answered {
	w.t.Helper()
	return w.do(http.MethodPost, issuers.PathSessions, body, bearerJSON(workloadToken))
}

// opened opens the session of carol that most tests go on with.
func (w *world) opened() answered {
	w.t.Helper()
	a := w.issue(`{"subject":"carol","client_id":"web","scope":"orders:read orders:write"}`)
	if a.StatusCode != http.StatusCreated {
		w.t.Fatalf("opening a session: %d %s", a.StatusCode, a.raw)
	}
	w.takeEvents()
	return a
}

func bearerJSON(presented string) http.Header {
	return http.Header{"Authorization": {"Bearer " + presented}, "Content-Type": {mediaJSON}}
}

// browse sends a request as a page of the issuer's own origin does.
func (w *world) browse(path, body string, cookies ...*http.Cookie) answered {
	w.t.Helper()
	return w.send(w.browserRequest(path, body, cookies...), path)
}

func (w *world) browserRequest(path, body string, cookies ...*http.Cookie) *http.Request {
	r := httptest.NewRequest(http.MethodPost, issuerURL+path, strings.NewReader(body))
	r.Header.Set("Content-Type", mediaJSON)
	r.Header.Set("Origin", origin)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set(headerCSRF, "1")
	for _, cookie := range cookies {
		r.AddCookie(&http.Cookie{Name: cookie.Name, Value: cookie.Value})
	}
	return r
}

const aliceLogsIn = `{"username":"alice","password":"` + password + `"}`

// loggedIn logs alice in with a browser and returns the answer and the cookie.
func (w *world) loggedIn() (answered, *http.Cookie) {
	w.t.Helper()
	a := w.browse(issuers.PathSessionLogin, aliceLogsIn)
	if a.StatusCode != http.StatusOK || len(a.Cookies()) != 1 {
		w.t.Fatalf("login: %d %s, %d cookies", a.StatusCode, a.raw, len(a.Cookies()))
	}
	w.takeEvents()
	return a, a.Cookies()[0]
}

// verdict is what the verifier says about an access token, whatever it is for.
func (w *world) verdict(accessToken string) token.Reason {
	verifier := w.options.Verifier
	return verifier.Verify(accessToken, token.Want{Audiences: []string{"shop-api", "mail-api"}}).Reason
}

// claims reads an access token that must be good.
func (w *world) claims(accessToken string) *token.Claims {
	w.t.Helper()
	result := w.options.Verifier.Verify(accessToken, token.Want{Audiences: []string{"shop-api", "mail-api"}})
	if !result.Allowed() {
		w.t.Fatalf("the access token is denied: %s", result.Reason)
	}
	return result.Claims
}

// metric returns the sum of the counters of this name whose labels have all these values.
func (w *world) metric(name string, labels ...string) float64 {
	w.t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	sum := 0.0
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, metric := range family.GetMetric() {
			var values []string
			for _, label := range metric.GetLabel() {
				values = append(values, label.GetValue())
			}
			if !slices.ContainsFunc(labels, func(value string) bool { return !slices.Contains(values, value) }) {
				sum += metric.GetCounter().GetValue() + float64(metric.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

// postForm makes a request with parameters.
func postForm(parameters ...string) *http.Request {
	values := url.Values{}
	for pair := range slices.Chunk(parameters, 2) {
		values.Add(pair[0], pair[1])
	}
	r := httptest.NewRequest(http.MethodPost, issuerURL, strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", mediaForm)
	return r
}

// issueRequestOf makes the request of the workload that opens a session.
func issueRequestOf(body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, issuerURL, strings.NewReader(body))
	r.Header = bearerJSON(workloadToken)
	return r
}

// serveOnce answers a request and checks nothing, so that many can do it at once.
func serveOnce(w *world, r *http.Request, path string) answered {
	return serveAuthority(w, w.authority(), r, path)
}

// serveAuthority does so for an issuer as some replica knows it.
func serveAuthority(w *world, a *issuers.Authority, r *http.Request, path string) answered {
	recorder := httptest.NewRecorder()
	w.ServeEndpoint(recorder, r, a, path, RequestInfo{Host: host, Path: "/shop"})
	got := answered{Response: recorder.Result(), raw: recorder.Body.String()}
	_ = json.Unmarshal([]byte(got.raw), &got.fields)
	return got
}

// allSessions are the ids of the sessions that staff:alice and carol have.
func (w *world) allSessions() []session.ID {
	w.t.Helper()
	var ids []session.ID
	for _, subject := range []string{"staff:alice", "carol"} {
		reference := session.IssuerReference{Namespace: w.issuer.Namespace, Name: w.issuer.Name}
		listed, err := w.store.Store.ListSubject(context.Background(), reference, subject, w.clock.Now(), 100)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, one := range listed {
			ids = append(ids, one.ID)
		}
	}
	return ids
}

// decodePayload returns the claims of a token as they were written.
func decodePayload(t testing.TB, raw string) string {
	t.Helper()
	signed, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	return string(signed.UnsafePayloadWithoutVerification())
}
