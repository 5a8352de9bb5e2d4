package operator

import (
	"fmt"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/testenv/testoperator"
)

// BenchmarkIssuers is what many issuers cost: 1,000 of them, 20 in a short run, in ten namespaces.
func BenchmarkIssuers(b *testing.B) {
	var alone float64
	b.Run("healthy", func(b *testing.B) {
		for b.Loop() {
			alone = healthy(b)
		}
	})
	b.Run("beside-broken", func(b *testing.B) {
		for b.Loop() {
			besideBroken(b, alone)
		}
	})
}

// healthy makes the issuers, leaves them alone for a while, and rotates all of them at once. It returns how long it took
// until they were ready, in seconds.
func healthy(b *testing.B) float64 {
	w := newWorld(b, 10)
	p := testoperator.Run(w.Administrator, w.User(), "--log-level=info")
	p.WaitReady()
	issuers := w.newIssuers("shop", sized(1000, 20))
	count := float64(len(issuers))
	etcd := w.apiServer()

	began, called := time.Now(), calls(p)
	makeAll(w, issuers)
	b.ReportMetric(time.Since(began).Seconds(), "create-s")
	w.awaitReady(issuers)
	converged := stopwatch(b, began, "converge-s")
	w.etcdShare(b, etcd)
	w.settled(p)
	b.ReportMetric((calls(p)-called)/count, "calls/issuer")

	https, tokens := p.Client(), w.tokens()
	wantGood(p, https, tokens)
	w.idle(b, p)
	stop := keepAsking(p, https, tokens)
	w.rotate(b, p, issuers)
	stop() // also the tokens of the retired keys are good
	wantGood(p, https, w.tokens())

	b.ReportMetric(resident(p), "rss-MB")
	if peak, known := peakResident(p); known {
		b.ReportMetric(peak, "peak-rss-MB")
	}
	return converged
}

// etcdShare reports how long etcd took for a request of the API server since this was scraped.
func (w *world) etcdShare(b *testing.B, before string) {
	b.Helper()
	after := w.apiServer()
	sum := w.between(before, after, "etcd_request_duration_seconds_sum")
	count := w.between(before, after, "etcd_request_duration_seconds_count")
	b.ReportMetric(sum/count*1000, "etcd-ms/request")
}

// settled waits until the events of the last changes have been written: they come after the status, and slowly.
func (w *world) settled(p *testoperator.Process) {
	w.Helper()
	testoperator.Eventually(w.TB, "no calls for a second", func() error {
		before := calls(p)
		time.Sleep(time.Second)
		// In a second there is room for a renewal of each Lease.
		if more := calls(p) - before; more > 2 {
			return fmt.Errorf("%.0f in the last second", more)
		}
		return nil
	})
}

// idle looks at what the operator does while nothing is due.
func (w *world) idle(b *testing.B, p *testoperator.Process) {
	b.Helper()
	began := time.Now()
	before, read, cpu := w.apiServer(), p.Sum("rest_client_requests_total", `method="GET"`), p.Sum("process_cpu_seconds_total")
	time.Sleep(time.Duration(sized(40, 5)) * time.Second)
	writes, requests := w.writesSince(before)
	b.ReportMetric(writes, "idle-writes")
	b.ReportMetric(p.Sum("rest_client_requests_total", `method="GET"`)-read, "idle-reads")
	b.ReportMetric((p.Sum("process_cpu_seconds_total")-cpu)/time.Since(began).Seconds()*100, "idle-cpu-%")
	if writes > 0 {
		b.Errorf("%s while nothing was due, want none", requests)
	}
}

// rotate asks every issuer for a rotation, and waits until all say that it has happened.
func (w *world) rotate(b *testing.B, p *testoperator.Process, issuers []*v1alpha1.TokenIssuer) {
	b.Helper()
	count := float64(len(issuers))
	began, called, cpu := time.Now(), calls(p), p.Sum("process_cpu_seconds_total")
	const request = "once"
	patch := client.RawPatch("application/merge-patch+json",
		[]byte(`{"metadata":{"annotations":{"`+v1alpha1.AnnotationRotateRequestedAt+`":"`+request+`"}}}`))
	each(w, issuers, func(issuer *v1alpha1.TokenIssuer) error { return w.Patch(w.Context(), issuer, patch) })
	w.await("issuers rotated", issuers, func(s seen) bool { return s.handled == request })
	stopwatch(b, began, "rotate-s")
	w.settled(p)
	b.ReportMetric((calls(p)-called)/count, "calls/rotation")
	b.ReportMetric((p.Sum("process_cpu_seconds_total")-cpu)/count*1000, "cpu-ms/rotation")
}
