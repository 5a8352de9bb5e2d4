package controllers

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/replicas"
)

const (
	// usualDelay is how long nothing is written about what is not in force yet: it takes milliseconds, and a status that is
	// out of date at once would double the writes.
	usualDelay = 500 * time.Millisecond
	// sayingPause is between two sentences about what is not in force yet.
	sayingPause = 10 * time.Second
	// namedReplicas is how many replicas a message names.
	namedReplicas = 3
)

// Replicas tells which live replicas have a version of a TokenRevocation in force.
type Replicas interface {
	Coverage(namespace, version string) replicas.Coverage
	// OnChange calls a function, which does not wait, when what Coverage returns may have changed.
	OnChange(ctx context.Context, tell func())
}

// requireReplicas takes back that a revocation is enforced while a live replica has not applied it. Once it is enforced it
// stays so: a replica that comes, or comes back, has read everything before it counts.
func (r *TokenRevocationReconciler) requireReplicas(state *assessment, object *v1alpha1.TokenRevocation) {
	state.replicas = object.Status.Replicas
	if before := enforced(object); !before {
		first := r.waiting.begin(object, r.Clock.Now())
		if state.enforced.Status == metav1.ConditionTrue {
			r.count(state, r.coverage(object.Namespace, first.version), object)
		}
		r.waiting.end(object, state, r.Clock.Now())
	}
	if state.enforced.Status == metav1.ConditionTrue && state.enforced.Message == "" {
		state.enforced.Message = "All live replicas deny the tokens that it names."
		if state.replicas != "" {
			state.enforced.Message = fmt.Sprintf("All live replicas (%s) deny the tokens that it names.", state.replicas)
		}
	}
}

// coverage is that of this replica alone where nobody elects a leader.
func (r *TokenRevocationReconciler) coverage(namespace, version string) replicas.Coverage {
	if r.Replicas == nil {
		return replicas.Coverage{Applied: 1, Live: 1, Known: true}
	}
	return r.Replicas.Coverage(namespace, version)
}

// count says how many replicas there are, and waits for those that have not applied the revocation.
func (r *TokenRevocationReconciler) count(state *assessment, c replicas.Coverage, object *v1alpha1.TokenRevocation) {
	switch {
	case !c.Known:
		state.enforced = condition(v1alpha1.ConditionEnforced, false, v1alpha1.ReasonNotYetApplied,
			"The replica that leads cannot say how far the others have applied the revocations.")
		sooner(&state.again, r.patience(object))
	case c.Applied < c.Live:
		state.replicas = fmt.Sprintf("%d/%d", c.Applied, c.Live)
		state.enforced = condition(v1alpha1.ConditionEnforced, false, v1alpha1.ReasonNotYetApplied, fmt.Sprintf(
			"%d of %d live replicas deny the tokens that it names. Waiting for %s; a replica that is not heard of for %s counts no more.",
			c.Applied, c.Live, some(c.Lagging), replicas.LeaseDuration))
		sooner(&state.again, max(c.Until.Sub(r.Clock.Now()), raceRetry))
	default:
		state.replicas = fmt.Sprintf("%d/%d", c.Applied, c.Live)
	}
}

func some(names []string) string {
	if more := len(names) - namedReplicas; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:namedReplicas], ", "), more)
	}
	return strings.Join(names, ", ")
}

// sooner moves a time to look again, where 0 means never.
func sooner(again *time.Duration, than time.Duration) {
	if *again == 0 || than < *again {
		*again = than
	}
}

func enforced(object *v1alpha1.TokenRevocation) bool {
	return meta.IsStatusConditionTrue(object.Status.Conditions, v1alpha1.ConditionEnforced)
}

// waiting remembers the revocations that are not enforced: from which version on each has to be in force, because its
// status changes the version of an object too, but no replica has to do anything about that.
type waiting struct {
	mu    sync.Mutex
	known map[types.NamespacedName]waited
}

type waited struct {
	uid     types.UID
	version string
	// since is when this leader met it, and said when its status was last written.
	since, said time.Time
}

// begin returns how this leader met a revocation. From then on replicas wake it, until end: what a replica reports while
// it is being looked at must not be missed.
func (w *waiting) begin(object *v1alpha1.TokenRevocation, now time.Time) waited {
	w.mu.Lock()
	defer w.mu.Unlock()
	name := client.ObjectKeyFromObject(object)
	met := w.known[name]
	if met.uid != object.UID {
		met = waited{uid: object.UID, version: object.ResourceVersion, since: now}
		if w.known == nil {
			w.known = map[types.NamespacedName]waited{}
		}
		w.known[name] = met
	}
	return met
}

// end stops waiting for what is decided. Of anything else it says whether it is time to write it down: not at once, and
// not each time that a replica comes or goes.
func (w *waiting) end(object *v1alpha1.TokenRevocation, state *assessment, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	name := client.ObjectKeyFromObject(object)
	if state.enforced.Reason != v1alpha1.ReasonNotYetApplied {
		delete(w.known, name)
		return
	}
	met := w.known[name]
	due := met.since.Add(usualDelay)
	if !met.said.IsZero() {
		due = met.said.Add(sayingPause)
	}
	if left := due.Sub(now); left > 0 {
		state.unsaid = true
		sooner(&state.again, left)
		return
	}
	met.said = now
	w.known[name] = met
}

func (w *waiting) forget(name types.NamespacedName) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.known, name)
}

func (w *waiting) requests() []reconcile.Request {
	w.mu.Lock()
	defer w.mu.Unlock()
	requests := make([]reconcile.Request, 0, len(w.known))
	for name := range w.known {
		requests = append(requests, reconcile.Request{NamespacedName: name})
	}
	return requests
}

// wakeups looks again at what waits for a replica whenever one has something to say. They end with the controller, which
// lasts as long as its replica leads.
func (r *TokenRevocationReconciler) wakeups() source.Source {
	return source.Func(func(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		r.Replicas.OnChange(ctx, func() {
			for _, request := range r.waiting.requests() {
				queue.Add(request)
			}
		})
		return nil
	})
}
