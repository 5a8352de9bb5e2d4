package authserver

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/revocation"
	"github.com/keyturn/keyturn/internal/session"
)

// TestWaitForARevocationToBeOver has rules up to a moment from noon on, which is 300 ms after the second.
func TestWaitForARevocationToBeOver(t *testing.T) {
	second := noon.Truncate(time.Second)
	for name, test := range map[string]struct {
		kind   revocation.Kind
		value  string
		before time.Time
		// wait is how long until the login is answered. 0: at once.
		wait time.Duration
		code string
	}{
		"over":                 {revocation.Subject, "carol", second, 0, ""},
		"this second":          {revocation.Subject, "carol", second.Add(time.Second), 700 * time.Millisecond, ""},
		"a part of it":         {revocation.Subject, "carol", second.Add(100 * time.Millisecond), 700 * time.Millisecond, ""},
		"all of this second":   {revocation.All, "", second.Add(time.Second), 700 * time.Millisecond, ""},
		"the client's":         {revocation.ClientID, "web", second.Add(time.Second), 700 * time.Millisecond, ""},
		"an audience's":        {revocation.Audience, "shop-api", second.Add(time.Second), 700 * time.Millisecond, ""},
		"by a clock ahead":     {revocation.Subject, "carol", second.Add(3 * time.Second), 2700 * time.Millisecond, ""},
		"too far ahead":        {revocation.Subject, "carol", second.Add(4 * time.Second), 0, codeInvalidGrant},
		"somebody else":        {revocation.Subject, "bob", second.Add(time.Second), 0, ""},
		"an audience's of old": {revocation.Audience, "pay-api", second.Add(time.Hour), 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.revoke(test.kind, test.value, test.before)
			r := issueRequestOf(`{"subject":"carol","client_id":"web","audience":"shop-api"}`)
			done := make(chan answered, 1)
			go func() { done <- serveOnce(w, r, issuers.PathSessions) }()
			if test.wait > 0 {
				w.stepWhileWaiting(t, test.wait-time.Millisecond, done)
				if calls := w.store.total(); calls != 0 {
					t.Errorf("the store was asked %d times before the wait was over", calls)
				}
				w.clock.Step(time.Millisecond)
			}
			a := <-done
			if a.text("error") != test.code {
				t.Fatalf("answered %d %s", a.StatusCode, a.raw)
			}
			if test.code != "" {
				return
			}
			if issued := w.claims(a.text("access_token")).IssuedAt; !issued.Equal(noon.Add(test.wait).Truncate(time.Second)) {
				t.Errorf("the token was issued at %s", issued)
			}
		})
	}
}

// TestHangingUpEndsTheWait and opens no session.
func TestHangingUpEndsTheWait(t *testing.T) {
	w := newWorld(t)
	w.revoke(revocation.Subject, "carol", noon.Truncate(time.Second).Add(time.Second))
	r := issueRequestOf(`{"subject":"carol"}`)
	ctx, hangUp := context.WithCancel(r.Context())
	hangUp()
	a := serveOnce(w, r.WithContext(ctx), issuers.PathSessions)
	if a.StatusCode != http.StatusServiceUnavailable || w.store.total() != 0 {
		t.Errorf("answered %d, and the store was asked %d times", a.StatusCode, w.store.total())
	}
}

// TestAccessTokenEndsWithItsSession because it could not be refreshed, and must not go on without it.
func TestAccessTokenEndsWithItsSession(t *testing.T) {
	w := newWorld(t)
	w.spec().AbsoluteLifetime.Duration = 72 * time.Hour
	w.makeKeys()
	opened := w.opened()
	w.clock.Step(72*time.Hour - 5*time.Minute)
	a := w.refreshWith(opened.text("refresh_token"))
	a.want(t, http.StatusOK, "")
	claims := w.claims(a.text("access_token"))
	if want := noon.Truncate(time.Second).Add(72 * time.Hour); !claims.Expiry.Equal(want) {
		t.Errorf("it expires at %s, and the session at %s", claims.Expiry, want)
	}
	if a.fields["expires_in"] != 299.0 {
		t.Errorf("expires_in is %v", a.fields["expires_in"])
	}
}

// TestUnreadableClaims is a record that no code of ours has written.
func TestUnreadableClaims(t *testing.T) {
	w := newWorld(t)
	_, err := accessToken(w.authority(), &session.Facts{Claims: `{`}, wish{})
	if err == nil {
		t.Error("it makes a token")
	}
}
