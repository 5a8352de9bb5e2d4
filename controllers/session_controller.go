package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/session"
	"github.com/keyturn/keyturn/internal/session/kubernetes"
)

// Deletions tells which sessions are being deleted.
type Deletions interface {
	// OnDeletion calls a function for each, at once for those that are known, until the context ends.
	OnDeletion(ctx context.Context, tell func(session types.NamespacedName))
}

// Retention tells for how long records of sessions are needed.
type Retention interface {
	// SessionRetention is how long after the end of a session its last access token can be good; false if nobody knows
	// yet.
	SessionRetention() (time.Duration, bool)
}

// SessionReconciler ends what is over: it turns the deletion of a Session into a TokenRevocation of its access tokens,
// and deletes Sessions that nobody needs. It keeps no Session in memory.
type SessionReconciler struct {
	client.Client
	// APIReader reads past the cache, which has no Sessions.
	APIReader client.Reader
	Clock     clock.Clock
	// Store deletes expired sessions.
	Store     session.Store
	Deletions Deletions
	Retention Retention
	// Namespaces are those that the operator is confined to. Default: all.
	Namespaces []string

	orphans orphans
}

// +kubebuilder:rbac:groups=keyturn.dev,resources=sessions,verbs=get;list;watch;create;update;patch;delete
// +kubebuilder:rbac:groups=keyturn.dev,resources=tokenrevocations,verbs=create

// Reconcile lets go of a Session that is being deleted, once its access tokens are denied for good: by an object of its
// own, which a replica that starts later knows too, and which deletes itself.
func (r *SessionReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	object := kubernetes.NewObject()
	if err := r.APIReader.Get(ctx, request.NamespacedName, object); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if object.GetDeletionTimestamp() == nil || !slices.Contains(object.GetFinalizers(), v1alpha1.FinalizerSession) {
		return ctrl.Result{}, nil
	}
	if err := r.revokeTokens(ctx, object); err != nil {
		return ctrl.Result{}, err
	}
	err := kubernetes.Release(ctx, r.Client, object)
	switch {
	case apierrors.IsConflict(err):
		return ctrl.Result{RequeueAfter: raceRetry}, nil
	case client.IgnoreNotFound(err) != nil:
		return ctrl.Result{}, fmt.Errorf("taking the finalizer from a deleted session: %w", err)
	}
	return ctrl.Result{}, nil
}

// revokeTokens denies the access tokens of a Session, unless all of them have expired, or nobody verifies them any
// more.
func (r *SessionReconciler) revokeTokens(ctx context.Context, object *unstructured.Unstructured) error {
	if r.harmless(object) {
		return nil
	}
	// What cannot be read as a session still names its issuer.
	issuer, _, err := unstructured.NestedString(object.Object, "spec", "issuerRef", "name")
	if err != nil {
		return fmt.Errorf("looking for the issuer of a deleted session: %w", err)
	}
	namespace := object.GetNamespace()
	if there, err := r.issuerExists(ctx, types.NamespacedName{Namespace: namespace, Name: issuer}); err != nil || !there {
		return err
	}
	revocation := &v1alpha1.TokenRevocation{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: RevocationOf(object.GetName()), Labels: map[string]string{v1alpha1.LabelIssuer: issuer},
		},
		Spec: v1alpha1.TokenRevocationSpec{
			IssuerRef: v1alpha1.IssuerReference{Name: issuer}, SessionID: object.GetName(),
			Reason: "The Session was deleted.",
		},
	}
	err = r.Create(ctx, revocation)
	switch {
	case apierrors.IsAlreadyExists(err), apierrors.IsNotFound(err), apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		// It was done before, or the issuer goes with its namespace.
		return nil
	case err != nil:
		return fmt.Errorf("creating the TokenRevocation %s for a deleted session: %w", revocation.Name, err)
	}
	ctrl.LoggerFrom(ctx).Info("a session was deleted; its access tokens are revoked", "issuer", issuer, "tokenRevocation", revocation.Name)
	return nil
}

// RevocationOf is the name of the TokenRevocation that outlives a deleted session.
func RevocationOf(sessionID string) string { return "session-" + sessionID }

// harmless reports whether every access token of the session has expired, as far as that is known.
func (r *SessionReconciler) harmless(object *unstructured.Unstructured) bool {
	retention, known := r.Retention.SessionRetention()
	read, err := kubernetes.Read(object)
	return known && err == nil && read.DeadSince().Before(r.Clock.Now().Add(-retention))
}

// issuerExists asks the API server itself, because what follows cannot be undone.
func (r *SessionReconciler) issuerExists(ctx context.Context, name types.NamespacedName) (bool, error) {
	err := r.APIReader.Get(ctx, name, &v1alpha1.TokenIssuer{})
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("looking for the TokenIssuer %s of a session: %w", name, err)
	}
	return err == nil, nil
}

// SetupWithManager registers the reconciler and its sweeps. They run on the leader only.
func (r *SessionReconciler) SetupWithManager(m ctrl.Manager) error {
	deletions := func(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		r.Deletions.OnDeletion(ctx, func(name types.NamespacedName) { queue.Add(reconcile.Request{NamespacedName: name}) })
		return nil
	}
	return errors.Join(
		ctrl.NewControllerManagedBy(m).
			Named("session").
			WatchesRawSource(source.Func(deletions)).
			WithOptions(controller.Options{MaxConcurrentReconciles: 8, RateLimiter: rateLimiter()}).
			Complete(r),
		m.Add(manager.RunnableFunc(r.sweepUntilDone)))
}
