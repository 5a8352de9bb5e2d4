package authserver

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/login"
)

// exchange asks for the exchange of an ID token, with these parameters in place of the usual ones.
func (w *world) exchange(changes map[string]string) answered {
	w.t.Helper()
	parameters := map[string]string{
		"grant_type": issuers.GrantTokenExchange, "subject_token": idToken, "subject_token_type": tokenTypeID,
	}
	for name, value := range changes {
		parameters[name] = value
	}
	var pairs []string
	for name, value := range parameters {
		pairs = append(pairs, name, value)
	}
	return w.form(issuers.PathToken, pairs...)
}

func TestExchange(t *testing.T) {
	w := newWorld(t)
	a := w.exchange(map[string]string{"scope": "orders:read", "audience": "shop-api"})
	a.want(t, http.StatusOK, "")
	if diff := cmp.Diff(map[string]any{
		"access_token": a.text("access_token"), "token_type": "Bearer", "expires_in": 599.0, "scope": "orders:read",
		"refresh_token": a.text("refresh_token"), "issued_token_type": tokenTypeAccess,
	}, a.fields); diff != "" {
		t.Errorf("the answer (-want +got):\n%s", diff)
	}
	claims := w.claims(a.text("access_token"))
	if claims.Subject != "corp:dora" || claims.ClientID != "corp-portal" || !cmp.Equal(claims.Groups("groups"), []string{"staff"}) ||
		claims.Groups("phone") != nil {
		t.Errorf("the claims are %+v", claims)
	}
	w.wantEvents("login")
	w.refreshWith(a.text("refresh_token")).want(t, http.StatusOK, "")
	if named := w.exchange(map[string]string{"client_id": "portal"}); w.claims(named.text("access_token")).ClientID != "portal" {
		t.Error("client_id is ignored")
	}
	if got := w.metric("keyturn_sessions_opened_total", "web/shop", "Upstream"); got != 2 {
		t.Errorf("%v sessions are counted", got)
	}
}

func TestBadExchanges(t *testing.T) {
	for name, test := range map[string]struct {
		parameters map[string]string
		change     func(*world)
		status     int
		code       string
		events     []string
	}{
		"no subject token":      {parameters: map[string]string{"subject_token": ""}, status: 400, code: codeInvalidRequest},
		"no type":               {parameters: map[string]string{"subject_token_type": ""}, status: 400, code: codeInvalidRequest},
		"an access token":       {parameters: map[string]string{"subject_token_type": tokenTypeAccess}, status: 400, code: codeInvalidRequest},
		"a JWT":                 {parameters: map[string]string{"subject_token_type": tokenTypeJWT}, status: 200, events: []string{"login"}},
		"an access token back":  {parameters: map[string]string{"requested_token_type": tokenTypeAccess}, status: 200, events: []string{"login"}},
		"something else back":   {parameters: map[string]string{"requested_token_type": tokenTypeID}, status: 400, code: codeInvalidRequest},
		"an actor":              {parameters: map[string]string{"actor_token": "x"}, status: 400, code: codeInvalidRequest},
		"an actor's type":       {parameters: map[string]string{"actor_token_type": tokenTypeID}, status: 400, code: codeInvalidRequest},
		"a scope too many":      {parameters: map[string]string{"scope": "admin"}, status: 400, code: codeInvalidScope},
		"a foreign resource":    {parameters: map[string]string{"resource": "https://pay.example.com"}, status: 400, code: codeInvalidTarget},
		"a bad token":           {parameters: map[string]string{"subject_token": "x"}, status: 400, code: codeInvalidRequest, events: []string{"login_failed CredentialsRefused"}},
		"undecided":             {change: func(w *world) { w.checking = login.ErrUnavailable }, status: 503, code: codeUnavailable},
		"no upstream any more":  {change: func(w *world) { w.spec().Login.Upstreams = nil }, status: 400, code: codeUnsupportedGrantType},
		"an upstream not there": {change: func(w *world) { w.checking = login.ErrNotOffered }, status: 400, code: codeInvalidRequest},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if test.change != nil {
				test.change(w)
			}
			w.exchange(test.parameters).want(t, test.status, test.code)
			w.wantEvents(test.events...)
		})
	}
}

// TestOnlyFailedExchangesAreLimited because behind one address there may be a server with all its users.
func TestOnlyFailedExchangesAreLimited(t *testing.T) {
	w := newWorld(t)
	w.spec().RateLimits.LoginPerAddress = 2
	for range 5 {
		w.exchange(nil).want(t, http.StatusOK, "")
	}
	for range 2 {
		w.exchange(map[string]string{"subject_token": "x"}).want(t, http.StatusBadRequest, codeInvalidRequest)
	}
	a := w.exchange(nil)
	a.want(t, http.StatusTooManyRequests, codeSlowDown)
	if a.Header.Get("Retry-After") != "30" {
		t.Errorf("Retry-After is %q", a.Header.Get("Retry-After"))
	}
	w.issue(`{"subject":"carol"}`).want(t, http.StatusCreated, "")
}
