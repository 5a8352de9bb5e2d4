package controllers

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/replicas"
)

const (
	// usualDelay is how long nothing is written about what is not in force yet: it takes milliseconds, and a status that is
	// out of date at once would double the writes.
	usualDelay = 500 * time.Millisecond
	// namedReplicas is how many replicas a message names.
	namedReplicas = 3
)

// Replicas tells which live replicas have a version of a TokenRevocation in force, and is told of their Leases.
type Replicas interface {
	Coverage(namespace, version string) replicas.Coverage
	Observe(lease *coordinationv1.Lease) replicas.Change
	Forget(name string)
}

// requireReplicas takes back that a revocation is enforced while a live replica has not applied it. How many replicas
// there were is not written anew with each one that comes and goes: one that comes has read everything before it lets a
// token pass.
func (r *TokenRevocationReconciler) requireReplicas(state *assessment, object *v1alpha1.TokenRevocation) {
	before, first := enforced(object), r.waiting.begin(object, r.Clock.Now())
	state.replicas = object.Status.Replicas
	if state.enforced.Status == metav1.ConditionTrue && (!before || first.version != "") {
		coverage := r.coverage(object.Namespace, first.version)
		switch {
		case coverage.Known && coverage.Applied < coverage.Live:
			r.wait(state, coverage)
		case !coverage.Known && !before:
			state.enforced = condition(v1alpha1.ConditionEnforced, false, v1alpha1.ReasonNotYetApplied,
				"The replica that leads has not yet reported how far it has applied the revocations.")
			sooner(&state.again, r.patience(object))
		case coverage.Known && !before:
			state.replicas = fmt.Sprintf("%d/%d", coverage.Applied, coverage.Live)
		}
	}
	if state.enforced.Status == metav1.ConditionTrue && state.enforced.Message == "" {
		state.enforced.Message = fmt.Sprintf("All live replicas (%s) deny the tokens that it names.", state.replicas)
	}
	if state.enforced.Status == metav1.ConditionTrue {
		r.waiting.done(object)
	} else if left := usualDelay - r.Clock.Since(first.at); left > 0 && !before {
		state.unsaid = true
		sooner(&state.again, left)
	}
}

// coverage is that of this replica alone where nobody elects a leader.
func (r *TokenRevocationReconciler) coverage(namespace, version string) replicas.Coverage {
	if r.Replicas == nil {
		return replicas.Coverage{Applied: 1, Live: 1, Known: true}
	}
	return r.Replicas.Coverage(namespace, version)
}

// wait is what there is to say while live replicas have not applied a revocation.
func (r *TokenRevocationReconciler) wait(state *assessment, c replicas.Coverage) {
	state.replicas = fmt.Sprintf("%d/%d", c.Applied, c.Live)
	state.enforced = condition(v1alpha1.ConditionEnforced, false, v1alpha1.ReasonNotYetApplied, fmt.Sprintf(
		"%d of %d live replicas deny the tokens that it names. Waiting for %s; a replica that is not heard of for %s counts no more.",
		c.Applied, c.Live, some(c.Lagging), replicas.LeaseDuration))
	sooner(&state.again, max(c.Until.Sub(r.Clock.Now()), raceRetry))
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

// waiting remembers from which version on each revocation has to be in force: a status changes the version of an object
// too, but no replica has to do anything about that.
type waiting struct {
	mu    sync.Mutex
	known map[types.NamespacedName]firstSeen
}

// firstSeen is how this leader met a revocation.
type firstSeen struct {
	uid types.UID
	// version is empty for one that an earlier leader has found enforced.
	version string
	at      time.Time
	pending bool
}

// begin returns how this leader met the revocation. From then on Leases wake it, until done: what a replica reports while
// it is being looked at must not be missed.
func (w *waiting) begin(object *v1alpha1.TokenRevocation, now time.Time) firstSeen {
	w.mu.Lock()
	defer w.mu.Unlock()
	name := client.ObjectKeyFromObject(object)
	first := w.known[name]
	if first.uid != object.UID {
		first = firstSeen{uid: object.UID, at: now}
		if !enforced(object) {
			first.version = object.ResourceVersion
		}
	}
	if w.known == nil {
		w.known = map[types.NamespacedName]firstSeen{}
	}
	first.pending = true
	w.known[name] = first
	return first
}

func (w *waiting) done(object *v1alpha1.TokenRevocation) {
	w.mu.Lock()
	defer w.mu.Unlock()
	name := client.ObjectKeyFromObject(object)
	first := w.known[name]
	first.pending = false
	w.known[name] = first
}

func (w *waiting) forget(name types.NamespacedName) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.known, name)
}

// requests names the revocations that wait for a replica, or all that a replica could lag behind with.
func (w *waiting) requests(all bool) []reconcile.Request {
	w.mu.Lock()
	defer w.mu.Unlock()
	var requests []reconcile.Request
	for name, first := range w.known {
		if first.pending || all && first.version != "" {
			requests = append(requests, reconcile.Request{NamespacedName: name})
		}
	}
	return requests
}

// onLease hands the Leases of replicas on, and looks again at what waits for them.
func (r *TokenRevocationReconciler) onLease() handler.EventHandler {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	add := func(requests []reconcile.Request, q queue) {
		for _, request := range requests {
			q.Add(request)
		}
	}
	observe := func(object client.Object, q queue) {
		change := r.Replicas.Observe(object.(*coordinationv1.Lease))
		if change != replicas.Unchanged {
			add(r.waiting.requests(change == replicas.Joined), q)
		}
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q queue) { observe(e.Object, q) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) { observe(e.ObjectNew, q) },
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q queue) {
			r.Replicas.Forget(e.Object.GetName())
			add(r.waiting.requests(false), q)
		},
	}
}
