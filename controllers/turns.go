package controllers

import (
	"context"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/keyturn/keyturn/internal/keyring"
)

const (
	// turnCount is how many issuers are worked at a time. More would not be faster, and have others wait for the API server.
	turnCount = 8
	// turnPatience is how long one counts as worked. Longer takes only what hangs, as behind an admission webhook that does
	// not answer.
	turnPatience = 2 * time.Second
	// detourCount is how many of those that took longer the last time are tried at a time, and detourRetry when the next one
	// asks again.
	detourCount = 16
	detourRetry = 5 * time.Second
	// turnWorkers bounds how many there are in all.
	turnWorkers = 64
	// generatedAtOnce is how many keys are made at a time. An RSA key can take a core for seconds, and verification needs it
	// too.
	generatedAtOnce = 2
)

// inTurns lets a reconciler work few requests at a time, without the rest having to wait for those that hang: a request
// that takes too long gives up its turn, and the next time takes none.
type inTurns struct {
	reconciler     reconcile.Reconciler
	clock          clock.WithDelayedExecution
	turns, detours chan struct{}

	mu sync.Mutex
	// slow are the requests that took too long the last time.
	slow map[ctrl.Request]bool
}

func newInTurns(reconciler reconcile.Reconciler, clk clock.WithDelayedExecution) *inTurns {
	return &inTurns{
		reconciler: reconciler, clock: clk, slow: map[ctrl.Request]bool{},
		turns: make(chan struct{}, turnCount), detours: make(chan struct{}, detourCount),
	}
}

// Reconcile waits for its turn, and leaves it when it is done or has taken too long. One that is known to take too long
// waits for nothing: it is tried at once or later.
func (t *inTurns) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	if t.isSlow(request) {
		select {
		case t.detours <- struct{}{}:
			defer func() { <-t.detours }()
			return t.work(ctx, request, func() {})
		default:
			return ctrl.Result{RequeueAfter: detourRetry, Priority: ptr.To(handler.LowPriority)}, nil
		}
	}
	select {
	case t.turns <- struct{}{}:
	case <-ctx.Done():
		return ctrl.Result{}, nil // the controllers are stopping
	}
	leave := sync.OnceFunc(func() { <-t.turns })
	defer leave()
	return t.work(ctx, request, leave)
}

// work calls tooLong when it takes too long, and remembers whether it did.
func (t *inTurns) work(ctx context.Context, request ctrl.Request, tooLong func()) (ctrl.Result, error) {
	timer := t.clock.AfterFunc(turnPatience, func() {
		t.setSlow(request, true)
		tooLong()
	})
	defer func() {
		if timer.Stop() {
			t.setSlow(request, false)
		}
	}()
	return t.reconciler.Reconcile(ctx, request)
}

func (t *inTurns) isSlow(request ctrl.Request) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.slow[request]
}

func (t *inTurns) setSlow(request ctrl.Request, slow bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if slow {
		t.slow[request] = true
	} else {
		delete(t.slow, request)
	}
}

// fewAtOnce makes a generator wait for others.
func fewAtOnce(generate keyring.Generator) keyring.Generator {
	generating := make(chan struct{}, generatedAtOnce)
	return func(algorithm jose.SignatureAlgorithm, size int) (keyring.Key, error) {
		generating <- struct{}{}
		defer func() { <-generating }()
		return generate(algorithm, size)
	}
}
