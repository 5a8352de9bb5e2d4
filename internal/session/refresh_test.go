package session_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/session"
)

func TestRefresh(t *testing.T) {
	w := newShop(t)
	first := w.open(t, goodLogin()).RefreshToken
	w.store.operations()

	w.pass(time.Hour)
	rotated := w.refresh(t, first, session.Rotated)
	if reads, writes := w.store.reads.Load(), w.store.writes.Load(); reads != 1 || writes != 1 {
		t.Errorf("a refresh took %d reads and %d writes, want 1 and 1", reads, writes)
	}
	w.pass(10 * time.Second)
	repeated := w.refresh(t, first, session.Repeated)
	if repeated.RefreshToken.Reveal() != rotated.RefreshToken.Reveal() || !slices.Equal(repeated.Audiences, rotated.Audiences) {
		t.Error("the answer within the window is another")
	}
	if writes := w.store.writes.Load(); writes != 1 {
		t.Errorf("after an answer that was repeated there are %d writes, want 1", writes)
	}
	// The window does not slide: it is 10 seconds, and 2 for the clocks, from the one write on.
	w.pass(2*time.Second + time.Millisecond)
	reused := w.refresh(t, first, session.Reused)
	if !reused.Ended || reused.Session.EndReason != session.EndReuse || reused.RefreshToken.Reveal() != "" {
		t.Errorf("the reuse gives %+v", reused)
	}
	if again := w.refresh(t, rotated.RefreshToken, session.Ended); again.Ended {
		t.Error("the session is ended a second time")
	}
}

// A key that is superseded goes on serving its sessions, and an answer is repeated with the same token.
func TestRefreshAcrossKeyRotation(t *testing.T) {
	w := newShop(t)
	w.issuer.Policy.IdleLifetime = w.issuer.Policy.AbsoluteLifetime
	old := w.open(t, goodLogin())
	policy := session.KeyPolicy{Period: time.Hour, ClockSkew: 30 * time.Second, AbsoluteLifetime: session.DefaultAbsoluteLifetime}
	decision, err := session.PlanKeys(noon.Add(time.Hour), policy, w.issuer.Keys, rand.NewChaCha8([32]byte{8}))
	if err != nil || len(decision.Created) != 1 {
		t.Fatalf("PlanKeys() made %d keys, %v", len(decision.Created), err)
	}
	w.issuer.Keys = decision.Keys
	keys := decision.Keys.All()
	w.clock.SetTime(keys[1].UsableFrom.Add(-time.Second))
	first := w.refresh(t, old.RefreshToken, session.Rotated)
	w.pass(2 * time.Second)
	young := w.open(t, goodLogin())
	if keyOf(young.RefreshToken) == keyOf(old.RefreshToken) {
		t.Error("a session is opened with the superseded key")
	}
	again := w.refresh(t, old.RefreshToken, session.Repeated)
	if again.RefreshToken.Reveal() != first.RefreshToken.Reveal() {
		t.Error("after the rotation of keys the answer is another")
	}
	w.refresh(t, again.RefreshToken, session.Rotated)
	w.refresh(t, young.RefreshToken, session.Rotated)
}

// keyOf is the part of a token's text that depends on nothing but its key.
func keyOf(token session.RefreshToken) string { return token.Reveal()[:len(session.Prefix)+5] }

func TestRefreshOfAnotherClient(t *testing.T) {
	w := newShop(t)
	opened := w.open(t, goodLogin())
	request := session.Request{Token: opened.RefreshToken.Reveal(), ClientID: "other"}
	if result, err := w.manager.Refresh(t.Context(), w.issuer, request); err != nil || result.Reason != session.ClientMismatch {
		t.Errorf("Refresh() by another client = %s, %v", result.Reason, err)
	}
	request.ClientID = "web"
	if result, err := w.manager.Refresh(t.Context(), w.issuer, request); err != nil || result.Reason != session.Rotated {
		t.Errorf("Refresh() by its client = %s, %v", result.Reason, err)
	}
}

