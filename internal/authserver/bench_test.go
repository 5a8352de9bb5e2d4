package authserver

import (
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/session"
)

// BenchmarkForgedRefreshToken is what one request of a flood costs, without the connection: through the handler, and in
// the manager alone.
func BenchmarkForgedRefreshToken(b *testing.B) {
	w := newWorld(b)
	good := w.opened().text("refresh_token")
	forged := good[:40] + strings.Repeat("A", 10) + good[50:]
	a := w.authority()
	before := w.store.total()
	b.Run("handler", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r := postForm("grant_type", issuers.GrantRefreshToken, "refresh_token", forged)
			w.ServeEndpoint(httptest.NewRecorder(), r, a, issuers.PathToken, RequestInfo{Client: netip.IPv4Unspecified()})
		}
	})
	b.Run("manager", func(b *testing.B) {
		manager := session.NewManager(w.store, w.clock, nil)
		b.ReportAllocs()
		for b.Loop() {
			if result, err := manager.Refresh(b.Context(), &a.Session, session.Request{Token: forged}); err != nil || result.Reason.Granted() {
				b.Fatal(result.Reason, err)
			}
		}
	})
	if calls := w.store.total() - before; calls != 0 {
		b.Errorf("the store was asked %d times", calls)
	}
}

// BenchmarkRefresh is a refresh with a store that costs nothing.
func BenchmarkRefresh(b *testing.B) {
	w := newWorld(b)
	w.spec().RateLimits.RefreshPerSession = 100000
	a := w.authority()
	refreshToken := w.opened().text("refresh_token")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%50000 == 49999 {
			w.clock.Step(60e9) // The limit counts the requests of a minute.
		}
		r := postForm("grant_type", issuers.GrantRefreshToken, "refresh_token", refreshToken)
		got := serveAuthority(w, a, r, issuers.PathToken)
		if refreshToken = got.text("refresh_token"); refreshToken == "" {
			b.Fatal(got.raw)
		}
	}
}
