package controllers

import (
	"context"
	"sync"
	"time"

	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

const (
	// turnCount is how many issuers are worked at a time. More would not be faster, and have others wait for the API server.
	turnCount = 8
	// turnPatience is how long one counts as worked. Longer takes only what hangs, as behind an admission webhook that does
	// not answer.
	turnPatience = 2 * time.Second
	// turnWorkers bounds how many there are in all, with those that hang.
	turnWorkers = 64
)

// inTurns lets a reconciler work few requests at a time, without the rest having to wait for those that hang.
type inTurns struct {
	reconciler reconcile.Reconciler
	clock      clock.WithDelayedExecution
	turns      chan struct{}
}

func newInTurns(reconciler reconcile.Reconciler, clk clock.WithDelayedExecution) *inTurns {
	return &inTurns{reconciler: reconciler, clock: clk, turns: make(chan struct{}, turnCount)}
}

// Reconcile waits for its turn, and leaves it when it is done or has taken too long.
func (t *inTurns) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	select {
	case t.turns <- struct{}{}:
	case <-ctx.Done():
		return ctrl.Result{}, nil // the controllers are stopping
	}
	leave := sync.OnceFunc(func() { <-t.turns })
	defer leave()
	defer t.clock.AfterFunc(turnPatience, leave).Stop()
	return t.reconciler.Reconcile(ctx, request)
}
