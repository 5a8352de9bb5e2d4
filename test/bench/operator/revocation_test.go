package operator

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/testenv/testoperator"
)

// BenchmarkRevocationLatency is how soon a token that was verified before is denied: from just before the TokenRevocation
// is written, and from when the API server has answered. Meanwhile 100 issuers rotate all the time.
func BenchmarkRevocationLatency(b *testing.B) {
	w := newWorld(b, 10)
	p := testoperator.Run(w.Administrator, w.User(), "--log-level=info")
	p.WaitReady()
	busy := w.newIssuers("busy", sized(100, 20))
	for _, issuer := range busy {
		issuer.Spec.Signing.Rotation.Period = metav1.Duration{Duration: 5 * time.Second}
		issuer.Spec.Signing.Secret.PropagationDelay = metav1.Duration{Duration: time.Second}
		issuer.Spec.Tokens.MaxLifetime = &metav1.Duration{Duration: 10 * time.Second}
	}
	shop := newIssuer(w.Namespace, "shop")
	w.emptied = append(w.emptied, w.Namespace)
	makeAll(w, busy)
	w.Make(shop)
	w.awaitReady(busy)
	w.WaitReady(shop)

	subjects := make([]string, sized(500, 40))
	for i := range subjects {
		subjects[i] = fmt.Sprintf("customer-%d", i)
	}
	tokens := testoperator.Sign(b, w.Secret(shop.Namespace, "shop-signing-key"), subjects...)
	https := p.Client()
	wantGood(p, https, tokens)
	// Long enough for every issuer to rotate meanwhile.
	pause := time.Duration(sized(25, 150)) * time.Millisecond
	for b.Loop() {
		began, rotated := time.Now(), rotations(p)
		var write, fromWrite, fromAnswer []time.Duration
		for i, token := range tokens {
			m := w.deny(p, https, newRevocation(shop, "token-of-"+subjects[i]), token)
			write = append(write, m.written.Sub(m.began))
			fromWrite = append(fromWrite, m.denied.Sub(m.began))
			fromAnswer = append(fromAnswer, max(m.denied.Sub(m.written), 0))
			time.Sleep(pause)
		}
		if rotated = rotations(p) - rotated; rotated < len(busy) {
			b.Errorf("%d rotations meanwhile, want one of each of the %d issuers at least", rotated, len(busy))
		}
		b.ReportMetric(float64(rotated)/time.Since(began).Seconds(), "rotations/s")
		b.ReportMetric(milliseconds(quantile(fromWrite, 0.5)), "p50-ms")
		b.ReportMetric(milliseconds(quantile(fromWrite, 0.99)), "p99-ms")
		b.ReportMetric(milliseconds(quantile(fromWrite, 1)), "max-ms")
		b.ReportMetric(milliseconds(quantile(write, 0.5)), "write-p50-ms")
		b.ReportMetric(milliseconds(quantile(write, 0.99)), "write-p99-ms")
		b.ReportMetric(milliseconds(quantile(fromAnswer, 0.5)), "after-write-p50-ms")
		b.ReportMetric(milliseconds(quantile(fromAnswer, 0.99)), "after-write-p99-ms")
	}
}

// rotations counts what the audit log tells of.
func rotations(p *testoperator.Process) int {
	return strings.Count(p.Log.String(), `"audit":"key_activated"`)
}

// moments are when a TokenRevocation was sent, when the API server had written it, and when its token was first denied.
type moments struct{ began, written, denied time.Time }

// deny revokes a token and asks for it until it is denied.
func (w *world) deny(p *testoperator.Process, https *http.Client, revocation *v1alpha1.TokenRevocation, token string) moments {
	w.Helper()
	m := moments{began: time.Now()}
	var writing sync.WaitGroup
	var failed error
	writing.Go(func() {
		failed = w.Create(w.Context(), revocation)
		m.written = time.Now()
	})
	for time.Since(m.began) < deadline {
		code, _, err := p.Verify(https, token)
		m.denied = time.Now()
		if err != nil {
			w.Fatalf("asking for a verdict: %v", err)
		}
		if code == http.StatusUnauthorized {
			break
		}
		time.Sleep(time.Millisecond)
	}
	writing.Wait()
	if failed != nil {
		w.Fatalf("creating a TokenRevocation: %v", failed)
	}
	if m.denied.Sub(m.began) >= deadline {
		w.Fatalf("the token of %s is not denied after %s", revocation.Name, deadline)
	}
	return m
}
