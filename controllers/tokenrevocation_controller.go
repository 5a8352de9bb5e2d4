package controllers

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/audit"
	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/revocation"
)

// applyPoll is how soon it is looked at again whether a revocation is in force. The watch that brings it into force and
// the one that wakes this controller are fed by the same event, so it is a matter of milliseconds.
const applyPoll = 20 * time.Millisecond

// Verifiers tells what the webhook of this replica knows.
type Verifiers interface {
	// Synced is false until it knows everything that the API server knew at the start.
	Synced() bool
	// RuleApplied says whether the rule is in force.
	RuleApplied(issuer types.NamespacedName, rule revocation.Rule) bool
	// KeyPublished says whether an issuer of our own still has this key.
	KeyPublished(issuer types.NamespacedName, keyID string) bool
	// KeyDropped says whether an issuer of our own has dropped this key as compromised.
	KeyDropped(issuer types.NamespacedName, keyID string) bool
	// RefreshKeyKnown says whether an issuer of our own still has this key for refresh tokens.
	RefreshKeyKnown(issuer types.NamespacedName, keyID string) bool
	// RefreshKeyDropped says whether an issuer of our own has dropped this key for refresh tokens as compromised.
	RefreshKeyDropped(issuer types.NamespacedName, keyID string) bool
	// LongestLifetime returns the longest lifetime that a token of the issuer can have.
	LongestLifetime(issuer types.NamespacedName) (time.Duration, bool)
}

// TokenRevocationReconciler says in the status of a revocation whether it is enforced and until when it matters, and
// deletes it after that. It enforces nothing itself: the registry of every replica does.
type TokenRevocationReconciler struct {
	client.Client
	Clock     clock.PassiveClock
	Verifiers Verifiers
	// Replicas are all replicas, this one among them. Nil where it is the only one.
	Replicas Replicas
	// Audit is told of each revocation that comes into force. Nil for nobody.
	Audit *audit.Log

	waiting waiting
}

// +kubebuilder:rbac:groups=keyturn.dev,resources=tokenrevocations,verbs=get;list;watch;delete
// +kubebuilder:rbac:groups=keyturn.dev,resources=tokenrevocations/status,verbs=get;update;patch

