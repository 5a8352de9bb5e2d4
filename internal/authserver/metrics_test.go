package authserver

import (
	"net/http"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyturn/keyturn/internal/issuers"
)

func TestMetricsOfAnIssuerThatIsGone(t *testing.T) {
	w := newWorld(t)
	w.refreshWith(w.opened().text("refresh_token"))
	w.browse(issuers.PathSessionLogin, `{"username":"alice","password":"x"}`)
	w.form(issuers.PathRevoke, "token", w.opened().text("refresh_token"))
	w.spec().RateLimits.LoginPerAddress = 1
	w.browse(issuers.PathSessionLogin, aliceLogsIn)
	names := []string{
		"keyturn_sessions_opened_total", "keyturn_refreshes_total", "keyturn_sessions_ended_total", "keyturn_logins_failed_total",
	}
	for _, name := range names {
		if w.metric(name, "web/shop") == 0 {
			t.Errorf("%s counts nothing", name)
		}
	}
	w.ForgetIssuer("web", "other")
	if w.metric("keyturn_sessions_opened_total", "web/shop") == 0 {
		t.Error("the series of another issuer are gone")
	}
	w.ForgetIssuer("web", "shop")
	for _, name := range append(names, "keyturn_rate_limited_total") {
		if got := w.metric(name, "web/shop"); got != 0 {
			t.Errorf("%s still has %v", name, got)
		}
	}
}

func TestMetricsThatAreThereAlready(t *testing.T) {
	registry := prometheus.NewRegistry()
	if _, err := New(Options{Registerer: registry}); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{Registerer: registry}); err == nil {
		t.Error("two servers share a registry")
	}
}

// TestLogOfAnOutage has one line for many requests, and the metric counts them all.
func TestLogOfAnOutage(t *testing.T) {
	w := newWorld(t)
	refreshToken := w.opened().text("refresh_token")
	w.signing = issuers.ErrCannotSign
	for range 20 {
		w.refreshWith(refreshToken).want(t, http.StatusServiceUnavailable, codeUnavailable)
	}
	lines := 0
	for _, b := range w.logs.Bytes() {
		if b == '\n' {
			lines++
		}
	}
	if got := w.metric("keyturn_refreshes_total", "web/shop", undecided); lines < 1 || lines > 2 || got != 20 {
		t.Errorf("%d lines in the log, %v are counted", lines, got)
	}
}
