package server

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/keyturn/keyturn/internal/token"
)

func TestMetrics(t *testing.T) {
	const took = 3 * time.Millisecond
	now, verifier, options := time.Unix(1_800_000_000, 0), newFakeVerifier(), testOptions()
	verifier.begun = now.Add(-took)
	options.Verifier, options.Clock = verifier, clocktesting.NewFakeClock(now)
	s := New(options)
	registry := prometheus.NewRegistry()
	if err := s.metrics.register(registry); err != nil {
		t.Fatal(err)
	}
	s.metrics.certificateExpires(time.Unix(1_800_000_000, 0))
	for _, raw := range []string{"good", "good", "revoked", "foreign", "panic"} {
		serve(s, "GET", "/verify", bearer(raw))
	}
	serve(s, "GET", "/verify", nil)
	review(t, s, "v1", "good", "[]")
	serve(s, "GET", "/issuers/web/shop/.well-known/jwks.json", nil)
	serve(s, "GET", "/nothing", nil)

	const verifications = `
# HELP keyturn_verify_total Tokens judged, by issuer (namespace/name, empty where unknown), result (allow or deny) and reason.
# TYPE keyturn_verify_total counter
`
	const unknown = `keyturn_verify_total{issuer="",reason="InternalError",result="deny"} 1
keyturn_verify_total{issuer="",reason="IssuerUnknown",result="deny"} 1
keyturn_verify_total{issuer="",reason="TokenMissing",result="deny"} 1
`
	want := `
# HELP keyturn_certificate_expiry_timestamp_seconds When the server's TLS certificate expires, in seconds since 1970.
# TYPE keyturn_certificate_expiry_timestamp_seconds gauge
keyturn_certificate_expiry_timestamp_seconds 1.8e+09
# HELP keyturn_http_panics_total Requests that ran into a fault of the server. Anything but 0 is a bug.
# TYPE keyturn_http_panics_total counter
keyturn_http_panics_total 1
# HELP keyturn_http_requests_total Requests answered, by handler and status code.
# TYPE keyturn_http_requests_total counter
keyturn_http_requests_total{code="200",handler="jwks"} 1
keyturn_http_requests_total{code="404",handler="none"} 1
keyturn_http_requests_total{code="200",handler="tokenreview"} 1
keyturn_http_requests_total{code="200",handler="verify"} 2
keyturn_http_requests_total{code="401",handler="verify"} 4
` + verifications + unknown + `keyturn_verify_total{issuer="web/shop",reason="Revoked",result="deny"} 1
keyturn_verify_total{issuer="web/shop",reason="ok",result="allow"} 3
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "keyturn_certificate_expiry_timestamp_seconds",
		"keyturn_http_panics_total", "keyturn_http_requests_total", "keyturn_verify_total"); err != nil {
		t.Error(err)
	}

	// Of the verifications above all but the panic took a time.
	want = fmt.Sprintf("keyturn_verify_duration_seconds_sum %g\nkeyturn_verify_duration_seconds_count 5\n", 5*took.Seconds())
	if got := exposed(t, registry); !strings.Contains(got, want) {
		t.Errorf("the metrics are, without %q:\n%s", want, got)
	}

	s.ForgetIssuer("web", "shop")
	if err := testutil.GatherAndCompare(registry, strings.NewReader(verifications+unknown), "keyturn_verify_total"); err != nil {
		t.Errorf("after the issuer was forgotten: %v", err)
	}
	// An issuer of the same name that is created later is counted anew.
	serve(s, "GET", "/verify", bearer("good"))
	anew := verifications + unknown + `keyturn_verify_total{issuer="web/shop",reason="ok",result="allow"} 1` + "\n"
	if err := testutil.GatherAndCompare(registry, strings.NewReader(anew), "keyturn_verify_total"); err != nil {
		t.Errorf("after the issuer was created again: %v", err)
	}
}

// An issuer that is forgotten while tokens of it come is counted from then on, and not by a counter that nobody sees.
func TestForgottenIssuerIsCountedAnew(t *testing.T) {
	m := newMetrics()
	for range 2000 {
		var busy sync.WaitGroup
		var forgotten atomic.Bool
		begun := make(chan struct{})
		busy.Go(func() {
			m.verified(shop, token.Allowed)
			close(begun)
			for !forgotten.Load() {
				m.verified(shop, token.Allowed)
			}
		})
		<-begun
		m.forgetIssuer(shop.Namespace, shop.Name)
		forgotten.Store(true)
		busy.Wait()
		m.verified(shop, token.Allowed)
		if got := testutil.CollectAndCount(m.verifications); got != 1 {
			t.Fatalf("%d series are there, want 1", got)
		}
	}
}

// Anybody can name every issuer, with every reason that comes before the signature.
func TestCountersOfManyIssuersAreCheapToAdd(t *testing.T) {
	const issuers, reasons, atMost = 1000, 10, 100 << 20
	m := newMetrics()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for issuer := range issuers {
		for reason := range reasons {
			m.verified(&token.Issuer{Namespace: "shop", Name: strconv.Itoa(issuer)}, token.Reason(strconv.Itoa(reason)))
		}
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > atMost {
		t.Errorf("%d MiB were allocated, want at most %d", got>>20, atMost>>20)
	}
}

// exposed is what Prometheus is shown.
func exposed(t *testing.T, registry *prometheus.Registry) string {
	t.Helper()
	recorder := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return recorder.Body.String()
}

// Nothing of a request that could be a secret is logged, not even when the verifier panics with it.
func TestLogsHoldNoSecrets(t *testing.T) {
	var lines []string
	options := testOptions()
	options.Logger = funcr.New(func(_, line string) { lines = append(lines, line) }, funcr.Options{Verbosity: 9})
	s := New(options)
	for _, raw := range []string{"good", "panic", "sesame"} {
		serve(s, "GET", "/verify/sesame?sesame", bearer(raw))
	}
	if len(lines) != 4 {
		t.Errorf("%d lines, want one a request and one more for the panic: %q", len(lines), lines)
	}
	for _, line := range lines {
		if strings.Contains(line, "sesame") || strings.Contains(line, "a value with a token in it") {
			t.Errorf("logged %s", line)
		}
	}
	if want := fmt.Sprintf("%q=%q %q=%q", "reason", token.Allowed, "issuer", "web/shop"); !strings.Contains(lines[0], want) {
		t.Errorf("logged %s, want %s in it", lines[0], want)
	}
}
