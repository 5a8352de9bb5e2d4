package authserver

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/login"
	"github.com/keyturn/keyturn/internal/session"
	"github.com/keyturn/keyturn/internal/token"
)

func TestLoginWithAPassword(t *testing.T) {
	w := newWorld(t)
	a := w.browse(issuers.PathSessionLogin, `{"username":"alice","password":"`+password+`","scope":"orders:read","audience":"shop-api"}`)
	a.want(t, http.StatusOK, "")
	if diff := cmp.Diff(map[string]any{
		"access_token": a.text("access_token"), "token_type": "Bearer", "expires_in": 599.0, "scope": "orders:read",
		"session_id": a.text("session_id"), "sub": "staff:alice",
	}, a.fields); diff != "" {
		t.Errorf("the answer (-want +got):\n%s", diff)
	}
	claims := w.claims(a.text("access_token"))
	if claims.Subject != "staff:alice" || claims.ClientID != defaultBrowserClient || !cmp.Equal(claims.Audiences, []string{"shop-api"}) {
		t.Errorf("the claims are %+v", claims)
	}
	cookies := a.Cookies()
	if len(cookies) != 1 || !strings.HasPrefix(cookies[0].Value, session.Prefix) {
		t.Fatalf("there are %d cookies", len(cookies))
	}
	if diff := cmp.Diff(&http.Cookie{
		Name: "__Secure-shop", Path: "/shop/session", MaxAge: 72 * 3600, Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	}, cookies[0], cmpopts.IgnoreFields(http.Cookie{}, "Value", "Raw")); diff != "" {
		t.Errorf("the cookie (-want +got):\n%s", diff)
	}
	events := w.takeEvents()
	if len(events) != 1 || events[0]["audit"] != "login" || events[0]["source"] != "Password" || events[0]["sub"] != "staff:alice" {
		t.Errorf("the audit log says %v", events)
	}
}

func TestLoginWithAnIDToken(t *testing.T) {
	w := newWorld(t)
	a := w.browse(issuers.PathSessionLogin, `{"id_token":"`+idToken+`","client_id":"shop-web"}`)
	a.want(t, http.StatusOK, "")
	if claims := w.claims(a.text("access_token")); claims.Subject != "corp:dora" || claims.ClientID != "shop-web" {
		t.Errorf("the claims are %+v", claims)
	}
	if a.text("refresh_token") != "" || len(a.Cookies()) != 1 {
		t.Error("the refresh token is not in the cookie alone")
	}
}

func TestBadLogins(t *testing.T) {
	for name, test := range map[string]struct {
		body   string
		change func(*world)
		status int
		code   string
		events []string
	}{
		"nothing":                {body: ``, status: 400, code: codeInvalidRequest},
		"no credentials":         {body: `{}`, status: 400, code: codeInvalidRequest},
		"both":                   {body: `{"username":"alice","id_token":"x"}`, status: 400, code: codeInvalidRequest},
		"a wrong password":       {body: `{"username":"alice","password":"x"}`, status: 400, code: codeInvalidGrant, events: []string{"login_failed CredentialsRefused"}},
		"no password":            {body: `{"username":"alice"}`, status: 400, code: codeInvalidGrant, events: []string{"login_failed CredentialsRefused"}},
		"an unknown user":        {body: `{"username":"eve","password":"` + password + `"}`, status: 400, code: codeInvalidGrant, events: []string{"login_failed CredentialsRefused"}},
		"a bad ID token":         {body: `{"id_token":"x"}`, status: 400, code: codeInvalidGrant, events: []string{"login_failed CredentialsRefused"}},
		"a scope too many":       {body: `{"username":"alice","password":"` + password + `","scope":"admin"}`, status: 400, code: codeInvalidScope},
		"undecided":              {body: aliceLogsIn, change: func(w *world) { w.checking = login.ErrUnavailable }, status: 503, code: codeUnavailable},
		"busy":                   {body: aliceLogsIn, change: func(w *world) { w.checking = login.ErrBusy }, status: 503, code: codeUnavailable},
		"undecided ID token":     {body: `{"id_token":"x"}`, change: func(w *world) { w.checking = login.ErrUnavailable }, status: 503, code: codeUnavailable},
		"no passwords":           {body: aliceLogsIn, change: func(w *world) { w.spec().Login.Htpasswd = nil }, status: 400, code: codeInvalidRequest},
		"passwords not offered":  {body: aliceLogsIn, change: func(w *world) { w.checking = login.ErrNotOffered }, status: 400, code: codeInvalidRequest},
		"no upstreams":           {body: `{"id_token":"x"}`, change: func(w *world) { w.spec().Login.Upstreams = nil }, status: 400, code: codeInvalidRequest},
		"nothing can be signed":  {body: aliceLogsIn, change: func(w *world) { w.signing = issuers.ErrCannotSign }, status: 503, code: codeUnavailable},
		"nothing can be written": {body: aliceLogsIn, change: func(w *world) { w.store.fail["Create"] = session.ErrUnavailable }, status: 503, code: codeUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if test.change != nil {
				test.change(w)
			}
			a := w.browse(issuers.PathSessionLogin, test.body)
			a.want(t, test.status, test.code)
			if len(a.Cookies()) != 0 {
				t.Error("a refused login touches the cookie")
			}
			w.wantEvents(test.events...)
		})
	}
}

