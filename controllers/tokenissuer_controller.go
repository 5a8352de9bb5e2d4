// Package controllers holds one reconciler a kind. Each reads what there is, asks a pure function elsewhere what to do,
// and applies the answer.
package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/audit"
	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/keyring"
	"github.com/keyturn/keyturn/internal/remotejwks"
	"github.com/keyturn/keyturn/internal/session"
)

const (
	// reevaluate is how often Ready is looked at again when nothing happens.
	reevaluate = 10 * time.Minute
	// conflictRetry is how often somebody else's object is looked at again: it sends no events, since it is not cached.
	conflictRetry = time.Minute
	// raceRetry is the pause after a lost race, for the winner's write to reach the cache.
	raceRetry = 100 * time.Millisecond
	// slowestRetry bounds the back-off after errors, so that an issuer recovers soon after its API server does.
	slowestRetry = 30 * time.Second
	// maxPasses bounds the plans of one reconciliation. Two or three bring a ring to rest.
	maxPasses = 10
)

// TokenIssuerReconciler moves the rings of issuers with signing through their life, publishes and exports what is derived
// from them, and keeps the keys for refresh tokens of issuers with sessions. Of external issuers it keeps the status.
type TokenIssuerReconciler struct {
	client.Client
	// APIReader reads past the cache. It is asked where the cache has no ring or no keys for refresh tokens, before
	// anything is written that is derived from a ring, before a key is counted out because nobody mounts it, before the
	// mounted Secret is withdrawn, and after a lost race.
	APIReader client.Reader
	Recorder  events.EventRecorder
	Clock     clock.PassiveClock
	// Generate makes keys.
	Generate keyring.Generator
	// External tells how the fetching of an external issuer's keys goes.
	External ExternalStatus
	// Audit is told of each step in a key's life. Nil for nobody.
	Audit *audit.Log
}

// ExternalStatus tells how the fetching of an external issuer's keys goes; false if it has not begun.
type ExternalStatus interface {
	ExternalStatus(issuer types.NamespacedName) (remotejwks.Status, bool)
}

// +kubebuilder:rbac:groups=keyturn.dev,resources=tokenissuers,verbs=get;list;watch
// +kubebuilder:rbac:groups=keyturn.dev,resources=tokenissuers/status,verbs=get;update;patch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch;create;update;delete
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get;list;watch;create;update
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconcile brings one issuer to where its spec and the time want it. One that failed is tried again when no other waits: a
// write can take as long as an admission webhook that does not answer.
func (r *TokenIssuerReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	result, err := r.reconcile(ctx, request)
	result.Priority = ptr.To(0)
	if err != nil {
		result.Priority = ptr.To(handler.LowPriority)
	}
	return result, err
}

func (r *TokenIssuerReconciler) reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	issuer := &v1alpha1.TokenIssuer{}
	if err := r.Get(ctx, request.NamespacedName, issuer); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !issuer.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil // owner references do the rest
	}
	owner, err := r.urlOwner(ctx, issuer)
	if err != nil {
		return ctrl.Result{}, err
	}
	var outcome outcome
	switch {
	case owner.UID != issuer.UID:
		outcome = notAccepted(owner)
	case issuer.Spec.External != nil:
		outcome = r.external(issuer)
	default:
		outcome = r.advance(ctx, issuer)
		outcome.refreshKeys = r.keepRefreshKeys(ctx, issuer)
	}
	if err := r.updateStatus(ctx, issuer, &outcome); err != nil {
		return ctrl.Result{}, errors.Join(outcome.err, err)
	}
	return outcome.result(r.Clock.Now())
}

// outcome is what a reconciliation leaves behind: the last that was observed, and what stands in the way.
type outcome struct {
	progress
	urlOwner *v1alpha1.TokenIssuer // set if the URL is another issuer's
	observed *observation          // nil for an external issuer
	policy   keyring.Policy
	full     bool
	remote   *remotejwks.Status // set for an external issuer
	stale    bool               // its keys are older than its policy allows

	refreshKeys *refreshKeys // nil for an issuer without sessions
}

func (o *outcome) result(now time.Time) (ctrl.Result, error) {
	if err := o.failure(); err != nil {
		return ctrl.Result{}, err
	}
	again := o.again(now)
	if o.refreshKeys != nil {
		again = min(again, o.refreshKeys.again(now))
	}
	return ctrl.Result{RequeueAfter: again}, nil
}

func (o *outcome) outOfDate() bool { return o.raced || o.refreshKeys != nil && o.refreshKeys.raced }

// progress is how far the work at something has come: what has ended it early, if anything, and when to go on.
type progress struct {
	conflict   *conflictError // an object that is somebody else's
	unreadable error          // what is stored cannot be read
	err        error          // any other failure
	raced      bool           // another writer was faster
	wake       time.Time
}

