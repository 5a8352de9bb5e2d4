package server

import (
	"fmt"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
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

	verifiedBy counters[verification]
	answeredBy counters[answer]
}

// counters are those in use of a vector, because finding one by its labels hashes them all, and takes a lock that all
// requests share. Here finding one takes no lock and no memory; adding one copies the rest.
type counters[Key comparable] struct {
	byKey atomic.Pointer[map[Key]prometheus.Counter]
	// changing is held while one is added or taken out, so that none stays that is not in the vector.
	changing sync.Mutex
}

// get finds a counter, and has it made where there is none.
func (c *counters[Key]) get(key Key, create func() prometheus.Counter) prometheus.Counter {
	if known := c.byKey.Load(); known != nil {
		if counter, found := (*known)[key]; found {
			return counter
		}
	}
	c.changing.Lock()
	defer c.changing.Unlock()
	after := map[Key]prometheus.Counter{}
	if known := c.byKey.Load(); known != nil {
		maps.Copy(after, *known)
	}
	after[key] = create()
	c.byKey.Store(&after)
	return after[key]
}

// forget takes counters out, after remove has taken them out of the vector.
func (c *counters[Key]) forget(remove func(), of func(Key) bool) {
	c.changing.Lock()
	defer c.changing.Unlock()
	remove()
	if known := c.byKey.Load(); known != nil {
		after := maps.Clone(*known)
		maps.DeleteFunc(after, func(key Key, _ prometheus.Counter) bool { return of(key) })
		c.byKey.Store(&after)
	}
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
	m.verifiedBy.get(key, func() prometheus.Counter {
		result := "deny"
		if reason == token.Allowed {
			result = "allow"
		}
		return m.verifications.WithLabelValues(issuerName(issuer), result, string(reason))
	}).Inc()
}

// answered counts a request.
func (m *metrics) answered(handler string, code int) {
	m.answeredBy.get(answer{handler, code}, func() prometheus.Counter {
		return m.requests.WithLabelValues(handler, strconv.Itoa(code))
	}).Inc()
}

// forgetIssuer deletes the series of an issuer.
func (m *metrics) forgetIssuer(namespace, name string) {
	m.verifiedBy.forget(func() {
		m.verifications.DeletePartialMatch(prometheus.Labels{"issuer": namespace + "/" + name})
	}, func(key verification) bool { return key.namespace == namespace && key.name == name })
}

func (m *metrics) certificateExpires(at time.Time) { m.certificate.Set(float64(at.Unix())) }

// issuerName is how metrics and logs name an issuer: "namespace/name", or nothing where it is not known.
func issuerName(issuer *token.Issuer) string {
	if issuer == nil {
		return ""
	}
	return issuer.Namespace + "/" + issuer.Name
}
