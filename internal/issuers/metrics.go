package issuers

import (
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"

	"github.com/keyturn/keyturn/internal/keyring"
)

var (
	keysDesc = prometheus.NewDesc("keyturn_keys",
		"Keys of an issuer by state (Next, Active, Retiring, External).", []string{"issuer", "state"}, nil)
	rotationDesc = prometheus.NewDesc("keyturn_next_rotation_seconds",
		"Seconds until the next key of an issuer takes over; negative when that should have happened.", []string{"issuer"}, nil)
	overdueDesc = prometheus.NewDesc("keyturn_rotation_overdue",
		"1 while a rotation that should have happened has not.", []string{"issuer"}, nil)
	rulesDesc = prometheus.NewDesc("keyturn_revocations",
		"Revocations in force for an issuer.", []string{"issuer"}, nil)
	syncAgeDesc = prometheus.NewDesc("keyturn_sync_age_seconds",
		"Seconds since this replica last heard from the API server; up to about 60 when all is well.", nil, nil)
	syncedDesc = prometheus.NewDesc("keyturn_synced",
		"1 once everything that the API server knew at the start is in force.", nil, nil)
)

// Collector reads the registry at every scrape, so that an issuer that is gone leaves no series behind.
type Collector struct {
	registry  *Registry
	freshness *Freshness
	clock     clock.PassiveClock
}

// NewCollector returns the metrics of a registry.
func NewCollector(registry *Registry, freshness *Freshness, clk clock.PassiveClock) *Collector {
	return &Collector{registry: registry, freshness: freshness, clock: clk}
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(descriptions chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{keysDesc, rotationDesc, overdueDesc, rulesDesc, syncAgeDesc, syncedDesc} {
		descriptions <- desc
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(metrics chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	gauge(syncedDesc, truth(c.registry.Synced()))
	if age, heard := c.freshness.Age(); heard {
		gauge(syncAgeDesc, age.Seconds())
	}
	now := c.clock.Now()
	for name, s := range c.registry.table.Load().byName {
		v, issuer := s.Load(), name.String()
		gauge(rulesDesc, float64(v.token.Revocations.Len()), issuer)
		if v.external() {
			gauge(keysDesc, float64(len(v.token.Keys)), issuer, "External")
		}
		if v.ring == nil {
			continue
		}
		count := map[keyring.State]int{}
		for i := range v.ring.Keys {
			count[v.ring.Keys[i].State]++
		}
		for _, state := range []keyring.State{keyring.Next, keyring.Active, keyring.Retiring} {
			gauge(keysDesc, float64(count[state]), issuer, string(state))
		}
		gauge(rotationDesc, v.ring.RotationAt(now, v.policy).Sub(now).Seconds(), issuer)
		_, overdue := v.ring.Overdue(now, v.policy)
		gauge(overdueDesc, truth(overdue), issuer)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