// Neither another issuer with the same keys nor one with other keys takes the token.
func TestRefreshAtAnotherIssuer(t *testing.T) {
	w := newShop(t)
	token := w.open(t, goodLogin()).RefreshToken
	own := *w.issuer
	for name, test := range map[string]struct {
		edit func(*session.Issuer)
		want session.Reason
	}{
		"another namespace": {func(i *session.Issuer) { i.Reference.Namespace = "other" }, session.NotFound},
		"another name":      {func(i *session.Issuer) { i.Reference.Name = "other" }, session.NotFound},
		"another URL":       {func(i *session.Issuer) { i.URL += "/eu" }, session.MACInvalid},
	} {
		issuer := own
		test.edit(&issuer)
		w.issuer = &issuer
		if result := w.refresh(t, token, test.want); result.Ended {
			t.Errorf("%s ended the session", name)
		}
	}
	w.issuer = &own
	w.refresh(t, token, session.Rotated)
}

func TestRecheck(t *testing.T) {
	w := newShop(t)
	first := w.open(t, goodLogin()).RefreshToken
	second := w.refresh(t, first, session.Rotated).RefreshToken

	w.recheckFails = errors.New("the user directory is away")
	for _, token := range []session.RefreshToken{first, second} {
		result, err := w.manager.Refresh(t.Context(), w.issuer, session.Request{Token: token.Reveal()})
		if !errors.Is(err, w.recheckFails) || result.RefreshToken.Reveal() != "" {
			t.Errorf("Refresh() while nobody knows = %s, %v", result.Reason, err)
		}
	}
	w.recheckFails = nil
	w.refresh(t, first, session.Repeated)

	w.removed["alice"] = true
	result := w.refresh(t, first, session.Rechecked)
	if !result.Ended || result.Session.EndReason != session.EndLoginRemoved || result.RefreshToken.Reveal() != "" {
		t.Errorf("after the user was removed: %+v", result)
	}
	w.refresh(t, second, session.Ended)
}

// The recheck is not asked about tokens that are refused anyway: it may cost I/O.
func TestRecheckOnlyBeforeAGrant(t *testing.T) {
	w := newShop(t)
	first := w.open(t, goodLogin()).RefreshToken
	w.refresh(t, first, session.Rotated)
	w.pass(time.Minute)
	w.recheckFails = errors.New("must not be asked")
	w.refresh(t, first, session.Reused)
}

func TestRefreshWhileTheStoreFails(t *testing.T) {
	w := newShop(t)
	first := w.open(t, goodLogin()).RefreshToken
	w.store.fails = fmt.Errorf("reading: %w", session.ErrUnavailable)
	for range 3 {
		if result, err := w.manager.Refresh(t.Context(), w.issuer, session.Request{Token: first.Reveal()}); !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("Refresh() = %s, %v; want %q", result.Reason, err, session.ErrUnavailable)
		}
	}
	w.store.fails = nil
	w.refresh(t, first, session.Rotated)
}

// What another replica writes between the read and the write decides.
func TestLostRaces(t *testing.T) {
	for name, test := range map[string]struct {
		meanwhile func(t *testing.T, w *shop, token session.RefreshToken)
		want      session.Reason
	}{
		"a refresh": {func(t *testing.T, w *shop, token session.RefreshToken) {
			w.refresh(t, token, session.Rotated)
		}, session.Repeated},
		"a refresh and its successor's": {func(t *testing.T, w *shop, token session.RefreshToken) {
			w.refresh(t, w.refresh(t, token, session.Rotated).RefreshToken, session.Rotated)
		}, session.Reused},
		"the end": {func(t *testing.T, w *shop, token session.RefreshToken) {
			if _, err := w.manager.End(t.Context(), w.issuer, session.Request{Token: token.Reveal()}, session.EndLogout); err != nil {
				t.Error(err)
			}
		}, session.Ended},
		"the deletion": {func(t *testing.T, w *shop, _ session.RefreshToken) {
			if _, err := w.store.DeleteExpired(t.Context(), noon.Add(99*day)); err != nil {
				t.Error(err)
			}
		}, session.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			w := newShop(t)
			token := w.open(t, goodLogin()).RefreshToken
			w.store.beforeSwap = func() {
				w.store.beforeSwap = nil
				test.meanwhile(t, w, token)
			}
			w.refresh(t, token, test.want)
		})
	}
}

