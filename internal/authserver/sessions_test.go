package authserver

import (
	"fmt"
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
	"github.com/keyturn/keyturn/internal/token"
)

func TestWorkloadOpensASession(t *testing.T) {
	w := newWorld(t)
	a := w.issue(`{"subject":"carol","client_id":"web","audience":["shop-api"],"scope":"orders:read",
		"claims":{"plan":"gold","groups":["buyers"],"card":"4111","tenant":"other"}}`)
	a.want(t, http.StatusCreated, "")
	if diff := cmp.Diff(map[string]any{
		"access_token": a.text("access_token"), "token_type": "Bearer", "expires_in": 599.0, "scope": "orders:read",
		"refresh_token": a.text("refresh_token"), "session_id": a.text("session_id"),
	}, a.fields); diff != "" {
		t.Errorf("the answer (-want +got):\n%s", diff)
	}
	if !strings.HasPrefix(a.text("refresh_token"), session.Prefix) {
		t.Error("there is no refresh token")
	}
	claims := w.claims(a.text("access_token"))
	if claims.Subject != "carol" || claims.ClientID != "web" || claims.SessionID != a.text("session_id") ||
		!cmp.Equal(claims.Audiences, []string{"shop-api"}) || !cmp.Equal(claims.Scopes, []string{"orders:read"}) {
		t.Errorf("the claims are %+v", claims)
	}
	for name, want := range map[string][]string{"plan": {"gold"}, "groups": {"buyers"}, "tenant": {"acme"}, "card": nil} {
		if got := claims.Groups(name); !cmp.Equal(got, want) {
			t.Errorf("the claim %s is %v, want %v", name, got, want)
		}
	}
	events := w.takeEvents()
	if diff := cmp.Diff([]map[string]string{{
		"time": events[0]["time"], "audit": "issue", "issuer": "web/shop", "iss": issuerURL, "sub": "carol", "client_id": "web",
		"sid": a.text("session_id"), "source": "Workload", "actor": workloadName, "address": "203.0.113.9",
	}}, events); diff != "" {
		t.Errorf("the audit log (-want +got):\n%s", diff)
	}
	if got := w.metric("keyturn_sessions_opened_total", "web/shop", "Workload"); got != 1 {
		t.Errorf("%v sessions are counted", got)
	}
}

// TestDefaultsOfASession because what is not asked for is every application and no right.
func TestDefaultsOfASession(t *testing.T) {
	w := newWorld(t)
	a := w.issue(`{"subject":"carol"}`)
	a.want(t, http.StatusCreated, "")
	claims := w.claims(a.text("access_token"))
	if claims.ClientID != workloadName || len(claims.Scopes) != 0 || !cmp.Equal(claims.Audiences, []string{"mail-api", "shop-api"}) {
		t.Errorf("the claims are %+v", claims)
	}
	if _, found := a.fields["scope"]; found {
		t.Error("the answer has an empty scope")
	}
	if one := w.issue(`{"subject":"carol","audience":"mail-api"}`); !cmp.Equal(w.claims(one.text("access_token")).Audiences, []string{"mail-api"}) {
		t.Error("an audience may not be one string")
	}
}

