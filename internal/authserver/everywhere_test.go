package authserver

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/revocation"
	"github.com/keyturn/keyturn/internal/session"
	"github.com/keyturn/keyturn/internal/token"
)

func TestLogoutEverywhere(t *testing.T) {
	w := newWorld(t)
	here, cookie := w.loggedIn()
	there, _ := w.loggedIn()
	byWorkload := w.signed("")
	stranger := w.opened()
	w.clock.Step(200 * time.Millisecond) // in the same second
	w.browse(issuers.PathSessionEndAll, "", cookie).want(t, http.StatusNoContent, "")
	for name, raw := range map[string]string{
		"here": here.text("access_token"), "elsewhere": there.text("access_token"), "of no session": byWorkload,
	} {
		if verdict := w.verdict(raw); verdict != token.Revoked {
			t.Errorf("the access token %s is %s", name, verdict)
		}
	}
	if want := []time.Time{noon.Truncate(time.Second).Add(time.Second)}; !slices.Equal(w.before, want) {
		t.Errorf("revoked is what was issued before %v, want %v", w.before, want)
	}
	w.wantEvents("logout LogoutEverywhere", "logout LogoutEverywhere")
	if !slices.Contains(w.denied, here.text("session_id")) || !slices.Contains(w.denied, there.text("session_id")) {
		t.Errorf("denied are %v", w.denied)
	}
	w.claims(stranger.text("access_token"))
	if got := w.metric("keyturn_sessions_ended_total", "web/shop", "LogoutEverywhere"); got != 2 {
		t.Errorf("%v sessions are counted as ended", got)
	}
}

// TestLoginInTheSecondOfALogoutEverywhere gets a token that is good, and a session that lasts.
func TestLoginInTheSecondOfALogoutEverywhere(t *testing.T) {
	w := newWorld(t)
	_, cookie := w.loggedIn()
	w.browse(issuers.PathSessionEndAll, "", cookie).want(t, http.StatusNoContent, "")
	done := make(chan answered)
	go func() {
		done <- serveOnce(w, w.browserRequest(issuers.PathSessionLogin, aliceLogsIn), issuers.PathSessionLogin)
	}()
	w.stepWhileWaiting(t, 700*time.Millisecond, done)
	a := <-done
	a.want(t, http.StatusOK, "")
	if issued := w.claims(a.text("access_token")).IssuedAt; !issued.Equal(noon.Truncate(time.Second).Add(time.Second)) {
		t.Errorf("the token was issued at %s", issued)
	}
	w.browse(issuers.PathSessionRenew, "", a.Cookies()[0]).want(t, http.StatusOK, "")
}

// stepWhileWaiting moves the clock once somebody waits for it.
func (w *world) stepWhileWaiting(t *testing.T, step time.Duration, done chan answered) {
	t.Helper()
	for !w.clock.HasWaiters() {
		select {
		case a := <-done:
			t.Fatalf("nobody waited: %d %s", a.StatusCode, a.raw)
		default:
		}
	}
	w.clock.Step(step)
}

// TestRuleThatComesLate is one that the watch brings a little later: the answer waits for it, but not for long.
func TestRuleThatComesLate(t *testing.T) {
	for name, comes := range map[string]bool{"it comes": true, "it does not come": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.late = true
			_, cookie := w.loggedIn()
			r := w.browserRequest(issuers.PathSessionEndAll, "", cookie)
			done := make(chan answered)
			go func() { done <- serveOnce(w, r, issuers.PathSessionEndAll) }()
			w.stepWhileWaiting(t, 0, done)
			if comes {
				w.revoke(revocation.Subject, "staff:alice", noon.Truncate(time.Second).Add(time.Second))
				w.clock.Step(rulePoll)
			} else {
				w.clock.Step(rulePatience)
			}
			if a := <-done; a.StatusCode != http.StatusNoContent {
				t.Errorf("answered %d %s", a.StatusCode, a.raw)
			}
		})
	}
}

// TestRevocationThatFails ends nothing, so that the request can be repeated with the cookie.
func TestRevocationThatFails(t *testing.T) {
	w := newWorld(t)
	a, cookie := w.loggedIn()
	w.revoking = errors.New("the API server is away")
	w.browse(issuers.PathSessionEndAll, "", cookie).want(t, http.StatusServiceUnavailable, codeUnavailable)
	w.claims(a.text("access_token"))
	w.wantEvents()
	w.revoking = nil
	w.browse(issuers.PathSessionEndAll, "", cookie).want(t, http.StatusNoContent, "")
}

// TestLogoutEverywhereWithAnEndedSession is the request that is repeated after its answer was lost.
func TestLogoutEverywhereWithAnEndedSession(t *testing.T) {
	w := newWorld(t)
	_, cookie := w.loggedIn()
	other, _ := w.loggedIn()
	w.browse(issuers.PathSessionLogout, "", cookie).want(t, http.StatusNoContent, "")
	w.browse(issuers.PathSessionEndAll, "", cookie).want(t, http.StatusNoContent, "")
	if verdict := w.verdict(other.text("access_token")); verdict != token.Revoked {
		t.Errorf("the access token of the other session is %s", verdict)
	}
}

// TestLogoutEverywhereNeedsARecordThatVouches because a token of an edited session says nothing about anybody.
func TestLogoutEverywhereNeedsARecordThatVouches(t *testing.T) {
	w := newWorld(t)
	_, cookie := w.loggedIn()
	other := w.opened()
	w.store.Store = edited{w.store.Store, "carol"}
	w.browse(issuers.PathSessionEndAll, "", cookie).want(t, http.StatusNoContent, "")
	w.claims(other.text("access_token"))
	if len(w.before) != 0 {
		t.Error("somebody was revoked")
	}
}

// edited is a store in which every session says that it is this subject's.
type edited struct {
	session.Store
	subject string
}

func (s edited) Get(ctx context.Context, issuer session.IssuerReference, id session.ID) (*session.Session, error) {
	stored, err := s.Store.Get(ctx, issuer, id)
	if err == nil {
		stored.Subject = s.subject
	}
	return stored, err
}

func TestHangingUpStopsNoLogout(t *testing.T) {
	for path, want := range map[string]string{
		issuers.PathSessionLogout: "logout Logout", issuers.PathSessionEndAll: "logout LogoutEverywhere",
	} {
		w := newWorld(t)
		_, cookie := w.loggedIn()
		r := w.browserRequest(path, "", cookie)
		ctx, hangUp := context.WithCancel(r.Context())
		hangUp()
		if a := serveOnce(w, r.WithContext(ctx), path); a.StatusCode != http.StatusNoContent {
			t.Errorf("answered %d %s", a.StatusCode, a.raw)
		}
		w.wantEvents(want)
	}
}
