package authserver

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/revocation"
	"github.com/keyturn/keyturn/internal/session"
	"github.com/keyturn/keyturn/internal/token"
)

func TestRefresh(t *testing.T) {
	w := newWorld(t)
	first := w.opened()
	w.clock.Step(5 * time.Minute)
	second := w.refreshWith(first.text("refresh_token"), "client_id", "web")
	second.want(t, http.StatusOK, "")
	if diff := cmp.Diff(map[string]any{
		"access_token": second.text("access_token"), "token_type": "Bearer", "expires_in": 599.0,
		"refresh_token": second.text("refresh_token"), "scope": "orders:read orders:write",
	}, second.fields); diff != "" {
		t.Errorf("the answer (-want +got):\n%s", diff)
	}
	if second.text("refresh_token") == first.text("refresh_token") {
		t.Error("the refresh token did not rotate")
	}
	claims := w.claims(second.text("access_token"))
	if claims.Subject != "carol" || claims.ClientID != "web" || claims.SessionID != first.text("session_id") ||
		!cmp.Equal(claims.Audiences, []string{"mail-api", "shop-api"}) || !cmp.Equal(claims.Groups("tenant"), []string{"acme"}) {
		t.Errorf("the claims are %+v", claims)
	}
	w.wantEvents("refresh Rotated")
	if again := w.refreshWith(first.text("refresh_token")); again.text("refresh_token") != second.text("refresh_token") {
		t.Error("a lost answer is not repeated")
	}
	w.wantEvents("refresh Repeated")
	if got := w.metric("keyturn_refreshes_total", "web/shop", "Rotated"); got != 1 {
		t.Errorf("%v rotations are counted", got)
	}
	if got := w.metric("keyturn_refresh_duration_seconds"); got != 2 {
		t.Errorf("%v durations are measured", got)
	}
}

func TestHundredRefreshesAtOnce(t *testing.T) {
	w := newWorld(t)
	w.spec().RateLimits.RefreshPerSession = 100
	first := w.opened()
	var group sync.WaitGroup
	successors := make(chan string, 100)
	for range cap(successors) {
		group.Go(func() {
			r := postForm("grant_type", issuers.GrantRefreshToken, "refresh_token", first.text("refresh_token"))
			successors <- serveOnce(w, r, issuers.PathToken).text("refresh_token")
		})
	}
	group.Wait()
	close(successors)
	different := map[string]bool{}
	for successor := range successors {
		different[successor] = true
	}
	if len(different) != 1 || different[""] {
		t.Errorf("there are %d successors", len(different))
	}
}

func TestReuse(t *testing.T) {
	w := newWorld(t)
	first := w.opened()
	second := w.refreshWith(first.text("refresh_token"))
	w.takeEvents()
	w.clock.Step(13 * time.Second)
	w.refreshWith(first.text("refresh_token")).want(t, http.StatusBadRequest, codeInvalidGrant)
	w.wantEvents("reuse Reuse")
	for _, a := range []answered{first, second} {
		if verdict := w.verdict(a.text("access_token")); verdict != token.Revoked {
			t.Errorf("an access token of the session is %s", verdict)
		}
	}
	w.refreshWith(second.text("refresh_token")).want(t, http.StatusBadRequest, codeInvalidGrant)
	if got := w.metric("keyturn_sessions_ended_total", "web/shop", "Reuse"); got != 1 {
		t.Errorf("%v sessions are counted as ended", got)
	}
}

// TestReuseWhileTheStoreFails because the thief may be the one who makes it fail.
func TestReuseWhileTheStoreFails(t *testing.T) {
	w := newWorld(t)
	first := w.opened()
	w.refreshWith(first.text("refresh_token"))
	w.clock.Step(13 * time.Second)
	w.takeEvents()
	w.store.fail["CompareAndSwap"] = session.ErrUnavailable
	w.refreshWith(first.text("refresh_token")).want(t, http.StatusServiceUnavailable, codeUnavailable)
	if events := w.takeEvents(); len(events) != 1 || events[0]["audit"] != "reuse" {
		t.Errorf("the audit log says %v", events)
	}
}

