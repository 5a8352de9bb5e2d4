package controllers

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/keyring"
)

// ofBroken says whether a write is that of the ring of an issuer whose name begins with "broken".
func ofBroken(verb string, object client.Object) bool {
	return verb == "create" && strings.HasPrefix(object.GetName(), "broken") && strings.HasSuffix(object.GetName(), "-keyring")
}

// Nobody waits for issuers whose writes hang, as behind an admission webhook that does not answer.
func TestNoIssuerWaitsForThoseThatHang(t *testing.T) {
	w := newWorld(t)
	var hanging atomic.Int64
	release := make(chan struct{})
	m := w.startWith(func(verb string, object client.Object, write func() error) error {
		if ofBroken(verb, object) {
			hanging.Add(1)
			<-release
			return errStopped
		}
		return write()
	})
	t.Cleanup(func() { close(release) })
	const broken = 2 * turnCount
	for i := range broken {
		w.create(fmt.Sprintf("broken-%d", i))
	}
	eventually(t, "every broken issuer hanging", func() error {
		if got := hanging.Load(); got < broken {
			return fmt.Errorf("%d of %d", got, broken)
		}
		return nil
	})
	for i := range 3 {
		name := fmt.Sprintf("shop-%d", i)
		w.create(name)
		m.ready(name)
	}
}

