package authserver

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/session"
)

// metrics are what the endpoints count. Every label has a bounded set of values: issuers are those that exist, and all
// others are constants.
type metrics struct {
	opened, refreshed, ended, loginsFailed, limited *prometheus.CounterVec
	refreshDuration                                 prometheus.Histogram
	storeErrors                                     *prometheus.CounterVec
}

// undecided is the reason of a refresh that was answered with a 503.
const undecided = "Undecided"

// The operations of the store that errors are counted by.
const (
	operationOpen      = "open"
	operationRead      = "read"
	operationRefresh   = "refresh"
	operationEnd       = "end"
	operationEndAll    = "end_all"
	operationSupersede = "supersede"
)

func newMetrics() *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "keyturn_" + name, Help: help}, labels)
	}
	return &metrics{
		opened: counter("sessions_opened_total",
			"Sessions opened, by issuer (namespace/name) and source (Workload, Password or Upstream).", "issuer", "source"),
		refreshed: counter("refreshes_total",
			"Refresh tokens presented, by issuer (namespace/name) and what became of them; Undecided is a 503.", "issuer", "reason"),
		ended: counter("sessions_ended_total",
			"Sessions that a request to this replica has ended, by issuer (namespace/name) and reason.", "issuer", "reason"),
		loginsFailed: counter("logins_failed_total",
			"Logins that were refused, by issuer (namespace/name) and source (Workload, Password or Upstream).", "issuer", "source"),
		limited: counter("rate_limited_total",
			"Requests answered with 429, by issuer (namespace/name) and limit.", "issuer", "limit"),
		refreshDuration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "keyturn_refresh_duration_seconds",
			Help:    "How long the refresh of a session took, with the store and without HTTP. Forged tokens are not counted.",
			Buckets: []float64{1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1, 2.5, 5, 10},
		}),
		storeErrors: counter("session_store_errors_total",
			"Failures of the store of sessions, by what was being done.", "operation"),
	}
}

// register gives the metrics to a registry. Nil means that nobody wants them.
func (m *metrics) register(registry prometheus.Registerer) error {
	if registry == nil {
		return nil
	}
	for _, collector := range []prometheus.Collector{
		m.opened, m.refreshed, m.ended, m.loginsFailed, m.limited, m.refreshDuration, m.storeErrors,
	} {
		if err := registry.Register(collector); err != nil {
			return fmt.Errorf("registering the metrics of the sessions' endpoints: %w; make one server, or give each its own "+
				"registry", err)
		}
	}
	return nil
}

// forgetIssuer deletes the series of an issuer.
func (m *metrics) forgetIssuer(namespace, name string) {
	for _, counter := range []*prometheus.CounterVec{m.opened, m.refreshed, m.ended, m.loginsFailed, m.limited} {
		counter.DeletePartialMatch(prometheus.Labels{"issuer": namespace + "/" + name})
	}
}

// storeFailed counts an error if it is the store's.
func (m *metrics) storeFailed(operation string, err error) {
	if errors.Is(err, session.ErrUnavailable) || errors.Is(err, session.ErrConflict) || errors.Is(err, session.ErrContended) {
		m.storeErrors.WithLabelValues(operation).Inc()
	}
}

func (m *metrics) refreshTook(duration time.Duration) { m.refreshDuration.Observe(duration.Seconds()) }

// issuerName is how metrics name an issuer.
func issuerName(a *issuers.Authority) string { return a.Name.Namespace + "/" + a.Name.Name }
