package e2e

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/test/e2e/report"
)

// usage is what one replica has used.
type usage struct {
	memory float64 // bytes, resident
	cpu    float64 // seconds since its start
}

// resources measures what a replica needs, first without a request and then under load. The load is that of all scenarios.
func (s *suite) resources(t *testing.T) {
	const interval = 10 * time.Second
	s.load(t, false)
	time.Sleep(time.Second) // what is under way
	s.window(t)
	s.measureUsage(t, "idle", interval)
	s.load(t, true)
	s.window(t)
	s.measureUsage(t, "under load", interval)
	window := s.window(t)
	wantFlawless(t, "under load", window)
	t.Logf("measured: the load is %.0f requests a second", rate(window))
}

func rate(window report.Window) float64 {
	requests := 0
	for _, seen := range window.Paths {
		requests += seen.Requests
	}
	return float64(requests) / window.Duration.Seconds()
}

func (s *suite) measureUsage(t *testing.T, when string, interval time.Duration) {
	t.Helper()
	leader, err := s.leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pods := s.replicas(t)
	start, before := time.Now(), map[string]usage{}
	for i := range pods {
		before[pods[i].Name] = s.usage(t, pods[i].Name)
	}
	time.Sleep(interval)
	for i := range pods {
		name, role := pods[i].Name, "follower"
		if name == leader.Name {
			role = "leader"
		}
		now := s.usage(t, name)
		t.Logf("measured: %s: the %s has %.1f MiB resident and uses %.1f %% of a core",
			when, role, now.memory/(1<<20), 100*(now.cpu-before[name].cpu)/time.Since(start).Seconds())
	}
}

// usage reads the metrics of one replica.
func (s *suite) usage(t *testing.T, pod string) usage {
	t.Helper()
	text, err := s.kube.CoreV1().RESTClient().Get().Namespace(systemNamespace).Resource("pods").Name("http:" + pod + ":8080").
		SubResource("proxy").Suffix("metrics").Do(t.Context()).Raw()
	if err != nil {
		t.Fatalf("reading the metrics of %s: %v", pod, err)
	}
	return usage{memory: metric(t, string(text), "process_resident_memory_bytes"), cpu: metric(t, string(text), "process_cpu_seconds_total")}
}

// metric finds the value of a metric without labels.
func metric(t *testing.T, text, name string) float64 {
	t.Helper()
	for line := range strings.Lines(text) {
		if value, found := strings.CutPrefix(line, name+" "); found {
			parsed, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			return parsed
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}