// end takes what the work has ended with for what it means.
func (p *progress) end(err error) {
	switch {
	case err == nil || errors.As(err, &p.conflict):
	case errors.Is(err, keyring.ErrUnreadable) || errors.Is(err, session.ErrUnreadable):
		p.unreadable = err
	case apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || errors.Is(err, errStale):
		p.raced = true
	default:
		p.err = err
	}
}

// again is how soon to go on. Where something is in the way that the status tells, trying harder would change nothing.
func (p *progress) again(now time.Time) time.Duration {
	switch {
	case p.raced:
		return raceRetry
	case p.conflict != nil || p.unreadable != nil:
		return conflictRetry
	case p.wake.IsZero():
		return reevaluate
	}
	return min(max(p.wake.Sub(now), raceRetry), reevaluate)
}

// advance brings the issuer's objects to where they must be. What the cache holds may be out of date, and can stay so for
// as long as its watch is broken: after a lost race the API server itself is read.
func (r *TokenIssuerReconciler) advance(ctx context.Context, issuer *v1alpha1.TokenIssuer) outcome {
	o := r.advanceOnce(ctx, issuer, false)
	if !o.raced {
		return o
	}
	stored := &v1alpha1.TokenIssuer{}
	err := r.APIReader.Get(ctx, client.ObjectKeyFromObject(issuer), stored)
	switch {
	case client.IgnoreNotFound(err) != nil:
		o.err = fmt.Errorf("reading the TokenIssuer %s after a lost race: %w", issuer.Name, err)
	case err == nil && stored.UID == issuer.UID && stored.DeletionTimestamp.IsZero() && stored.Spec.Signing != nil:
		*issuer = *stored
		o = r.advanceOnce(ctx, issuer, true)
	}
	return o // Otherwise there is another issuer or none, of which the cache will hear.
}

// advanceOnce plans and applies until nothing is left to do now. A plan can call for another at once: that a key has been
// published is a fact that the ring must record. fresh is true to read past the cache.
func (r *TokenIssuerReconciler) advanceOnce(ctx context.Context, issuer *v1alpha1.TokenIssuer, fresh bool) outcome {
	o := outcome{policy: issuers.SigningPolicy(issuer)}
	o.end(r.moveRing(ctx, issuer, fresh, &o))
	return o
}

func (r *TokenIssuerReconciler) moveRing(ctx context.Context, issuer *v1alpha1.TokenIssuer, fresh bool, o *outcome) error {
	var err error
	if o.policy.Revoked, err = r.revokedKeys(ctx, issuer); err != nil {
		return err
	}
	if o.observed, err = r.observe(ctx, issuer, fresh); err != nil {
		return err
	}
	for range maxPasses {
		unconfirmed := r.confirmMounted(ctx, issuer, o.policy, o.observed)
		decision, err := keyring.Plan(r.Clock.Now(), o.policy, o.observed.ring, o.observed.seen(), r.Generate)
		if err != nil {
			return err
		}
		wrote, err := r.apply(ctx, issuer, o.policy, o.observed, &decision)
		o.wake, o.full = decision.Wake, decision.Full
		if err != nil || !wrote {
			return cmp.Or(err, unconfirmed)
		}
	}
	return fmt.Errorf("the keys of %s do not come to rest: is something else writing their Secrets?", issuer.Name)
}

// apply writes what was decided, in the order that keyring.Decision asks for.
func (r *TokenIssuerReconciler) apply(ctx context.Context, issuer *v1alpha1.TokenIssuer, policy keyring.Policy, seen *observation, decision *keyring.Decision) (wrote bool, err error) {
	moved, err := r.writeRing(ctx, issuer, seen, decision)
	if err != nil {
		return false, err
	}
	published, err := r.publish(ctx, issuer, seen)
	if err != nil && (policy.Export || seen.jwksTaken == nil) {
		return false, err
	}
	// Somebody else's ConfigMap does not keep a key mounted. It will be met again after anything else that fails.
	exported, exportErr := r.export(ctx, issuer, policy, seen)
	return moved || published || exported, cmp.Or(exportErr, err)
}

// revokedKeys are the key ids that revocations name: of signing keys and of keys for refresh tokens.
func (r *TokenIssuerReconciler) revokedKeys(ctx context.Context, issuer *v1alpha1.TokenIssuer) ([]string, error) {
	var revocations v1alpha1.TokenRevocationList
	err := r.List(ctx, &revocations, client.InNamespace(issuer.Namespace), client.MatchingFields{indexRevokedKeyIssuer: issuer.Name})
	if err != nil {
		return nil, fmt.Errorf("listing the revoked keys of %s: %w", issuer.Name, err)
	}
	ids := make([]string, len(revocations.Items))
	for i := range revocations.Items {
		ids[i] = revocations.Items[i].Spec.KeyID
	}
	return ids, nil
}