// TestUserNamesInTheAuditLog because a password that is typed into the wrong field must not be found there.
func TestUserNamesInTheAuditLog(t *testing.T) {
	for user, want := range map[string]string{
		"alice": "staff:alice", "a.b-c_d@example.com": "staff:a.b-c_d@example.com",
		"correct horse": "", "pa$$word!": "", strings.Repeat("a", 65): "", `a\u0000b`: "",
	} {
		w := newWorld(t)
		w.browse(issuers.PathSessionLogin, `{"username":"`+user+`","password":"x"}`).want(t, http.StatusBadRequest, codeInvalidGrant)
		if events := w.takeEvents(); len(events) != 1 || events[0]["sub"] != want {
			t.Errorf("%q is told as %v", user, events)
		}
	}
}

func TestRenew(t *testing.T) {
	w := newWorld(t)
	_, cookie := w.loggedIn()
	w.clock.Step(5 * time.Minute)
	a := w.browse(issuers.PathSessionRenew, "", cookie)
	a.want(t, http.StatusOK, "")
	if a.text("refresh_token") != "" || len(a.Cookies()) != 1 || a.Cookies()[0].Value == cookie.Value {
		t.Error("the new refresh token is not in the cookie alone")
	}
	if got := w.claims(a.text("access_token")).Subject; got != "staff:alice" || a.text("sub") != got {
		t.Errorf("the subject is %q", got)
	}
	w.wantEvents("refresh Rotated")
}

// TestCookieLivesAsLongAsItsToken also when the session has less left than an idle lifetime.
func TestCookieLivesAsLongAsItsToken(t *testing.T) {
	w := newWorld(t)
	w.spec().AbsoluteLifetime.Duration = 96 * time.Hour
	w.makeKeys()
	_, cookie := w.loggedIn()
	w.clock.Step(48 * time.Hour)
	a := w.browse(issuers.PathSessionRenew, "", cookie)
	// The session began with the second, 300 ms before the login.
	if want := 48*3600 - 1; len(a.Cookies()) != 1 || a.Cookies()[0].MaxAge != want {
		t.Errorf("the cookie lives for %d s, want %d", a.Cookies()[0].MaxAge, want)
	}
}

// TestWhatClearsTheCookie is what no later request with it could change.
func TestWhatClearsTheCookie(t *testing.T) {
	ours := &http.Cookie{Name: "__Secure-shop", Value: "no token"}
	for name, test := range map[string]struct {
		path    string
		change  func(*world)
		cookie  *http.Cookie
		status  int
		code    string
		cleared bool
		events  []string
	}{
		"refresh without": {path: issuers.PathSessionRenew, cookie: &http.Cookie{Name: "other", Value: "x"}, status: 400, code: codeInvalidGrant},
		"refresh forged":  {path: issuers.PathSessionRenew, cookie: ours, status: 400, code: codeInvalidGrant, cleared: true},
		"refresh ended": {path: issuers.PathSessionRenew, change: func(w *world) { w.users = nil }, status: 400, code: codeInvalidGrant,
			cleared: true, events: []string{"session_ended LoginRemoved"}},
		"refresh undecided":    {path: issuers.PathSessionRenew, change: func(w *world) { w.store.fail["Get"] = session.ErrUnavailable }, status: 503, code: codeUnavailable},
		"refresh limited":      {path: issuers.PathSessionRenew, change: func(w *world) { w.exhaust(limitRefresh) }, status: 429, code: codeSlowDown},
		"logout":               {path: issuers.PathSessionLogout, status: 204, cleared: true, events: []string{"logout Logout"}},
		"logout without":       {path: issuers.PathSessionLogout, cookie: &http.Cookie{Name: "other", Value: "x"}, status: 204, cleared: true},
		"logout forged":        {path: issuers.PathSessionLogout, cookie: ours, status: 204, cleared: true},
		"logout undecided":     {path: issuers.PathSessionLogout, change: func(w *world) { w.store.fail["End"] = session.ErrUnavailable }, status: 503, code: codeUnavailable},
		"logout limited":       {path: issuers.PathSessionLogout, change: func(w *world) { w.exhaust(limitEnd) }, status: 429, code: codeSlowDown},
		"everywhere":           {path: issuers.PathSessionEndAll, status: 204, cleared: true, events: []string{"logout LogoutEverywhere"}},
		"everywhere without":   {path: issuers.PathSessionEndAll, cookie: &http.Cookie{Name: "other", Value: "x"}, status: 204, cleared: true},
		"everywhere forged":    {path: issuers.PathSessionEndAll, cookie: ours, status: 204, cleared: true},
		"everywhere undecided": {path: issuers.PathSessionEndAll, change: func(w *world) { w.store.fail["EndSubject"] = session.ErrUnavailable }, status: 503, code: codeUnavailable},
		"everywhere limited":   {path: issuers.PathSessionEndAll, change: func(w *world) { w.exhaust(limitEnd) }, status: 429, code: codeSlowDown},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			_, cookie := w.loggedIn()
			if test.change != nil {
				test.change(w)
			}
			if test.cookie != nil {
				cookie = test.cookie
			}
			a := w.browse(test.path, "", cookie)
			a.want(t, test.status, test.code)
			cleared := len(a.Cookies()) == 1 && a.Cookies()[0].Value == "" && a.Cookies()[0].MaxAge < 0 &&
				a.Cookies()[0].Path == "/shop/session" && a.Cookies()[0].Name == "__Secure-shop"
			if cleared != test.cleared || (!cleared && len(a.Cookies()) != 0) {
				t.Errorf("the cookies are %v", a.Cookies())
			}
			w.wantEvents(test.events...)
		})
	}
}