// A session that others change at every attempt is given up after a bounded number of them.
func TestContention(t *testing.T) {
	w := newShop(t)
	opened := w.open(t, goodLogin())
	w.store.operations()
	interfering := 0
	w.store.beforeSwap = func() {
		interfering++
		s, err := w.store.Store.Get(t.Context(), w.issuer.Reference, opened.Session.ID)
		if err == nil {
			_, err = w.store.Store.CompareAndSwap(t.Context(), s, s.State)
		}
		if err != nil {
			t.Error(err)
		}
	}
	_, err := w.manager.Refresh(t.Context(), w.issuer, session.Request{Token: opened.RefreshToken.Reveal()})
	if !errors.Is(err, session.ErrContended) || interfering > 10 {
		t.Errorf("Refresh() = %v after %d attempts", err, interfering)
	}
	w.store.beforeSwap = nil
	w.refresh(t, opened.RefreshToken, session.Rotated)
}

func TestEnd(t *testing.T) {
	w := newShop(t)
	first := w.open(t, goodLogin()).RefreshToken
	second := w.refresh(t, first, session.Rotated).RefreshToken
	w.pass(time.Hour)
	end := func(token session.RefreshToken, client string) session.Result {
		t.Helper()
		result, err := w.manager.End(t.Context(), w.issuer, session.Request{Token: token.Reveal(), ClientID: client}, session.EndLogout)
		if err != nil {
			t.Fatal(err)
		}
		return result
	}
	if result := end(second, "other"); result.Reason != session.ClientMismatch || result.Ended {
		t.Errorf("End() by another client = %+v", result)
	}
	// A used token ends the session too, and that is no theft.
	if result := end(first, "web"); result.Reason != session.Ended || !result.Ended || result.Session.EndReason != session.EndLogout {
		t.Errorf("End() = %+v", result)
	}
	if result := end(second, ""); result.Reason != session.Ended || result.Ended {
		t.Errorf("End() of an ended session = %+v", result)
	}
	w.refresh(t, second, session.Ended)
	moved := *w.issuer
	moved.URL += "/eu"
	request := session.Request{Token: w.open(t, goodLogin()).RefreshToken.Reveal()}
	if result, err := w.manager.End(t.Context(), &moved, request, session.EndLogout); err != nil || result.Reason != session.MACInvalid || result.Ended {
		t.Errorf("End() of a session that the token does not vouch for = %+v, %v", result, err)
	}
	if result, err := w.manager.EndSession(t.Context(), w.issuer, session.NewID(noon), session.EndRevoked); err != nil || result.Reason != session.NotFound {
		t.Errorf("EndSession() of none = %s, %v", result.Reason, err)
	}
}

func TestEndAll(t *testing.T) {
	w := newShop(t)
	var tokens []session.RefreshToken
	for range 3 {
		tokens = append(tokens, w.open(t, goodLogin()).RefreshToken)
	}
	other := goodLogin()
	other.Subject = "bob"
	bob := w.open(t, other).RefreshToken
	ended, err := w.manager.EndAll(t.Context(), w.issuer, "alice", session.EndLogoutEverywhere)
	if err != nil || len(ended) != 3 {
		t.Errorf("EndAll() ended %d sessions, %v; want 3", len(ended), err)
	}
	for _, token := range tokens {
		w.refresh(t, token, session.Ended)
	}
	w.refresh(t, bob, session.Rotated)
	w.refresh(t, w.open(t, goodLogin()).RefreshToken, session.Rotated)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.manager.EndAll(canceled, w.issuer, "bob", session.EndLogoutEverywhere); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("EndAll() with a canceled context: %v", err)
	}
}
