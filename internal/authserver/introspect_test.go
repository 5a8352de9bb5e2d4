package authserver

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/login"
	"github.com/keyturn/keyturn/internal/revocation"
	"github.com/keyturn/keyturn/internal/session"
)

func (w *world) introspect(presented string) answered {
	w.t.Helper()
	return w.formWith(issuers.PathIntrospect, http.Header{"Authorization": {"Bearer " + workloadToken}}, "token", presented)
}

func TestIntrospectAccessToken(t *testing.T) {
	w := newWorld(t)
	w.issuer.Spec.Tokens.RequiredScopes = []string{"admin"} // what a gateway requires is not what a token is worth
	a := w.issue(`{"subject":"carol","client_id":"web","scope":"orders:read","audience":"mail-api"}`)
	got := w.introspect(a.text("access_token"))
	got.want(t, http.StatusOK, "")
	at := float64(noon.Unix())
	if diff := cmp.Diff(map[string]any{
		"active": true, "iss": issuerURL, "sub": "carol", "aud": []any{"mail-api"}, "exp": at + 600, "iat": at, "nbf": at,
		"jti": got.text("jti"), "client_id": "web", "scope": "orders:read", "token_type": "Bearer", "sid": a.text("session_id"),
	}, got.fields); diff != "" {
		t.Errorf("the answer (-want +got):\n%s", diff)
	}
	if len(got.text("jti")) != 22 {
		t.Errorf("jti is %q", got.text("jti"))
	}
}

func TestIntrospectRefreshToken(t *testing.T) {
	w := newWorld(t)
	a := w.issue(`{"subject":"carol","client_id":"web","scope":"orders:read","audience":"mail-api"}`)
	w.clock.Step(time.Minute)
	next := w.refreshWith(a.text("refresh_token"))
	writes := w.store.calls["CompareAndSwap"]
	got := w.introspect(next.text("refresh_token"))
	at := float64(noon.Add(time.Minute).Unix())
	if diff := cmp.Diff(map[string]any{
		"active": true, "iss": issuerURL, "sub": "carol", "aud": []any{"mail-api"}, "exp": at + 72*3600, "iat": at,
		"client_id": "web", "scope": "orders:read", "sid": a.text("session_id"),
	}, got.fields); diff != "" {
		t.Errorf("the answer (-want +got):\n%s", diff)
	}
	// The one before would still be answered, but it is not the current one. To ask about it later is no reuse.
	for range 2 {
		w.wantInactive(a.text("refresh_token"))
		w.clock.Step(time.Minute)
	}
	if w.store.calls["CompareAndSwap"] != writes || w.store.calls["End"] != 0 {
		t.Error("introspection has written")
	}
	w.refreshWith(next.text("refresh_token")).want(t, http.StatusOK, "")
}

func (w *world) wantInactive(presented string) {
	w.t.Helper()
	a := w.introspect(presented)
	if a.StatusCode != http.StatusOK || strings.TrimSpace(a.raw) != `{"active":false}` {
		w.t.Errorf("answered %d %s", a.StatusCode, a.raw)
	}
}

func TestWhatIsNotActive(t *testing.T) {
	for name, test := range map[string]struct {
		token  func(*world, answered) string
		change func(*world)
	}{
		"rubbish":                 {token: func(*world, answered) string { return "x" }},
		"a forged refresh token":  {token: func(*world, answered) string { return session.Prefix + strings.Repeat("A", 70) }},
		"an expired access token": {token: accessTokenOf, change: func(w *world) { w.clock.Step(time.Hour) }},
		"a revoked access token":  {token: accessTokenOf, change: func(w *world) { w.revoke(revocation.Subject, "carol", noon.Add(time.Hour)) }},
		"an idle refresh token":   {token: refreshTokenOf, change: func(w *world) { w.clock.Step(80 * time.Hour) }},
		"an ended refresh token":  {token: refreshTokenOf, change: func(w *world) { w.endAllSessions() }},
		"a revoked refresh token": {token: refreshTokenOf, change: func(w *world) { w.revoke(revocation.Subject, "carol", noon.Add(time.Hour)) }},
		"a source that is gone": {token: refreshTokenOf, change: func(w *world) {
			w.edit(func(spec *v1alpha1.SessionPolicy) { spec.Login.ServiceAccounts = nil })
		}},
		"a refresh token of nobody": {token: refreshTokenOf, change: func(w *world) { w.store.fail["Get"] = session.ErrNotFound }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			opened := w.opened()
			if test.change != nil {
				test.change(w)
			}
			w.wantInactive(test.token(w, opened))
		})
	}
}

func (w *world) endAllSessions() {
	for _, id := range w.allSessions() {
		reference := session.IssuerReference{Namespace: w.issuer.Namespace, Name: w.issuer.Name}
		if _, err := w.store.Store.End(w.t.Context(), reference, id, w.clock.Now(), session.EndLogout); err != nil {
			w.t.Fatal(err)
		}
	}
}

func TestWhoMayIntrospect(t *testing.T) {
	w := newWorld(t)
	opened := w.opened()
	for presented, want := range map[string]int{"": 401, strangerToken: 401, otherToken: 403, workloadToken: 200} {
		header := http.Header{}
		if presented != "" {
			header.Set("Authorization", "Bearer "+presented)
		}
		a := w.formWith(issuers.PathIntrospect, header, "token", opened.text("access_token"))
		if a.StatusCode != want || (a.Header.Get("WWW-Authenticate") != "") != (want == 401) {
			t.Errorf("%q is answered %d %s", presented, a.StatusCode, a.raw)
		}
		if active, _ := a.fields["active"].(bool); active != (want == 200) {
			t.Errorf("%q learns %s", presented, a.raw)
		}
	}
	w.wantEvents()
	w.introspect("").want(t, http.StatusBadRequest, codeInvalidRequest)
}

func TestIntrospectionThatCannotBeDecided(t *testing.T) {
	for name, change := range map[string]func(*world){
		"the store":     func(w *world) { w.store.fail["Get"] = session.ErrUnavailable },
		"the keys":      func(w *world) { w.keys = nil },
		"the workloads": func(w *world) { w.checking = login.ErrUnavailable },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			opened := w.opened()
			change(w)
			w.introspect(opened.text("refresh_token")).want(t, http.StatusServiceUnavailable, codeUnavailable)
		})
	}
	w := newWorld(t)
	opened := w.opened()
	w.synced = false
	w.introspect(opened.text("access_token")).want(t, http.StatusServiceUnavailable, codeUnavailable)
}