func TestBadTokenRequests(t *testing.T) {
	for _, test := range []struct {
		name       string
		parameters []string
		status     int
		code       string
	}{
		{"nothing", nil, 400, codeInvalidRequest},
		{"no grant type", []string{"refresh_token", "x"}, 400, codeInvalidRequest},
		{"an unknown grant type", []string{"grant_type", "password"}, 400, codeUnsupportedGrantType},
		{"no refresh token", []string{"grant_type", "refresh_token"}, 400, codeInvalidRequest},
		{"an empty refresh token", []string{"grant_type", "refresh_token", "refresh_token", ""}, 400, codeInvalidRequest},
		{"no refresh token of ours", []string{"grant_type", "refresh_token", "refresh_token", "x"}, 400, codeInvalidGrant},
		{"a parameter twice", []string{"grant_type", "refresh_token", "refresh_token", "x", "refresh_token", "x"}, 400, codeInvalidRequest},
		{"a client secret", []string{"grant_type", "refresh_token", "refresh_token", "x", "client_secret", "s"}, 401, codeInvalidClient},
		{"a client assertion", []string{"grant_type", "refresh_token", "refresh_token", "x", "client_assertion", "s"}, 401, codeInvalidClient},
		{"a relative resource", []string{"grant_type", "refresh_token", "refresh_token", "x", "resource", "/a"}, 400, codeInvalidTarget},
		{"a resource with a fragment", []string{"grant_type", "refresh_token", "refresh_token", "x", "resource", "https://a#b"}, 400, codeInvalidTarget},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			w.form(issuers.PathToken, test.parameters...).want(t, test.status, test.code)
			if calls := w.store.total(); calls != 0 {
				t.Errorf("it cost %d operations of the store", calls)
			}
			w.wantEvents()
		})
	}
}

func TestBadBodies(t *testing.T) {
	w := newWorld(t)
	good := "grant_type=refresh_token&refresh_token=" + w.opened().text("refresh_token")
	for name, test := range map[string]struct {
		media, body string
		status      int
	}{
		"no media type":      {"", good, 400},
		"JSON":               {mediaJSON, `{"grant_type":"refresh_token"}`, 400},
		"a broken media":     {mediaForm + "; =", good, 400},
		"not a form":         {mediaForm, "grant_type=%zz", 400},
		"a semicolon":        {mediaForm, "grant_type=refresh_token;refresh_token=x", 400},
		"one byte too many":  {mediaForm, good + "&x=" + strings.Repeat("x", maxBodyBytes-len(good)-2), 413},
		"the largest":        {mediaForm, good + "&x=" + strings.Repeat("x", maxBodyBytes-len(good)-3), 200},
		"with a charset":     {mediaForm + "; charset=UTF-8", good, 200},
		"unknown parameters": {mediaForm, good + "&nonce=1&state=2", 200},
	} {
		t.Run(name, func(t *testing.T) {
			a := w.do(http.MethodPost, issuers.PathToken, test.body, http.Header{"Content-Type": {test.media}})
			if a.StatusCode != test.status {
				t.Errorf("answered %d %s", a.StatusCode, a.raw)
			}
		})
	}
}

func TestMethods(t *testing.T) {
	w := newWorld(t)
	for path := range w.endpoints {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions} {
			a := w.do(method, path, "", nil)
			if a.StatusCode != http.StatusMethodNotAllowed || a.Header.Get("Allow") != "POST" {
				t.Errorf("%s %s: %d, Allow %q", method, path, a.StatusCode, a.Header.Get("Allow"))
			}
		}
	}
	w.do(http.MethodPost, "/authorize", "", nil).want(t, http.StatusNotFound, codeNotFound)
}

// TestClients has the ways in which libraries say who the client is.
func TestClients(t *testing.T) {
	for _, test := range []struct {
		name       string
		user, pass string
		header     string
		parameters []string
		status     int
		code       string
	}{
		{name: "no word about it", status: 200},
		{name: "a parameter", parameters: []string{"client_id", "web"}, status: 200},
		{name: "Basic without a secret", user: "web", status: 200},
		{name: "Basic and a parameter", user: "web", parameters: []string{"client_id", "web"}, status: 200},
		{name: "Basic with nothing", header: "Basic Og==", parameters: []string{"client_id", "web"}, status: 200},
		{name: "another client", parameters: []string{"client_id", "mobile"}, status: 400, code: codeInvalidGrant},
		{name: "another client by Basic", user: "mobile", status: 400, code: codeInvalidGrant},
		{name: "a form-encoded name", user: "%77eb", status: 200},
		{name: "two clients", user: "mobile", parameters: []string{"client_id", "web"}, status: 400, code: codeInvalidRequest},
		{name: "Basic with a secret", user: "web", pass: "s", status: 401, code: codeInvalidClient},
		{name: "Basic with a broken name", user: "%", status: 401, code: codeInvalidClient},
		{name: "another scheme", header: "Bearer x", status: 401, code: codeInvalidClient},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			refreshToken := w.opened().text("refresh_token")
			header := http.Header{}
			r := &http.Request{Header: header}
			if test.user != "" {
				r.SetBasicAuth(test.user, test.pass)
			} else if test.header != "" {
				header.Set("Authorization", test.header)
			}
			a := w.formWith(issuers.PathToken, header,
				append([]string{"grant_type", "refresh_token", "refresh_token", refreshToken}, test.parameters...)...)
			a.want(t, test.status, test.code)
			if challenge := a.Header.Get("WWW-Authenticate"); (challenge != "") != (test.status == 401) {
				t.Errorf("the challenge is %q", challenge)
			}
			if test.status == 401 && w.metric("keyturn_refreshes_total") != 0 {
				t.Error("the token was looked at")
			}
		})
	}
}

