package server

import (
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyturn/keyturn/internal/token"
)

// metrics are what the server measures. Every label has a bounded set of values: issuers are those that exist, reasons
// and handlers are constants, and codes are those that the handlers answer.
type metrics struct {
	verifications *prometheus.CounterVec
	duration      prometheus.Histogram
	requests      *prometheus.CounterVec
	panics        prometheus.Counter
	certificate   prometheus.Gauge

	// The counters in use, because finding one by its labels hashes them all, and takes a lock that all requests share.
	verifiedBy sync.Map // verification -> prometheus.Counter
	answeredBy sync.Map // answer -> prometheus.Counter
	// changing is held while a counter is added to the maps or taken out, so that none stays that is not in its vector.
	changing sync.Mutex
}

// verification identifies a counter of verifications.
type verification struct {
	namespace, name string
	reason          token.Reason
}

// answer identifies a counter of requests.
type answer struct {
	handler string
	code    int
}

func newMetrics() *metrics {
	return &metrics{
		verifications: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "keyturn_verify_total",
			Help: "Tokens judged, by issuer (namespace/name, empty where unknown), result (allow or deny) and reason.",
		}, []string{"issuer", "result", "reason"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "keyturn_verify_duration_seconds",
			Help: "How long the verification of a token took, without HTTP.",
			Buckets: []float64{
				10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 50e-3, 250e-3, 1, 5,
			},
		}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "keyturn_http_requests_total",
			Help: "Requests answered, by handler and status code.",
		}, []string{"handler", "code"}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "keyturn_http_panics_total",
			Help: "Requests that ran into a fault of the server. Anything but 0 is a bug.",
		}),
		certificate: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "keyturn_certificate_expiry_timestamp_seconds",
			Help: "When the server's TLS certificate expires, in seconds since 1970.",
		}),
	}
}

// register gives the metrics to a registry. Nil means that nobody wants them.
func (m *metrics) register(registry prometheus.Registerer) error {
	if registry == nil {
		return nil
	}
	for _, collector := range []prometheus.Collector{
		m.verifications, m.duration, m.requests, m.panics, m.certificate,
	} {
		if err := registry.Register(collector); err != nil {
			return fmt.Errorf("registering the metrics of the HTTPS server: %w; start it once, or give each its own "+
				"registry", err)
		}
	}
	return nil
}

// verified counts a verification. The issuer is nil where it is not known.
func (m *metrics) verified(issuer *token.Issuer, reason token.Reason) {
	key := verification{reason: reason}
	if issuer != nil {
		key.namespace, key.name = issuer.Namespace, issuer.Name
	}
	if counter, found := m.verifiedBy.Load(key); found {
		counter.(prometheus.Counter).Inc()
		return
	}
	m.changing.Lock()
	defer m.changing.Unlock()
	result := "deny"
	if reason == token.Allowed {
		result = "allow"
	}
	counter := m.verifications.WithLabelValues(issuerName(issuer), result, string(reason))
	m.verifiedBy.Store(key, counter)
	counter.Inc()
}

// answered counts a request.
func (m *metrics) answered(handler string, code int) {
	key := answer{handler, code}
	counter, found := m.answeredBy.Load(key)
	if !found {
		counter, _ = m.answeredBy.LoadOrStore(key, m.requests.WithLabelValues(handler, strconv.Itoa(code)))
	}
	counter.(prometheus.Counter).Inc()
}

// forgetIssuer deletes the series of an issuer.
func (m *metrics) forgetIssuer(namespace, name string) {
	m.changing.Lock()
	defer m.changing.Unlock()
	m.verifications.DeletePartialMatch(prometheus.Labels{"issuer": namespace + "/" + name})
	m.verifiedBy.Range(func(key, _ any) bool {
		if key := key.(verification); key.namespace == namespace && key.name == name {
			m.verifiedBy.Delete(key)
		}
		return true
	})
}

func (m *metrics) certificateExpires(at time.Time) { m.certificate.Set(float64(at.Unix())) }

// issuerName is how metrics and logs name an issuer: "namespace/name", or nothing where it is not known.
func issuerName(issuer *token.Issuer) string {
	if issuer == nil {
		return ""
	}
	return issuer.Namespace + "/" + issuer.Name
}
