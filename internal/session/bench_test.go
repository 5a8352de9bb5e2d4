package session_test

import (
	"context"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/session"
)

// BenchmarkForgedToken is the cost of one rejected forgery: of a text that is no token, and of one in which everything
// is right but the tag. Neither asks the store.
func BenchmarkForgedToken(b *testing.B) {
	w := newShop(b)
	good := w.open(b, goodLogin()).RefreshToken.Reveal()
	last := "A"
	if good[len(good)-2:len(good)-1] == last {
		last = "B"
	}
	w.store.operations()
	for name, forged := range map[string]string{
		"malformed": good[:len(good)-1],
		"tag":       good[:len(good)-2] + last + good[len(good)-1:],
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if result, err := w.manager.Refresh(context.Background(), w.issuer, session.Request{Token: forged}); err != nil || result.Reason.Granted() {
					b.Fatal(result.Reason, err)
				}
			}
		})
	}
	if got := w.store.operations(); got != 0 {
		b.Errorf("the store was asked %d times", got)
	}
}

// BenchmarkRefresh is all that a refresh costs beside a real store's own time: each token presents its predecessor's
// successor. Repeat is the answer again within the window.
func BenchmarkRefresh(b *testing.B) {
	b.Run("rotate", func(b *testing.B) {
		w := newShop(b)
		token := w.open(b, goodLogin()).RefreshToken
		b.ReportAllocs()
		for b.Loop() {
			token = w.refresh(b, token, session.Rotated).RefreshToken
		}
	})
	b.Run("repeat", func(b *testing.B) {
		w := newShop(b)
		token := w.open(b, goodLogin()).RefreshToken
		w.refresh(b, token, session.Rotated)
		b.ReportAllocs()
		for b.Loop() {
			w.refresh(b, token, session.Repeated)
		}
	})
}

// BenchmarkOpen is a login with the store in memory.
func BenchmarkOpen(b *testing.B) {
	w := newShop(b)
	w.issuer.Policy.MaxPerSubject = 1
	b.ReportAllocs()
	for b.Loop() {
		w.open(b, goodLogin())
		w.pass(time.Second)
		if _, err := w.store.DeleteExpired(context.Background(), w.clock.Now()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkClassify is the decision alone, with the check of the mac in it.
func BenchmarkClassify(b *testing.B) {
	w := newShop(b)
	opened := w.open(b, goodLogin())
	presented, reason := w.issuer.Keys.Read(opened.RefreshToken.Reveal(), w.issuer.URL)
	if reason != session.Good {
		b.Fatal(reason)
	}
	b.ReportAllocs()
	for b.Loop() {
		if got := session.Classify(presented, opened.Session, noon, w.issuer.Policy).Reason; got != session.Rotated {
			b.Fatal(got)
		}
	}
}