// TestNarrowing has refreshes that ask for less, or for more. What is refused spends no token.
func TestNarrowing(t *testing.T) {
	for _, test := range []struct {
		name       string
		parameters []string
		code       string
		scopes     []string
		audiences  []string
	}{
		{"a scope", []string{"scope", "orders:read"}, "", []string{"orders:read"}, []string{"mail-api", "shop-api"}},
		{"another order", []string{"scope", " orders:write  orders:read "}, "", []string{"orders:read", "orders:write"}, []string{"mail-api", "shop-api"}},
		{"an audience", []string{"audience", "mail-api"}, "", []string{"orders:read", "orders:write"}, []string{"mail-api"}},
		{"a resource and an audience", []string{"resource", "https://mail", "audience", "mail-api"}, codeInvalidTarget, nil, nil},
		{"two audiences", []string{"audience", "mail-api", "audience", "shop-api"}, "", []string{"orders:read", "orders:write"}, []string{"mail-api", "shop-api"}},
		{"more scopes", []string{"scope", "orders:read admin"}, codeInvalidScope, nil, nil},
		{"more audiences", []string{"audience", "mail-api", "audience", "pay-api"}, codeInvalidTarget, nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			first := w.opened()
			a := w.refreshWith(first.text("refresh_token"), test.parameters...)
			if test.code != "" {
				a.want(t, http.StatusBadRequest, test.code)
				if w.store.calls["CompareAndSwap"] != 0 {
					t.Error("a refresh token was spent for it")
				}
				return
			}
			a.want(t, http.StatusOK, "")
			claims := w.claims(a.text("access_token"))
			if !cmp.Equal(claims.Scopes, test.scopes) || !cmp.Equal(claims.Audiences, test.audiences) {
				t.Errorf("scopes %v and audiences %v", claims.Scopes, claims.Audiences)
			}
			// Less is for this one token, not for the session.
			next := w.claims(w.refreshWith(a.text("refresh_token")).text("access_token"))
			if len(next.Scopes) != 2 || len(next.Audiences) != 2 {
				t.Errorf("the next token has the scopes %v and the audiences %v", next.Scopes, next.Audiences)
			}
		})
	}
}

// TestPolicyOfTodayLimitsOldSessions because spec.sessions holds from the next token on.
func TestPolicyOfTodayLimitsOldSessions(t *testing.T) {
	w := newWorld(t)
	first := w.opened()
	w.edit(func(spec *v1alpha1.SessionPolicy) {
		spec.Audiences, spec.Scopes = []string{"shop-api"}, []string{"orders:read"}
	})
	second := w.refreshWith(first.text("refresh_token"))
	claims := w.claims(second.text("access_token"))
	if !cmp.Equal(claims.Scopes, []string{"orders:read"}) || !cmp.Equal(claims.Audiences, []string{"shop-api"}) {
		t.Errorf("scopes %v and audiences %v", claims.Scopes, claims.Audiences)
	}
	w.edit(func(spec *v1alpha1.SessionPolicy) { spec.Audiences = []string{"pay-api"} })
	w.refreshWith(second.text("refresh_token")).want(t, http.StatusBadRequest, codeInvalidGrant)
}

