package controllers

import (
	"testing"

	"k8s.io/utils/clock"
)

// BenchmarkReconcileSteady is one look at an issuer for which there is nothing to do, from the cache, as the leader takes
// it every ten minutes and after each event.
func BenchmarkReconcileSteady(b *testing.B) {
	w := newWorld(b)
	w.settled("shop")
	reconciler := w.newReconciler(w.journal.record(w.cachedSince("shop")))
	reconciler.Clock = clock.RealClock{}
	request := w.request("shop")
	w.journal.take()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := reconciler.Reconcile(b.Context(), request); err != nil {
			b.Fatal(err)
		}
	}
	if got := w.journal.take(); len(got) > 0 {
		b.Fatalf("writes %v: this is no steady state", got)
	}
}
