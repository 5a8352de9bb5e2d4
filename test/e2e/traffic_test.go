package e2e

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/keyturn/keyturn/test/e2e/report"
)

// load stops or resumes what the gateway does.
func (s *suite) load(t *testing.T, on bool) {
	t.Helper()
	query := url.Values{"paused": {fmt.Sprint(!on)}}
	if err := s.ask(t.Context(), http.MethodPost, gatewayNamespace, verifier, "paused", query, nil, nil); err != nil {
		t.Fatal(err)
	}
}

// window returns what the gateway has seen since the last call.
func (s *suite) window(t *testing.T) report.Window {
	t.Helper()
	var window report.Window
	if err := s.ask(t.Context(), http.MethodPost, gatewayNamespace, verifier, "window", nil, nil, &window); err != nil {
		t.Fatal(err)
	}
	return window
}

// add puts two windows together. Of the latencies it keeps the worst.
func add(a, b report.Window) report.Window {
	a.Duration += b.Duration
	a.Troubles = append(a.Troubles, b.Troubles...)
	issuers, paths := map[string]report.Issuer{}, map[string]report.Path{}
	maps.Copy(issuers, a.Issuers)
	maps.Copy(paths, a.Paths)
	for name, more := range b.Issuers {
		sum := issuers[name]
		keys := map[string]int{}
		maps.Copy(keys, sum.Keys)
		for id, count := range more.Keys {
			keys[id] += count
		}
		issuers[name] = report.Issuer{
			Tokens: sum.Tokens + more.Tokens, Late: sum.Late + more.Late, Rejected: sum.Rejected + more.Rejected, Keys: keys,
		}
	}
	for name, more := range b.Paths {
		sum := paths[name]
		paths[name] = report.Path{
			Requests: sum.Requests + more.Requests, Denied: sum.Denied + more.Denied, Retried: sum.Retried + more.Retried,
			Failed: sum.Failed + more.Failed, Median: max(sum.Median, more.Median), P99: max(sum.P99, more.P99),
			Longest: max(sum.Longest, more.Longest), Gap: max(sum.Gap, more.Gap),
		}
	}
	a.Issuers, a.Paths = issuers, paths
	return a
}

// observe adds up windows until enough has been seen.
func (s *suite) observe(t *testing.T, what string, timeout time.Duration, enough func(report.Window) error) report.Window {
	t.Helper()
	var sum report.Window
	defer func() {
		if t.Failed() {
			t.Logf("the gateway's troubles: %q", sum.Troubles)
		}
	}()
	await(t, what, timeout, func(context.Context) error {
		time.Sleep(time.Second)
		sum = add(sum, s.window(t))
		return enough(sum)
	})
	return sum
}

// wantFlawless fails unless every token passed both ways and every request was answered at the first attempt.
func wantFlawless(t *testing.T, scenario string, window report.Window) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(window.Paths)) {
		if retried := window.Paths[name].Retried; retried > 0 {
			t.Errorf("%s: %s: %d requests needed another attempt", scenario, name, retried)
		}
	}
	wantNoneRefused(t, scenario, window)
}

// wantNoneRefused fails unless every token passed both ways and every request was answered. It prints what there was.
func wantNoneRefused(t *testing.T, scenario string, window report.Window) {
	t.Helper()
	if len(window.Issuers) == 0 || len(window.Paths) == 0 {
		t.Errorf("%s: the gateway has seen nothing", scenario)
	}
	for _, name := range slices.Sorted(maps.Keys(window.Issuers)) {
		seen := window.Issuers[name]
		t.Logf("measured: %s: %s: %d tokens of %d keys passed both ways, %d of them again before they expired, %d rejections",
			scenario, name, seen.Tokens, len(seen.Keys), seen.Late, seen.Rejected)
		if seen.Tokens == 0 || seen.Rejected > 0 {
			t.Errorf("%s: %s: %d tokens passed and %d were rejected by the published keys; all are good", scenario, name, seen.Tokens, seen.Rejected)
		}
	}
	var all report.Path
	for _, name := range slices.Sorted(maps.Keys(window.Paths)) {
		seen := window.Paths[name]
		t.Logf("%s: %d requests, %d denied, %d failed, %d retried; median %s, p99 %s, longest %s, longest without an answer %s",
			name, seen.Requests, seen.Denied, seen.Failed, seen.Retried, rounded(seen.Median), rounded(seen.P99), rounded(seen.Longest), rounded(seen.Gap))
		if seen.Requests == 0 || seen.Denied > 0 || seen.Failed > 0 {
			t.Errorf("%s: %s: of %d requests %d were denied and %d not answered", scenario, name, seen.Requests, seen.Denied, seen.Failed)
		}
		all.Requests += seen.Requests
		all.Retried += seen.Retried
		all.Denied += seen.Denied
		all.Failed += seen.Failed
		all.P99, all.Longest = max(all.P99, seen.P99), max(all.Longest, seen.Longest)
	}
	t.Logf("measured: %s: %d requests in %s, %d denied, %d failed, %d retried; worst p99 of a path %s, longest %s",
		scenario, all.Requests, window.Duration.Round(time.Second), all.Denied, all.Failed, all.Retried, rounded(all.P99), rounded(all.Longest))
	if t.Failed() {
		for _, trouble := range window.Troubles {
			t.Logf("the gateway's trouble: %s", trouble)
		}
	}
}

// rounded leaves out the digits that measure nothing.
func rounded(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