func TestWhoMayOpenSessions(t *testing.T) {
	for _, test := range []struct {
		name      string
		header    http.Header
		change    func(*world)
		status    int
		code      string
		challenge string
		event     []string
	}{
		{"nobody", http.Header{"Content-Type": {mediaJSON}}, nil, 401, codeInvalidToken, "Bearer", nil},
		{"another scheme", http.Header{"Authorization": {"Basic eDp5"}}, nil, 401, codeInvalidToken, "Bearer", nil},
		{"two tokens", http.Header{"Authorization": {"Bearer " + workloadToken, "Bearer x"}}, nil, 401, codeInvalidToken, "Bearer", nil},
		{"a stranger", bearerJSON(strangerToken), nil, 401, codeInvalidToken, `Bearer error="invalid_token"`, []string{"login_failed CredentialsRefused"}},
		{"a workload without the right", bearerJSON(otherToken), nil, 403, codeAccessDenied, "", []string{"login_failed Forbidden"}},
		{"undecided", bearerJSON(workloadToken), func(w *world) { w.checking = login.ErrUnavailable }, 503, codeUnavailable, "", nil},
		{"busy", bearerJSON(workloadToken), func(w *world) { w.checking = login.ErrBusy }, 503, codeUnavailable, "", nil},
		{"not offered", bearerJSON(workloadToken), func(w *world) { w.spec().Login.ServiceAccounts = nil }, 403, codeAccessDenied, "", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			if test.change != nil {
				test.change(w)
			}
			a := w.do(http.MethodPost, issuers.PathSessions, `{"subject":"carol"}`, test.header)
			a.want(t, test.status, test.code)
			if challenge := a.Header.Get("WWW-Authenticate"); challenge != test.challenge {
				t.Errorf("the challenge is %q", challenge)
			}
			w.wantEvents(test.event...)
			if got := w.metric("keyturn_logins_failed_total", "web/shop", "Workload"); int(got) != len(test.event) {
				t.Errorf("%v failed logins are counted", got)
			}
			if w.store.total() != 0 {
				t.Error("the store was asked")
			}
		})
	}
}

func TestBadSessionRequests(t *testing.T) {
	for name, test := range map[string]struct{ body, code string }{
		"nothing":              {``, codeInvalidRequest},
		"a list":               {`[]`, codeInvalidRequest},
		"two documents":        {`{"subject":"carol"}{}`, codeInvalidRequest},
		"no subject":           {`{"client_id":"web"}`, codeInvalidRequest},
		"a number":             {`{"subject":7}`, codeInvalidRequest},
		"a long subject":       {`{"subject":"` + strings.Repeat("c", 257) + `"}`, codeInvalidRequest},
		"a control character":  {`{"subject":"ca\nrol"}`, codeInvalidRequest},
		"a long client":        {`{"subject":"carol","client_id":"` + strings.Repeat("c", 257) + `"}`, codeInvalidRequest},
		"a scope too many":     {`{"subject":"carol","scope":"orders:read admin"}`, codeInvalidScope},
		"an audience too many": {`{"subject":"carol","audience":["shop-api","pay-api"]}`, codeInvalidTarget},
		"an audience object":   {`{"subject":"carol","audience":{"a":"b"}}`, codeInvalidRequest},
		"claims that are none": {`{"subject":"carol","claims":"plan"}`, codeInvalidRequest},
		"too many claims":      {`{"subject":"carol","claims":{"plan":"` + strings.Repeat("g", 9000) + `"}}`, codeInvalidRequest},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.issue(test.body).want(t, http.StatusBadRequest, test.code)
			if w.store.total() != 0 {
				t.Error("the store was asked")
			}
			w.wantEvents()
		})
	}
}

// TestLoginThatCannotBeAnswered opens no session.
func TestLoginThatCannotBeAnswered(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*world)
		status int
		code   string
	}{
		"no signer":         {func(w *world) { w.signing = issuers.ErrCannotSign }, 503, codeUnavailable},
		"no keys":           {func(w *world) { w.keys = nil }, 503, codeUnavailable},
		"a revoked key":     {func(w *world) { w.revoke(revocation.KeyID, w.ring.Active().ID, noon) }, 503, codeUnavailable},
		"a revoked client":  {func(w *world) { w.revoke(revocation.ClientID, "web", noon.Add(time.Hour)) }, 400, codeInvalidGrant},
		"a revoked subject": {func(w *world) { w.revoke(revocation.Subject, "carol", noon.Add(time.Hour)) }, 400, codeInvalidGrant},
		"too large a token": {func(w *world) {
			w.spec().Audiences = nil
			for i := range 32 {
				w.spec().Audiences = append(w.spec().Audiences, fmt.Sprintf("%03d%s", i, strings.Repeat("a", 253)))
			}
			for i := range 64 {
				w.spec().Scopes = append(w.spec().Scopes, fmt.Sprintf("%03d%s", i, strings.Repeat("s", 100)))
			}
		}, 400, codeInvalidRequest},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			test.change(w)
			scope := strings.Join(w.spec().Scopes[:min(62, len(w.spec().Scopes))], " ")
			w.issue(`{"subject":"carol","client_id":"web","scope":"`+scope+`"}`).want(t, test.status, test.code)
			if w.store.total() != 0 {
				t.Error("the store was asked")
			}
		})
	}
}