// Reconcile brings the status of one revocation up to date, or deletes it.
func (r *TokenRevocationReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	object := &v1alpha1.TokenRevocation{}
	if err := r.Get(ctx, request.NamespacedName, object); err != nil {
		if apierrors.IsNotFound(err) {
			r.waiting.forget(request.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !object.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	if !r.Verifiers.Synced() {
		// A new leader must not say of every revocation that it is not in force, only because it has just started.
		return ctrl.Result{RequeueAfter: applyPoll}, nil
	}
	issuer := &v1alpha1.TokenIssuer{}
	if err := r.Get(ctx, issuers.IssuerOf(object), issuer); apierrors.IsNotFound(err) {
		issuer = nil
	} else if err != nil {
		return ctrl.Result{}, fmt.Errorf("reading the issuer of the revocation: %w", err)
	}
	state := r.assess(object, issuer)
	if state.over && !object.Spec.RetainAfterExpiry {
		return ctrl.Result{}, r.delete(ctx, object)
	}
	if state.unsaid {
		return ctrl.Result{RequeueAfter: state.again}, nil
	}
	return ctrl.Result{RequeueAfter: state.again}, r.updateStatus(ctx, object, state)
}

// assessment is what there is to say about a revocation.
type assessment struct {
	issuerURL          string // empty where there is no such issuer
	accepted, enforced metav1.Condition
	expiresAt          *metav1.Time
	replicas           string        // how many live replicas deny it, of how many
	unsaid             bool          // it is too early to write any of this down
	over               bool          // no token that it can hit is still valid
	again              time.Duration // when to look again; 0 for never
}

// assess says what there is to say about a revocation.
func (r *TokenRevocationReconciler) assess(object *v1alpha1.TokenRevocation, issuer *v1alpha1.TokenIssuer) assessment {
	name := issuers.IssuerOf(object)
	if issuer == nil {
		message := fmt.Sprintf("There is no TokenIssuer %s in this namespace. The revocation takes effect as soon as there is.", name.Name)
		return assessment{
			accepted: condition(v1alpha1.ConditionAccepted, false, v1alpha1.ReasonIssuerNotFound, message),
			enforced: condition(v1alpha1.ConditionEnforced, false, v1alpha1.ReasonIssuerNotFound, message),
		}
	}
	state := r.assessWebhook(object, issuer)
	r.requireReplicas(&state, object)
	return state
}

// assessWebhook is about what this replica knows: of the rule, and of the keys as it has last heard of them.
func (r *TokenRevocationReconciler) assessWebhook(object *v1alpha1.TokenRevocation, issuer *v1alpha1.TokenIssuer) assessment {
	name := issuers.IssuerOf(object)
	state := assessment{
		issuerURL: issuer.Spec.IssuerURL,
		accepted:  condition(v1alpha1.ConditionAccepted, true, v1alpha1.ReasonAccepted, "The revocation is acted on."),
		enforced:  condition(v1alpha1.ConditionEnforced, true, v1alpha1.ReasonEnforced, ""), // see requireReplicas
	}
	ownKey := object.Spec.KeyID != "" && issuer.Spec.Signing != nil
	switch {
	case !r.Verifiers.RuleApplied(name, issuers.Rule(object)):
		state.enforced = condition(v1alpha1.ConditionEnforced, false, v1alpha1.ReasonNotYetApplied, "The webhook has not applied it yet.")
		state.again = applyPoll
	case ownKey && r.Verifiers.KeyPublished(name, object.Spec.KeyID):
		state.enforced = condition(v1alpha1.ConditionEnforced, false, v1alpha1.ReasonNotYetApplied,
			"The webhook denies its tokens, but the key is still in the JWKS: see the status of the TokenIssuer.")
		state.again = r.patience(object)
	case ownKey && r.Verifiers.RefreshKeyKnown(name, object.Spec.KeyID):
		r.assessRefreshKey(&state, object, issuer)
	case ownKey && r.Verifiers.RefreshKeyDropped(name, object.Spec.KeyID):
		state.enforced.Message = "The key for refresh tokens was dropped, and its refresh tokens are refused. Access tokens of its sessions are good until they expire."
		r.assessExpiry(&state, object, issuer)
	case ownKey && !r.Verifiers.KeyDropped(name, object.Spec.KeyID):
		// Most likely a mistake, and a costly one. The revocation stays until somebody has looked at it.
		// Who waits for it to be enforced must not believe that the leak is over.
		state.enforced = condition(v1alpha1.ConditionEnforced, false, v1alpha1.ReasonKeyNotFound,
			"The webhook denies the key id, but the TokenIssuer has no such key and has dropped none. Compare the id with the ACTIVE-KEY, status.keys and status.refreshKeys of the TokenIssuer, and delete this revocation if it is a mistake.")
		state.again = r.patience(object) // The ring may be late, and no watch of it wakes this controller.
	default:
		r.assessExpiry(&state, object, issuer)
	}
	return state
}

// assessRefreshKey is about a key for refresh tokens that the issuer still has. Where it has no sessions nobody drops the
// key, and nobody accepts a token of it: the revocation stays until one of the two changes.
func (r *TokenRevocationReconciler) assessRefreshKey(state *assessment, object *v1alpha1.TokenRevocation, issuer *v1alpha1.TokenIssuer) {
	secret := issuers.RefreshKeysSecretName(issuer.Name)
	if issuer.Spec.Sessions == nil {
		state.enforced.Message = fmt.Sprintf("The TokenIssuer has no sessions, so no refresh token is accepted. The key is still in the Secret %s, and is dropped when sessions come back: keep this revocation until then.", secret)
		return
	}
	state.enforced = condition(v1alpha1.ConditionEnforced, false, v1alpha1.ReasonNotYetApplied,
		fmt.Sprintf("The key for refresh tokens is still in the Secret %s: see the status of the TokenIssuer.", secret))
	state.again = r.patience(object)
}

// assessExpiry says when the last token that the revocation can hit has expired. The key of an external issuer can sign
// again at any time, so its revocation has no end.
func (r *TokenRevocationReconciler) assessExpiry(state *assessment, object *v1alpha1.TokenRevocation, issuer *v1alpha1.TokenIssuer) {
	if object.Spec.KeyID != "" && issuer.Spec.External != nil {
		return
	}
	lifetime, known := r.Verifiers.LongestLifetime(issuers.IssuerOf(object))
	if !known {
		state.again = r.patience(object, issuer)
		return
	}
	expiry := revocation.Expiry(issuers.Rule(object), object.CreationTimestamp.Time, lifetime, issuer.Spec.Tokens.ClockSkew.Duration)
	// Rounded up, since the API keeps whole seconds and deleting early would lift the revocation.
	expiry = expiry.Add(time.Second - time.Nanosecond).Truncate(time.Second)
	state.expiresAt = timeOf(expiry)
	if left := expiry.Sub(r.Clock.Now()); left > 0 {
		state.again = left
		return
	}
	state.over = true
	state.enforced = condition(v1alpha1.ConditionEnforced, true, v1alpha1.ReasonExpired, "Every token that it names has expired. It is kept because retainAfterExpiry is set.")
}

// patience is how soon to look again at what nothing wakes this controller for: often while the youngest of the objects is
// new and it can be a matter of moments, and seldom once something is in the way, such as a ring that cannot be written.
func (r *TokenRevocationReconciler) patience(objects ...client.Object) time.Duration {
	age := slowestRetry
	for _, object := range objects {
		age = min(age, r.Clock.Since(object.GetCreationTimestamp().Time))
	}
	return max(age, raceRetry)
}

func condition(name string, value bool, reason, message string) metav1.Condition {
	status := metav1.ConditionFalse
	if value {
		status = metav1.ConditionTrue
	}
	return metav1.Condition{Type: name, Status: status, Reason: reason, Message: message}
}

// delete removes a revocation that has done its work, in the version that was assessed: an edit that retains it wins.
func (r *TokenRevocationReconciler) delete(ctx context.Context, object *v1alpha1.TokenRevocation) error {
	ctrl.LoggerFrom(ctx).Info("every token that the revocation names has expired", "target", target(&object.Spec))
	err := r.Delete(ctx, object, client.Preconditions{UID: ptr.To(object.UID), ResourceVersion: ptr.To(object.ResourceVersion)})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting an expired revocation: %w", err)
	}
	return nil
}

func (r *TokenRevocationReconciler) updateStatus(ctx context.Context, object *v1alpha1.TokenRevocation, state assessment) error {
	before := object.DeepCopy()
	object.Status.ObservedGeneration = object.Generation
	object.Status.Target = target(&object.Spec)
	object.Status.ExpiresAt = state.expiresAt
	object.Status.Replicas = state.replicas
	for _, c := range []metav1.Condition{state.accepted, state.enforced} {
		c.ObservedGeneration = object.Generation
		meta.SetStatusCondition(&object.Status.Conditions, c)
	}
	if equality.Semantic.DeepEqual(before.Status, object.Status) {
		return nil
	}
	// Of the version that was assessed: a second look at a version that the cache still has would write the same again,
	// and record it again. What has changed is on its way, and wakes this controller.
	err := r.Status().Patch(ctx, object, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	if apierrors.IsConflict(err) {
		return nil
	}
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("writing the status: %w", err)
	}
	if err == nil && denies(object) && !denies(before) {
		r.record(object, state.issuerURL)
	}
	return nil
}

// denies says whether the API says that something is denied: also a key id that the issuer does not have.
func denies(object *v1alpha1.TokenRevocation) bool {
	c := meta.FindStatusCondition(object.Status.Conditions, v1alpha1.ConditionEnforced)
	return c != nil && (c.Status == metav1.ConditionTrue || c.Reason == v1alpha1.ReasonKeyNotFound)
}

// record writes to the audit log that a revocation has come into force.
func (r *TokenRevocationReconciler) record(object *v1alpha1.TokenRevocation, issuerURL string) {
	spec := &object.Spec
	r.Audit.Record(audit.Event{
		Kind: audit.Revocation, Issuer: issuers.IssuerOf(object), IssuerURL: issuerURL,
		Subject: spec.Subject, ClientID: spec.ClientID, SessionID: spec.SessionID, KeyID: spec.KeyID,
		Object: object.Name, Target: target(spec), Reason: spec.Reason,
	})
}

// target is what a revocation denies, in one line.
func target(spec *v1alpha1.TokenRevocationSpec) string {
	for _, named := range []struct{ field, value string }{
		{"tokenID", spec.TokenID}, {"sessionID", spec.SessionID}, {"subject", spec.Subject}, {"clientID", spec.ClientID},
		{"audience", spec.Audience}, {"keyID", spec.KeyID},
	} {
		if named.value != "" {
			return named.field + "=" + named.value
		}
	}
	return "all"
}

// SetupWithManager registers the reconciler. It runs on the leader only, and needs IndexFields.
func (r *TokenRevocationReconciler) SetupWithManager(manager ctrl.Manager) error {
	build := ctrl.NewControllerManagedBy(manager)
	if r.Replicas != nil {
		build = build.WatchesRawSource(r.wakeups())
	}
	return build.
		Named("tokenrevocation").
		For(&v1alpha1.TokenRevocation{}).
		Watches(&v1alpha1.TokenIssuer{}, handler.EnqueueRequestsFromMapFunc(r.ofIssuer), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: 8, RateLimiter: rateLimiter()}).
		Complete(r)
}

func (r *TokenRevocationReconciler) ofIssuer(ctx context.Context, issuer client.Object) []reconcile.Request {
	var list v1alpha1.TokenRevocationList
	err := r.List(ctx, &list, client.InNamespace(issuer.GetNamespace()), client.MatchingFields{indexRevokedIssuer: issuer.GetName()})
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "looking for the revocations of an issuer", "issuer", issuer.GetName())
		return nil
	}
	requests := make([]reconcile.Request, len(list.Items))
	for i := range list.Items {
		requests[i].NamespacedName = client.ObjectKeyFromObject(&list.Items[i])
	}
	return requests
}