// urlOwner returns the issuer that keeps the URL of this one: itself, unless an older one has it.
func (r *TokenIssuerReconciler) urlOwner(ctx context.Context, issuer *v1alpha1.TokenIssuer) (*v1alpha1.TokenIssuer, error) {
	var same v1alpha1.TokenIssuerList
	if err := r.List(ctx, &same, client.MatchingFields{indexIssuerURL: issuer.Spec.IssuerURL}); err != nil {
		return nil, fmt.Errorf("looking for other issuers with the URL of %s: %w", issuer.Name, err)
	}
	if owner := issuers.URLOwner(same.Items); owner != nil {
		return owner, nil
	}
	return issuer, nil
}

// SetupWithManager registers the reconciler. It runs on the leader only, and needs IndexFields.
func (r *TokenIssuerReconciler) SetupWithManager(manager ctrl.Manager) error {
	r.Generate = fewAtOnce(r.Generate)
	return ctrl.NewControllerManagedBy(manager).
		Named("tokenissuer").
		For(&v1alpha1.TokenIssuer{}, builder.WithPredicates(predicate.Not(statusOnly))).
		Watches(&v1alpha1.TokenIssuer{}, handler.Funcs{UpdateFunc: lookAgain}, builder.WithPredicates(statusOnly)).
		Watches(&v1alpha1.TokenIssuer{}, handler.EnqueueRequestsFromMapFunc(r.withSameURL), deletedOnly()).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(issuerOfLabel)).
		Watches(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(issuerOfLabel)).
		Watches(&v1alpha1.TokenRevocation{}, handler.EnqueueRequestsFromMapFunc(issuerOfRevokedKey)).
		WithOptions(controller.Options{MaxConcurrentReconciles: turnWorkers, RateLimiter: rateLimiter()}).
		Complete(newInTurns(r, clock.RealClock{}))
}

// statusOnly finds updates of an issuer that ask for nothing.
var statusOnly = predicate.Funcs{
	CreateFunc:  func(event.CreateEvent) bool { return false },
	DeleteFunc:  func(event.DeleteEvent) bool { return false },
	GenericFunc: func(event.GenericEvent) bool { return false },
	UpdateFunc: func(e event.UpdateEvent) bool {
		return e.ObjectOld.GetUID() == e.ObjectNew.GetUID() && e.ObjectOld.GetGeneration() == e.ObjectNew.GetGeneration() &&
			maps.Equal(e.ObjectOld.GetAnnotations(), e.ObjectNew.GetAnnotations())
	},
}

// lookAgain compares the status that has been written with what there is to say, which may have changed since. It comes
// no sooner than the next try after a failure: the message of an error can differ each time, and each would be a reason
// to try again at once. Such a failure backs off twice as fast as others.
func lookAgain(_ context.Context, e event.UpdateEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
	queue.(priorityqueue.PriorityQueue[reconcile.Request]).AddWithOpts(
		priorityqueue.AddOpts{RateLimited: true, Priority: ptr.To(handler.LowPriority)},
		request(e.ObjectNew.GetNamespace(), e.ObjectNew.GetName())...)
}

func rateLimiter() workqueue.TypedRateLimiter[reconcile.Request] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](raceRetry, slowestRetry)
}

// withSameURL wakes those that have been waiting for a URL.
func (r *TokenIssuerReconciler) withSameURL(ctx context.Context, object client.Object) []reconcile.Request {
	var same v1alpha1.TokenIssuerList
	url := object.(*v1alpha1.TokenIssuer).Spec.IssuerURL
	if err := r.List(ctx, &same, client.MatchingFields{indexIssuerURL: url}); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "looking for issuers that wait for a URL", "issuerURL", url)
		return nil
	}
	requests := make([]reconcile.Request, len(same.Items))
	for i := range same.Items {
		requests[i].NamespacedName = client.ObjectKeyFromObject(&same.Items[i])
	}
	return requests
}

func deletedOnly() builder.WatchesOption {
	return builder.WithPredicates(predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		UpdateFunc:  func(event.UpdateEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	})
}

func issuerOfLabel(_ context.Context, object client.Object) []reconcile.Request {
	return request(object.GetNamespace(), object.GetLabels()[v1alpha1.LabelIssuer])
}

func issuerOfRevokedKey(_ context.Context, object client.Object) []reconcile.Request {
	spec := object.(*v1alpha1.TokenRevocation).Spec
	if spec.KeyID == "" {
		return nil
	}
	return request(object.GetNamespace(), spec.IssuerRef.Name)
}

func request(namespace, name string) []reconcile.Request {
	if name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}}
}
