package authserver

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/login"
	"github.com/keyturn/keyturn/internal/revocation"
	"github.com/keyturn/keyturn/internal/token"
)

// TestLoginThatIsNotGoodAnyMore has what ends a session at its next refresh, and what does not.
func TestLoginThatIsNotGoodAnyMore(t *testing.T) {
	second := noon.Truncate(time.Second)
	for name, test := range map[string]struct {
		open   func(*world) answered
		change func(*world, answered)
		// event is that of the session's end; empty where it goes on.
		event string
	}{
		"the session is revoked": {carol, func(w *world, a answered) { w.revoke(revocation.SessionID, a.text("session_id"), time.Time{}) }, "session_ended Revoked"},
		"the subject is revoked": {carol, func(w *world, _ answered) { w.revoke(revocation.Subject, "carol", second.Add(time.Second)) }, "session_ended Revoked"},
		"it was revoked before":  {carol, func(w *world, _ answered) { w.revoke(revocation.Subject, "carol", second) }, ""},
		"the client is revoked":  {carol, func(w *world, _ answered) { w.revoke(revocation.ClientID, "web", second.Add(time.Second)) }, "session_ended Revoked"},
		"an audience is revoked": {carol, func(w *world, _ answered) { w.revoke(revocation.Audience, "mail-api", second.Add(time.Second)) }, "session_ended Revoked"},
		"all is revoked":         {carol, func(w *world, _ answered) { w.revoke(revocation.All, "", second.Add(time.Second)) }, "session_ended Revoked"},
		"a token is revoked": {carol, func(w *world, a answered) {
			w.revoke(revocation.TokenID, w.claims(a.text("access_token")).ID, time.Time{})
		}, ""},

		"no workload may": {carol, func(w *world, _ answered) { w.login(func(l *v1alpha1.LoginSources) { l.ServiceAccounts = nil }) }, "session_ended LoginRemoved"},
		"no users":        {carol, func(w *world, _ answered) { w.login(func(l *v1alpha1.LoginSources) { l.Htpasswd = nil }) }, ""},

		"the user is gone": {alice, func(w *world, _ answered) { w.users = []string{"bob"} }, "session_ended LoginRemoved"},
		"another user":     {alice, func(w *world, _ answered) { w.users = []string{"alice"} }, ""},
		"no passwords":     {alice, func(w *world, _ answered) { w.login(func(l *v1alpha1.LoginSources) { l.Htpasswd = nil }) }, "session_ended LoginRemoved"},
		"another prefix": {alice, func(w *world, _ answered) {
			w.login(func(l *v1alpha1.LoginSources) { l.Htpasswd.SubjectPrefix = "people:" })
		}, "session_ended LoginRemoved"},
		"no workloads": {alice, func(w *world, _ answered) { w.login(func(l *v1alpha1.LoginSources) { l.ServiceAccounts = nil }) }, ""},
		"the upstream": {dora, func(w *world, _ answered) { w.login(func(l *v1alpha1.LoginSources) { l.Upstreams = nil }) }, "session_ended LoginRemoved"},
		"another upstream": {dora, func(w *world, _ answered) {
			w.login(func(l *v1alpha1.LoginSources) { l.Upstreams[0].SubjectPrefix = "other:" })
		}, "session_ended LoginRemoved"},
		"one upstream more": {dora, func(w *world, _ answered) {
			w.login(func(l *v1alpha1.LoginSources) {
				l.Upstreams = append([]v1alpha1.UpstreamLogin{{SubjectPrefix: "other:"}}, l.Upstreams...)
			})
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			opened := test.open(w)
			w.takeEvents()
			w.clock.Step(2 * time.Second)
			test.change(w, opened)
			a := w.refreshWith(opened.text("refresh_token"))
			if test.event == "" {
				a.want(t, http.StatusOK, "")
				w.wantEvents("refresh Rotated")
				return
			}
			a.want(t, http.StatusBadRequest, codeInvalidGrant)
			w.wantEvents(test.event)
			if verdict := w.verdict(opened.text("access_token")); verdict != token.Revoked {
				t.Errorf("its access token is %s", verdict)
			}
			if strings.Contains(a.text("error_description"), "not good any more") {
				t.Errorf("it is not said why: %s", a.text("error_description"))
			}
		})
	}
}

func (w *world) login(change func(*v1alpha1.LoginSources)) {
	w.edit(func(spec *v1alpha1.SessionPolicy) { change(&spec.Login) })
}

func carol(w *world) answered { return w.opened() }

// alice logs in with her browser, whose cookie the token endpoint takes as well.
func alice(w *world) answered {
	a, cookie := w.loggedIn()
	a.fields["refresh_token"] = cookie.Value
	return a
}

func dora(w *world) answered { return w.exchange(nil) }

// TestUndecidedRecheck spends nothing and ends nothing.
func TestUndecidedRecheck(t *testing.T) {
	w := newWorld(t)
	opened := alice(w)
	w.users, w.checking = nil, login.ErrUnavailable
	w.refreshWith(opened.text("refresh_token")).want(t, http.StatusServiceUnavailable, codeUnavailable)
	w.users, w.checking = []string{"alice"}, nil
	w.clock.Step(time.Minute)
	w.refreshWith(opened.text("refresh_token")).want(t, http.StatusOK, "")
	if got := w.metric("keyturn_refreshes_total", "web/shop", undecided); got != 1 {
		t.Errorf("%v refreshes are counted as undecided", got)
	}
	if got := w.metric("keyturn_session_store_errors_total"); got != 0 {
		t.Errorf("%v failures are blamed on the store", got)
	}
}

// TestPolicyThatMakesTokensTooLarge is a mistake of the spec. The refresh token is good again once it is corrected.
func TestPolicyThatMakesTokensTooLarge(t *testing.T) {
	w := newWorld(t)
	opened := w.opened()
	a := w.authority()
	a.FixedClaims = map[string]any{"terms": strings.Repeat("x", token.MaxTokenBytes)}
	r := postForm("grant_type", issuers.GrantRefreshToken, "refresh_token", opened.text("refresh_token"))
	serveAuthority(w, a, r, issuers.PathToken).want(t, http.StatusInternalServerError, codeServerError)
	w.clock.Step(time.Minute)
	w.refreshWith(opened.text("refresh_token")).want(t, http.StatusOK, "")
	if !strings.Contains(w.logs.String(), "shorten spec.sessions.claims") {
		t.Errorf("the log does not say what to do: %s", w.logs.String())
	}
}
