package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/test/e2e/report"
)

// revocations revokes tokens one after another, and measures when each replica first denies them. The load goes on.
func (s *suite) revocations(t *testing.T) {
	const batches, batch = 6, 20
	s.startRevoker(t)
	replicas := addresses(s.replicas(t))
	var written, first, both []time.Duration
	wanted := map[string]bool{}
	s.window(t)
	for range batches {
		var done []report.Revocation
		request := report.RevocationRequest{Namespace: shopNamespace, Issuer: steady, Count: batch, Replicas: replicas}
		if err := s.ask(t.Context(), http.MethodPost, gatewayNamespace, revoker, "revocations", nil, request, &done); err != nil {
			t.Fatal(err)
		}
		for _, revocation := range done {
			if len(revocation.Denied) != len(replicas) {
				t.Fatalf("%s: denied by %v, want every one of %v", revocation.Name, revocation.Denied, replicas)
			}
			var delays []time.Duration
			for _, delay := range revocation.Denied {
				delays = append(delays, delay)
			}
			written, first, both = append(written, revocation.Written), append(first, slices.Min(delays)), append(both, slices.Max(delays))
			wanted[revocation.Name] = true
		}
	}
	denied := time.Now()
	window := s.window(t)
	if len(wanted) != batches*batch {
		t.Fatalf("%d tokens were revoked, want %d", len(wanted), batches*batch)
	}
	for _, measured := range []struct {
		what   string
		delays []time.Duration
	}{{"the API server's answer", written}, {"the first replica's denial", first}, {"the denial by both replicas", both}} {
		t.Logf("measured: from the write of a TokenRevocation to %s: median %s, p99 %s, longest %s of %d", measured.what,
			rounded(percentile(measured.delays, 0.5)), rounded(percentile(measured.delays, 0.99)), rounded(slices.Max(measured.delays)), len(measured.delays))
	}
	wantFlawless(t, "revocations", window)

	await(t, "every TokenRevocation to be Enforced", short, func(ctx context.Context) error {
		var all v1alpha1.TokenRevocationList
		if err := s.api.List(ctx, &all, client.InNamespace(shopNamespace)); err != nil {
			return err
		}
		enforced := 0
		for i := range all.Items {
			if wanted[all.Items[i].Name] && meta.IsStatusConditionTrue(all.Items[i].Status.Conditions, v1alpha1.ConditionEnforced) {
				enforced++
			}
		}
		if enforced != len(wanted) {
			return fmt.Errorf("%d of %d are", enforced, len(wanted))
		}
		return nil
	})
	t.Logf("measured: every TokenRevocation was Enforced %s after the last denial", time.Since(denied).Round(10*time.Millisecond))
	if err := s.api.DeleteAllOf(t.Context(), &v1alpha1.TokenRevocation{}, client.InNamespace(shopNamespace)); err != nil {
		t.Fatalf("deleting the TokenRevocations: %v", err)
	}
}

// percentile returns the value that the given share of all values does not exceed.
func percentile(values []time.Duration, share float64) time.Duration {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[int(share*float64(len(sorted)-1))]
}