// Turns are few, and whoever takes too long gives his up.
func TestTurns(t *testing.T) {
	clk := clocktesting.NewFakeClock(time.Now())
	began, release := make(chan struct{}, turnWorkers), make(chan struct{})
	turns := newInTurns(reconcile.Func(func(_ context.Context, request reconcile.Request) (reconcile.Result, error) {
		began <- struct{}{}
		if request.Name == "hangs" {
			<-release
		}
		return reconcile.Result{}, nil
	}), clk)
	var working sync.WaitGroup
	work := func(ctx context.Context, name string) {
		working.Go(func() {
			_, _ = turns.Reconcile(ctx, reconcile.Request{NamespacedName: types.NamespacedName{Name: name}})
		})
	}
	for range turnCount {
		work(t.Context(), "hangs")
	}
	for range turnCount {
		<-began
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err := turns.Reconcile(stopped, reconcile.Request{}); err != nil || len(began) > 0 {
		t.Errorf("error %v, %d begun with no turn left, want that nothing happens", err, len(began))
	}
	work(t.Context(), "waits")
	clk.Step(turnPatience)
	eventually(t, "the turn of the one that waits", func() error {
		if len(began) == 0 {
			return errNotYet
		}
		return nil
	})
	close(release)
	working.Wait()
	if left := len(turns.turns); left > 0 {
		t.Errorf("%d turns are taken at the end, want none", left)
	}
	if !turns.isSlow(reconcile.Request{NamespacedName: types.NamespacedName{Name: "hangs"}}) {
		t.Error("what took too long is not known to")
	}
}

// However many there are that take too long: the next time they take no turn, few are tried, and the others come later.
func TestThoseThatHangMakeADetour(t *testing.T) {
	clk := clocktesting.NewFakeClock(time.Now())
	began, release := make(chan struct{}, 2*turnWorkers), make(chan struct{})
	turns := newInTurns(reconcile.Func(func(context.Context, reconcile.Request) (reconcile.Result, error) {
		began <- struct{}{}
		<-release
		return reconcile.Result{}, errStopped
	}), clk)
	slow := func(i int) reconcile.Request {
		return reconcile.Request{NamespacedName: types.NamespacedName{Name: fmt.Sprintf("hangs-%d", i)}}
	}
	for i := range turnWorkers {
		turns.setSlow(slow(i), true)
	}
	var working sync.WaitGroup
	for i := range detourCount {
		working.Go(func() { _, _ = turns.Reconcile(t.Context(), slow(i)) })
	}
	for range detourCount {
		<-began
	}
	for i := detourCount; i < turnWorkers; i++ {
		result, err := turns.Reconcile(t.Context(), slow(i))
		if err != nil || result.RequeueAfter != detourRetry || result.Priority == nil || *result.Priority != handler.LowPriority {
			t.Fatalf("result %+v, error %v with all detours taken, want it to come later and last", result, err)
		}
	}
	if taken := len(turns.turns); taken > 0 || len(began) > 0 {
		t.Errorf("%d turns are taken, %d more begun, want none", taken, len(began))
	}
	close(release)
	working.Wait()
	if turns.isSlow(slow(0)) || !turns.isSlow(slow(detourCount)) || len(turns.detours) > 0 {
		t.Errorf("slow %t and %t, %d detours taken, want that one which was soon done gets its turn again, and the other not",
			turns.isSlow(slow(0)), turns.isSlow(slow(detourCount)), len(turns.detours))
	}
}

// Many issuers at once must not take all cores with their keys.
func TestFewKeysAreMadeAtOnce(t *testing.T) {
	var now, most atomic.Int64
	generate := fewAtOnce(func(jose.SignatureAlgorithm, int) (keyring.Key, error) {
		most.Store(max(most.Load(), now.Add(1)))
		defer now.Add(-1)
		runtime.Gosched()
		return keyring.Key{}, nil
	})
	var making sync.WaitGroup
	for range 50 * generatedAtOnce {
		making.Go(func() { _, _ = generate(jose.RS256, 0) })
	}
	making.Wait()
	if got := most.Load(); got > generatedAtOnce {
		t.Errorf("%d keys were made at once, want %d at most", got, generatedAtOnce)
	}
}

// Many issuers that fail are tried again after those that have not.
func TestFailedIssuersComeLast(t *testing.T) {
	w := newWorld(t)
	w.create("shop")
	healthy := w.reconciler.Client
	w.reconciler.Client = interceptWrites(withFields(w.WithWatch), func(string, client.Object, func() error) error { return errStopped })
	result, err := w.try("shop")
	if err == nil || result.Priority == nil || *result.Priority != handler.LowPriority {
		t.Errorf("result %+v, error %v after a failure, want a low priority", result, err)
	}
	w.reconciler.Client = healthy
	if result := w.reconcile("shop"); result.Priority == nil || *result.Priority != 0 {
		t.Errorf("result %+v after a success, want the usual priority", result)
	}
}

// A status that has been written must not bring a failed issuer forward.
func TestStatusDoesNotBringForward(t *testing.T) {
	before := &v1alpha1.TokenIssuer{}
	before.Name, before.Generation = "shop", 1
	after := before.DeepCopy()
	after.Status.ActiveKeyID = "new"
	update := event.UpdateEvent{ObjectOld: before, ObjectNew: after}
	if !statusOnly.Update(update) {
		t.Fatal("it is not taken for an update of the status")
	}
	queue := priorityqueue.New("starvation", func(o *priorityqueue.Opts[reconcile.Request]) { o.RateLimiter = rateLimiter() })
	defer queue.ShutDown()
	lookAgain(t.Context(), update, queue)
	got, priority, _ := queue.GetWithPriority()
	if got.Name != "shop" || priority != handler.LowPriority || queue.NumRequeues(got) != 1 {
		t.Errorf("%s with priority %d after %d requeues, want shop with %d after one", got.Name, priority, queue.NumRequeues(got), handler.LowPriority)
	}
	for name, change := range map[string]func(*v1alpha1.TokenIssuer){
		"the spec": func(i *v1alpha1.TokenIssuer) { i.Generation++ },
		"an annotation": func(i *v1alpha1.TokenIssuer) {
			i.Annotations = map[string]string{v1alpha1.AnnotationRotateRequestedAt: "now"}
		},
		"the whole object": func(i *v1alpha1.TokenIssuer) { i.UID = "another" },
	} {
		asked := after.DeepCopy()
		change(asked)
		if statusOnly.Update(event.UpdateEvent{ObjectOld: before, ObjectNew: asked}) {
			t.Errorf("a change of %s is taken for one of the status", name)
		}
	}
}

// An error whose message is another one each time changes the status each time, and that must not be a reason to try
// again at once.
func TestChangingErrorIsNoHotLoop(t *testing.T) {
	w := newWorld(t)
	var tries atomic.Int64
	m := w.startWith(func(verb string, object client.Object, write func() error) error {
		if ofBroken(verb, object) {
			return fmt.Errorf("try %d", tries.Add(1))
		}
		return write()
	})
	broken := w.create("broken")
	eventually(t, "a second try", func() error {
		if tries.Load() < 2 {
			return errNotYet
		}
		return nil
	})
	other := w.create("other")
	m.ready("other")
	before := m.looked(broken)
	for range 20 {
		edit(w, other, func(i *v1alpha1.TokenIssuer) {
			i.Spec.Audiences = append(i.Spec.Audiences, fmt.Sprintf("api-%d", len(i.Spec.Audiences)))
		})
		m.ready("other")
	}
	if got := m.looked(broken) - before; got > 8 {
		t.Errorf("%d looks at the broken issuer during %d at the other, want next to none", got, m.looked(other))
	}
}