// exhaust uses up the limit of every session that there is.
func (w *world) exhaust(name limit) {
	w.spec().RateLimits.RefreshPerSession = 1
	c := &call{authority: w.authority()}
	for range 2 {
		for _, event := range w.allSessions() {
			_ = w.take(c, name, w.limits.bySession(c, event), 1)
		}
	}
}

func TestLogout(t *testing.T) {
	w := newWorld(t)
	a, cookie := w.loggedIn()
	w.browse(issuers.PathSessionLogout, "", cookie).want(t, http.StatusNoContent, "")
	if verdict := w.verdict(a.text("access_token")); verdict != token.Revoked {
		t.Errorf("the access token is %s", verdict)
	}
	w.wantEvents("logout Logout")
	w.browse(issuers.PathSessionLogout, "", cookie).want(t, http.StatusNoContent, "")
	w.wantEvents()
	w.browse(issuers.PathSessionRenew, "", cookie).want(t, http.StatusBadRequest, codeInvalidGrant)
	if got := w.metric("keyturn_sessions_ended_total", "web/shop", "Logout"); got != 1 {
		t.Errorf("%v sessions are counted as ended", got)
	}
}

// TestSeveralCookies because a neighboring host can set one for the whole domain.
func TestSeveralCookies(t *testing.T) {
	w := newWorld(t)
	first, mine := w.loggedIn()
	second, foreign := w.loggedIn()
	for _, path := range []string{issuers.PathSessionRenew, issuers.PathSessionEndAll} {
		w.browse(path, "", foreign, mine).want(t, http.StatusBadRequest, codeInvalidRequest)
	}
	w.wantEvents()
	w.browse(issuers.PathSessionLogout, "", foreign, mine).want(t, http.StatusNoContent, "")
	for _, a := range []answered{first, second} {
		if verdict := w.verdict(a.text("access_token")); verdict != token.Revoked {
			t.Errorf("after the logout an access token is %s", verdict)
		}
	}
}

func TestCookieOfTheSpec(t *testing.T) {
	w := newWorld(t)
	w.spec().Cookie = v1alpha1.CookiePolicy{SameSite: v1alpha1.SameSiteLax}
	_, cookie := w.loggedIn()
	if cookie.Name != defaultCookieName || cookie.SameSite != http.SameSiteLaxMode {
		t.Errorf("the cookie is %s with SameSite %v", cookie.Name, cookie.SameSite)
	}
	w.browse(issuers.PathSessionRenew, "", cookie).want(t, http.StatusOK, "")
}

func TestLoginsAreLimited(t *testing.T) {
	wrong := `{"username":"alice","password":"x"}`
	t.Run("for a user", func(t *testing.T) {
		w := newWorld(t)
		w.spec().RateLimits.LoginPerUser = 3
		for range 3 {
			w.browse(issuers.PathSessionLogin, wrong).want(t, http.StatusBadRequest, codeInvalidGrant)
		}
		w.browse(issuers.PathSessionLogin, aliceLogsIn).want(t, http.StatusTooManyRequests, codeSlowDown)
		w.browse(issuers.PathSessionLogin, strings.Replace(aliceLogsIn, "alice", "bob", 1)).want(t, http.StatusOK, "")
		w.clock.Step(20 * time.Second)
		w.browse(issuers.PathSessionLogin, aliceLogsIn).want(t, http.StatusOK, "")
		if got := w.metric("keyturn_rate_limited_total", "web/shop", "LoginPerUser"); got != 1 {
			t.Errorf("%v are counted as limited", got)
		}
	})
	t.Run("from an address", func(t *testing.T) {
		w := newWorld(t)
		w.spec().RateLimits.LoginPerAddress = 3
		for _, user := range []string{"a", "b", "c"} {
			w.browse(issuers.PathSessionLogin, strings.Replace(wrong, "alice", user, 1)).want(t, http.StatusBadRequest, codeInvalidGrant)
		}
		a := w.browse(issuers.PathSessionLogin, aliceLogsIn)
		a.want(t, http.StatusTooManyRequests, codeSlowDown)
		if a.Header.Get("Retry-After") != "20" {
			t.Errorf("Retry-After is %q", a.Header.Get("Retry-After"))
		}
	})
}
