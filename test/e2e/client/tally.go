package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/keyturn/keyturn/test/e2e/report"
)

const (
	// maxTroubles bounds how much is said about what goes wrong: the first of it says the most.
	maxTroubles = 20
	// maxLatencies bounds the memory of one path, at some hours of requests.
	maxLatencies = 1 << 20
)

// tally counts what the gateway sees, from one report to the next.
type tally struct {
	mu       sync.Mutex
	since    time.Time
	issuers  map[string]*report.Issuer
	paths    map[string]*pathTally
	troubles []string
}

type pathTally struct {
	report.Path
	latencies []time.Duration
	lastGood  time.Time
}

func newTally() *tally {
	t := &tally{}
	t.restart()
	return t
}

func (t *tally) restart() {
	t.since = realTime.Now()
	t.issuers, t.paths, t.troubles = map[string]*report.Issuer{}, map[string]*pathTally{}, nil
}

// window returns what has been counted since the last call. A request counts when it ends.
func (t *tally) window() report.Window {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := realTime.Now()
	out := report.Window{
		Duration: now.Sub(t.since), Issuers: map[string]report.Issuer{}, Paths: map[string]report.Path{}, Troubles: t.troubles,
	}
	for name, counted := range t.issuers {
		out.Issuers[name] = *counted
	}
	for name, counted := range t.paths {
		// Percentiles first: they sort.
		counted.Median, counted.P99 = percentile(counted.latencies, 0.5), percentile(counted.latencies, 0.99)
		counted.Longest = percentile(counted.latencies, 1)
		counted.Gap = max(counted.Gap, now.Sub(counted.lastGood))
		out.Paths[name] = counted.Path
	}
	t.restart()
	return out
}

// passed counts a token that passed both ways.
func (t *tally) passed(issuer, keyID string, late bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	counted := t.issuer(issuer)
	if late {
		counted.Late++
		return
	}
	counted.Tokens++
	counted.Keys[keyID]++
}

// rejected counts a token that the cached JWKS did not verify.
func (t *tally) rejected(issuer string, reason error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.issuer(issuer).Rejected++
	t.trouble("%s: a good token does not pass with the cached JWKS: %v", issuer, reason)
}

// answered counts a request that was answered after so many attempts; denial is empty if the answer was as it must be.
func (t *tally) answered(path string, attempts int, took time.Duration, denial string, broken error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	counted := t.path(path)
	counted.Requests++
	if len(counted.latencies) < maxLatencies {
		counted.latencies = append(counted.latencies, took)
	}
	if attempts > 1 {
		counted.Retried++
		t.trouble("%s: attempt %d was the first to be answered, after %s: %v", path, attempts, took, broken)
	}
	if denial != "" {
		counted.Denied++
		t.trouble("%s: denied: %s", path, denial)
		return
	}
	now := realTime.Now()
	counted.Gap = max(counted.Gap, now.Sub(counted.lastGood))
	counted.lastGood = now
}

// failed counts a request that got no answer at all.
func (t *tally) failed(path string, attempts int, took time.Duration, broken error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	counted := t.path(path)
	counted.Requests++
	counted.Failed++
	t.trouble("%s: no answer to %d attempts in %s: %v", path, attempts, took, broken)
}

// other notes what went wrong elsewhere.
func (t *tally) other(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.trouble("%v", err)
}

func (t *tally) issuer(name string) *report.Issuer {
	if t.issuers[name] == nil {
		t.issuers[name] = &report.Issuer{Keys: map[string]int{}}
	}
	return t.issuers[name]
}

func (t *tally) path(name string) *pathTally {
	if t.paths[name] == nil {
		t.paths[name] = &pathTally{lastGood: t.since}
	}
	return t.paths[name]
}

func (t *tally) trouble(format string, arguments ...any) {
	if len(t.troubles) < maxTroubles {
		t.troubles = append(t.troubles, realTime.Now().UTC().Format("15:04:05.000 ")+fmt.Sprintf(format, arguments...))
	}
}