// TestLargestToken is one that the check lets just pass, which the verifier must accept.
func TestLargestToken(t *testing.T) {
	w := newWorld(t)
	w.spec().Scopes = nil
	for i := range 64 {
		w.spec().Scopes = append(w.spec().Scopes, fmt.Sprintf("%02d%s", i, strings.Repeat("s", 80)))
	}
	scope := strings.Join(w.spec().Scopes, " ")
	longest := ""
	for size := 8000; size > 0 && longest == ""; size -= 50 {
		a := w.issue(`{"subject":"carol","scope":"` + scope + `","claims":{"plan":"` + strings.Repeat("g", size) + `"}}`)
		if a.StatusCode == http.StatusCreated {
			longest = a.text("access_token")
		}
	}
	w.claims(longest)
	if len(longest) < token.MaxTokenBytes-3<<10 {
		t.Errorf("the largest token has %d bytes of %d", len(longest), token.MaxTokenBytes)
	}
}

func TestOldestSessionIsSuperseded(t *testing.T) {
	w := newWorld(t)
	w.spec().MaxPerSubject = 2
	first := w.opened()
	w.clock.Step(time.Second)
	w.opened()
	w.clock.Step(time.Second)
	w.issue(`{"subject":"carol"}`).want(t, http.StatusCreated, "")
	w.wantEvents("issue", "session_ended Superseded")
	if verdict := w.verdict(first.text("access_token")); verdict != token.Revoked {
		t.Errorf("the oldest session's access token is %s", verdict)
	}
	w.store.fail["End"] = session.ErrUnavailable
	w.clock.Step(time.Second)
	w.issue(`{"subject":"carol"}`).want(t, http.StatusCreated, "")
	if got := w.metric("keyturn_session_store_errors_total", "supersede"); got != 1 {
		t.Errorf("%v errors are counted", got)
	}
}

func TestStoreThatOpensNothing(t *testing.T) {
	w := newWorld(t)
	w.store.fail["Create"] = session.ErrUnavailable
	w.issue(`{"subject":"carol"}`).want(t, http.StatusServiceUnavailable, codeUnavailable)
	w.wantEvents()
	if got := w.metric("keyturn_session_store_errors_total", "open"); got != 1 {
		t.Errorf("%v errors are counted", got)
	}
}

// TestClaimsThatALoginMayKeep because what no token may carry is not stored either, and what it may is not changed.
func TestClaimsThatALoginMayKeep(t *testing.T) {
	w := newWorld(t)
	a := w.issue(`{"subject":"carol","claims":{"plan":12345678901234567890,"card":"4111"}}`)
	id, err := session.ParseID(a.text("session_id"))
	if err != nil {
		t.Fatal(err)
	}
	stored, err := w.store.Get(t.Context(), session.IssuerReference{Namespace: "web", Name: "shop"}, id)
	if err != nil || stored.Claims != `{"plan":12345678901234567890}` {
		t.Fatalf("stored are the claims %s, error %v", stored.Claims, err)
	}
	payload := decodePayload(t, a.text("access_token"))
	if !strings.Contains(payload, `"plan":12345678901234567890`) {
		t.Errorf("the token says %s", payload)
	}
	w.edit(func(spec *v1alpha1.SessionPolicy) { spec.Claims.FromLogin = nil })
	next := w.refreshWith(a.text("refresh_token"))
	if payload := decodePayload(t, next.text("access_token")); strings.Contains(payload, "plan") {
		t.Errorf("a claim is taken over that the spec does not name any more: %s", payload)
	}
}