// TestUndecidedIsNeverInvalidGrant has what can fail at a refresh. The client keeps its token, and it is good afterwards.
func TestUndecidedIsNeverInvalidGrant(t *testing.T) {
	for name, test := range map[string]struct{ fail, heal func(*world) }{
		"reading": {
			func(w *world) { w.store.fail["Get"] = session.ErrUnavailable }, func(w *world) { delete(w.store.fail, "Get") },
		},
		"writing": {
			func(w *world) { w.store.fail["CompareAndSwap"] = session.ErrUnavailable }, func(w *world) { clear(w.store.fail) },
		},
		"contention": {
			func(w *world) { w.store.fail["CompareAndSwap"] = session.ErrConflict }, func(w *world) { clear(w.store.fail) },
		},
		"signing": {
			func(w *world) { w.signing = issuers.ErrCannotSign }, func(w *world) { w.signing = nil },
		},
		"keys": {
			func(w *world) { w.keys = nil }, nil,
		},
		"the signing key is revoked": {
			func(w *world) { w.revoke(revocation.KeyID, w.ring.Active().ID, time.Time{}) },
			func(w *world) {
				w.rules.Delete(revocation.Rule{ID: "rule/" + w.ring.Active().ID, Kind: revocation.KeyID, Value: w.ring.Active().ID})
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			first := w.opened()
			keys := w.keys
			test.fail(w)
			a := w.refreshWith(first.text("refresh_token"))
			a.want(t, http.StatusServiceUnavailable, codeUnavailable)
			if a.Header.Get("Retry-After") != "2" {
				t.Errorf("Retry-After is %q", a.Header.Get("Retry-After"))
			}
			w.wantEvents()
			w.keys = keys
			if test.heal != nil {
				test.heal(w)
			}
			w.clock.Step(time.Minute) // beyond any grace
			w.refreshWith(first.text("refresh_token")).want(t, http.StatusOK, "")
		})
	}
}

// TestForgedTokensCostNothing asks for what makes a flood harmless: no operation of the store, no memory, no line.
func TestForgedTokensCostNothing(t *testing.T) {
	w := newWorld(t)
	good := w.opened().text("refresh_token")
	before := w.store.total()
	for i := range 1000 {
		forged := fmt.Sprintf("%s%04d%s", good[:40], i, good[44:])
		if forged == good {
			continue
		}
		w.refreshWith(forged).want(t, http.StatusBadRequest, codeInvalidGrant)
		w.form(issuers.PathRevoke, "token", forged).want(t, http.StatusOK, "")
		w.browse(issuers.PathSessionRenew, "", &http.Cookie{Name: "__Secure-shop", Value: forged}).want(t, http.StatusBadRequest, codeInvalidGrant)
		w.browse(issuers.PathSessionLogout, "", &http.Cookie{Name: "__Secure-shop", Value: forged}).want(t, http.StatusNoContent, "")
		w.browse(issuers.PathSessionEndAll, "", &http.Cookie{Name: "__Secure-shop", Value: forged}).want(t, http.StatusNoContent, "")
		w.formWith(issuers.PathIntrospect, http.Header{"Authorization": {"Bearer " + workloadToken}}, "token", forged).want(t, http.StatusOK, "")
	}
	if calls := w.store.total() - before; calls != 0 {
		t.Errorf("the store was asked %d times", calls)
	}
	for _, name := range []limit{limitRefresh, limitEnd} {
		if entries := w.limits.tables[name].cache.Len(); entries != 0 {
			t.Errorf("%s remembers %d keys", name, entries)
		}
	}
	w.wantEvents()
}

func TestRefreshesOfOneSessionAreLimited(t *testing.T) {
	w := newWorld(t)
	w.spec().RateLimits.RefreshPerSession = 3
	mine, other := w.opened(), w.opened()
	for range 3 {
		mine = w.refreshWith(mine.text("refresh_token"))
		mine.want(t, http.StatusOK, "")
	}
	gets := w.store.calls["Get"]
	a := w.refreshWith(mine.text("refresh_token"))
	a.want(t, http.StatusTooManyRequests, codeSlowDown)
	if a.Header.Get("Retry-After") != "20" {
		t.Errorf("Retry-After is %q, want a third of a minute", a.Header.Get("Retry-After"))
	}
	if w.store.calls["Get"] != gets {
		t.Error("a limited request asked the store")
	}
	w.refreshWith(other.text("refresh_token")).want(t, http.StatusOK, "")
	w.form(issuers.PathRevoke, "token", other.text("refresh_token")).want(t, http.StatusOK, "")
	w.clock.Step(20 * time.Second)
	w.refreshWith(mine.text("refresh_token")).want(t, http.StatusOK, "")
	if got := w.metric("keyturn_rate_limited_total", "web/shop", "RefreshPerSession"); got != 1 {
		t.Errorf("%v are counted as limited", got)
	}
}
