package authserver

import (
	"net/http"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/session"
	"github.com/keyturn/keyturn/internal/token"
)

// signed is an access token of the issuer's key, as a workload signs one with the mounted key.
func (w *world) signed(sessionID string) string { return w.signedBy(issuerURL, sessionID) }

func (w *world) signedBy(issuer, sessionID string) string {
	w.t.Helper()
	signer, err := w.Signer(w.t.Context(), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	raw, err := signer.Sign(&token.AccessToken{
		Issuer: issuer, Subject: "staff:alice", ClientID: "batch", SessionID: sessionID, Audiences: []string{"shop-api"},
		IssuedAt: w.clock.Now(), Expiry: w.clock.Now().Add(5 * time.Minute),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return raw
}

func TestRevoke(t *testing.T) {
	for name, test := range map[string]struct {
		// token is what is revoked of a session's answer.
		token      func(*world, answered) string
		parameters []string
		change     func(*world)
		status     int
		code       string
		// ended is whether the session has ended then.
		ended bool
	}{
		"a refresh token": {token: refreshTokenOf, status: 200, ended: true},
		"with a hint":     {token: refreshTokenOf, parameters: []string{"token_type_hint", "access_token"}, status: 200, ended: true},
		"with its client": {token: refreshTokenOf, parameters: []string{"client_id", "web"}, status: 200, ended: true},
		"another client":  {token: refreshTokenOf, parameters: []string{"client_id", "mobile"}, status: 400, code: codeInvalidGrant},
		"an access token": {token: accessTokenOf, status: 200, ended: true},
		"its client too":  {token: accessTokenOf, parameters: []string{"client_id", "web"}, status: 200, ended: true},
		"not its client":  {token: accessTokenOf, parameters: []string{"client_id", "mobile"}, status: 400, code: codeInvalidGrant},
		"an access token without a required scope": {
			token: accessTokenOf, change: func(w *world) { w.issuer.Spec.Tokens.RequiredScopes = []string{"admin"} }, status: 200, ended: true,
		},
		"an expired access token": {token: accessTokenOf, change: func(w *world) { w.clock.Step(time.Hour) }, status: 200},
		"no token":                {token: func(*world, answered) string { return "" }, status: 400, code: codeInvalidRequest},
		"no token of ours":        {token: func(*world, answered) string { return "x.y.z" }, status: 200},
		"a forged refresh token":  {token: func(*world, answered) string { return session.Prefix + "x" }, status: 200},
		"an access token of no session": {
			token: func(w *world, _ answered) string { return w.signed("") }, status: 400, code: codeUnsupportedTokenType,
		},
		"one of a session elsewhere": {
			token: func(w *world, _ answered) string { return w.signed("elsewhere-1") }, status: 400, code: codeUnsupportedTokenType,
		},
		"one of a session that is gone": {
			token:  func(w *world, _ answered) string { return w.signed(session.NewID(noon.Add(time.Hour)).String()) },
			status: 400, code: codeUnsupportedTokenType,
		},
		"a store that fails":      {token: refreshTokenOf, change: func(w *world) { w.store.fail["Get"] = session.ErrUnavailable }, status: 503, code: codeUnavailable},
		"a store that fails then": {token: accessTokenOf, change: func(w *world) { w.store.fail["End"] = session.ErrUnavailable }, status: 503, code: codeUnavailable},
		"a verifier not yet ready": {
			token: accessTokenOf, change: func(w *world) { w.synced = false }, status: 503, code: codeUnavailable,
		},
		"a secret": {token: refreshTokenOf, parameters: []string{"client_secret", "s"}, status: 401, code: codeInvalidClient},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			opened := w.opened()
			if test.change != nil {
				test.change(w)
			}
			a := w.form(issuers.PathRevoke, append([]string{"token", test.token(w, opened)}, test.parameters...)...)
			a.want(t, test.status, test.code)
			if a.StatusCode == http.StatusOK && a.raw != "" {
				t.Errorf("the answer has the body %q", a.raw)
			}
			clear(w.store.fail)
			w.synced = true
			w.issuer.Spec.Tokens.RequiredScopes = nil
			if ended := len(w.allSessions()) == 0; ended != test.ended {
				t.Errorf("the session has ended: %t", ended)
			}
			if denied := w.verdict(opened.text("access_token")) == token.Revoked; denied != test.ended {
				t.Errorf("its access token is denied: %t", denied)
			}
			if test.ended {
				w.wantEvents("logout Logout")
			} else {
				w.wantEvents()
			}
		})
	}
}

func refreshTokenOf(_ *world, a answered) string { return a.text("refresh_token") }

func accessTokenOf(_ *world, a answered) string { return a.text("access_token") }

// TestRevokeOnceMore because the replica that ended the session may have stopped before anybody heard of it.
func TestRevokeOnceMore(t *testing.T) {
	w := newWorld(t)
	opened := w.opened()
	for range 2 {
		w.form(issuers.PathRevoke, "token", opened.text("refresh_token")).want(t, http.StatusOK, "")
	}
	if len(w.denied) != 2 || w.denied[1] != opened.text("session_id") {
		t.Errorf("denied are %v", w.denied)
	}
	w.wantEvents("logout Logout")
}

func TestRevocationsOfOneSessionAreLimited(t *testing.T) {
	w := newWorld(t)
	w.spec().RateLimits.RefreshPerSession = 2
	opened := w.opened()
	for range 2 {
		w.form(issuers.PathRevoke, "token", opened.text("refresh_token")).want(t, http.StatusOK, "")
	}
	w.form(issuers.PathRevoke, "token", opened.text("refresh_token")).want(t, http.StatusTooManyRequests, codeSlowDown)
}

// TestTokensOfAnotherIssuer are good there, and nothing here, whatever session they name.
func TestTokensOfAnotherIssuer(t *testing.T) {
	w := newWorld(t)
	opened := w.opened()
	foreign := w.signedBy(otherURL, opened.text("session_id"))
	if verdict := w.verdict(foreign); verdict != token.Allowed {
		t.Fatalf("there it is %s", verdict)
	}
	w.form(issuers.PathRevoke, "token", foreign).want(t, http.StatusOK, "")
	w.claims(opened.text("access_token"))
	w.wantInactive(foreign)
	w.wantEvents()
}
