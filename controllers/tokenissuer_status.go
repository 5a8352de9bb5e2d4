package controllers

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/keyring"
)

// updateStatus writes the status if it differs. It is derived as a whole from the outcome; of what was there before only
// the times of conditions that have not changed are kept.
func (r *TokenIssuerReconciler) updateStatus(ctx context.Context, issuer *v1alpha1.TokenIssuer, o *outcome) error {
	if o.outOfDate() {
		return nil // what was seen is out of date
	}
	before := issuer.DeepCopy()
	now := r.Clock.Now()
	status := v1alpha1.TokenIssuerStatus{ObservedGeneration: issuer.Generation, Conditions: issuer.Status.Conditions}
	switch {
	case o.remote != nil:
		describeExternal(&status, o)
	case o.observed != nil && o.observed.ring != nil:
		describeRing(&status, now, issuer, o)
	case o.unreadable != nil:
		// Replicas go on with the keys that they know, so what is known of them stays.
		conditions := status.Conditions
		status = *before.Status.DeepCopy()
		status.ObservedGeneration, status.Conditions = issuer.Generation, conditions
	}
	describeRefreshKeys(&status, issuer, before.Status.RefreshKeys, o.refreshKeys)
	setConditions(&status, now, o)
	if equality.Semantic.DeepEqual(before.Status, status) {
		return nil
	}
	issuer.Status = status
	if err := r.Status().Patch(ctx, issuer, client.MergeFrom(before)); err != nil {
		if apierrors.IsNotFound(err) {
			return nil // an issuer that was deleted meanwhile needs none
		}
		return fmt.Errorf("writing the status: %w", err)
	}
	r.warn(issuer, before.Status.Conditions, status.Conditions)
	return nil
}

// warn sends an event for each state that needs a person and was not there before.
func (r *TokenIssuerReconciler) warn(issuer *v1alpha1.TokenIssuer, before, after []metav1.Condition) {
	for _, bad := range []struct {
		condition string
		value     metav1.ConditionStatus
	}{
		{v1alpha1.ConditionAccepted, metav1.ConditionFalse},
		{v1alpha1.ConditionReady, metav1.ConditionFalse},
		{v1alpha1.ConditionRotationOverdue, metav1.ConditionTrue},
	} {
		now, was := meta.FindStatusCondition(after, bad.condition), meta.FindStatusCondition(before, bad.condition)
		switch {
		case now == nil || now.Status != bad.value || now.Reason == v1alpha1.ReasonPending || now.Reason == v1alpha1.ReasonNotAccepted:
		case was != nil && was.Status == bad.value && was.Reason == now.Reason:
		default:
			r.Recorder.Eventf(issuer, nil, corev1.EventTypeWarning, now.Reason, bad.condition, "%s", now.Message)
		}
	}
}

func describeRing(status *v1alpha1.TokenIssuerStatus, now time.Time, issuer *v1alpha1.TokenIssuer, o *outcome) {
	ring := o.observed.ring
	active := ring.Active()
	status.ActiveKeyID = active.ID
	status.NextRotation = timeOf(ring.RotationAt(now, o.policy))
	status.LastRotation = timeOf(active.ActivatedAt)
	status.HandledRotateRequest = ring.HandledRequest
	status.JWKSURL = issuers.JWKSURL(issuer.Spec.IssuerURL)
	for i := range ring.Keys {
		key := &ring.Keys[i]
		status.Keys = append(status.Keys, v1alpha1.KeyStatus{
			ID: key.ID, Algorithm: v1alpha1.Algorithm(key.Algorithm), State: v1alpha1.KeyState(key.State),
			PublishedAt: timeOf(key.PublishedAt), ActivatedAt: timeOf(key.ActivatedAt), RemoveAfter: timeOf(key.RemoveAfter),
			Exception: key.Exception,
		})
	}
}

func describeExternal(status *v1alpha1.TokenIssuerStatus, o *outcome) {
	status.LastFetch = timeOf(o.remote.FetchedAt.Truncate(time.Minute))
	for _, key := range o.remote.Keys {
		entry := v1alpha1.KeyStatus{ID: key.ID, State: "External"}
		if len(key.Algorithms) == 1 {
			entry.Algorithm = v1alpha1.Algorithm(key.Algorithms[0])
		}
		status.Keys = append(status.Keys, entry)
	}
}

// timeOf is a time as the API keeps it: to the second, or absent.
func timeOf(t time.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}
	rounded := metav1.NewTime(t).Rfc3339Copy()
	return &rounded
}

// problem is what keeps a condition from being what it should be; nil if nothing does.
type problem struct {
	reason, message string
}

// readyChecks are what must hold for tokens to be signed and verified, and for sessions to be opened and refreshed. The
// first problem found is told.
var readyChecks = []func(now time.Time, o *outcome) *problem{
	accepted,
	noConflict,
	ringReadable,
	ringExists,
	activePublished,
	activeMounted,
	notOverdueForLong,
	refreshKeysReadable,
	refreshKeysExist,
	externalKeysFresh,
}

func setConditions(status *v1alpha1.TokenIssuerStatus, now time.Time, o *outcome) {
	set := func(name string, value metav1.ConditionStatus, p problem) {
		meta.SetStatusCondition(&status.Conditions, metav1.Condition{
			Type: name, Status: value, Reason: p.reason, Message: p.message, ObservedGeneration: status.ObservedGeneration,
		})
	}
	// A negative condition is there only while it is true.
	negative := func(name string, p *problem) {
		if p == nil {
			meta.RemoveStatusCondition(&status.Conditions, name)
			return
		}
		set(name, metav1.ConditionTrue, *p)
	}
	status.Conditions = slices.Clone(status.Conditions)
	if p := accepted(now, o); p != nil {
		set(v1alpha1.ConditionAccepted, metav1.ConditionFalse, problem{v1alpha1.ReasonURLConflict, p.message})
	} else {
		set(v1alpha1.ConditionAccepted, metav1.ConditionTrue, problem{v1alpha1.ReasonAccepted, "The spec is acted on."})
	}
	ready, value := problem{v1alpha1.ReasonReady, readyMessage(o)}, metav1.ConditionTrue
	for _, check := range readyChecks {
		if p := check(now, o); p != nil {
			ready, value = *p, metav1.ConditionFalse
			break
		}
	}
	set(v1alpha1.ConditionReady, value, ready)
	negative(v1alpha1.ConditionSecretConflict, noConflict(now, o))
	negative(v1alpha1.ConditionRotationOverdue, rotationOverdue(now, o))
	negative(v1alpha1.ConditionKeysLost, keysLost(now, o))
}

func readyMessage(o *outcome) string {
	if o.remote != nil {
		message := fmt.Sprintf("Tokens are verified with %d fetched keys.", len(o.remote.Keys))
		if len(o.remote.Keys) == 1 {
			message = "Tokens are verified with one fetched key."
		}
		if o.remote.LastError != "" {
			message += " The last attempt to fetch them failed: " + o.remote.LastError
		}
		return message
	}
	if err := o.failure(); err != nil {
		return "The keys are good, but could not be brought up to date: " + err.Error()
	}
	return "The active key is published, and signs."
}

func notAccepted(owner *v1alpha1.TokenIssuer) outcome { return outcome{urlOwner: owner} }

func accepted(_ time.Time, o *outcome) *problem {
	if o.urlOwner == nil {
		return nil
	}
	return &problem{v1alpha1.ReasonNotAccepted, fmt.Sprintf(
		"The TokenIssuer %s in namespace %s is older and has the same issuerURL. Delete one of the two.", o.urlOwner.Name, o.urlOwner.Namespace)}
}

func noConflict(_ time.Time, o *outcome) *problem {
	conflict := o.conflict
	if conflict == nil && o.refreshKeys != nil {
		conflict = o.refreshKeys.conflict
	}
	if conflict == nil {
		return nil
	}
	return &problem{v1alpha1.ReasonSecretConflict, "The " + conflict.Error() + "."}
}

func ringReadable(_ time.Time, o *outcome) *problem {
	if o.unreadable == nil {
		return nil
	}
	return &problem{v1alpha1.ReasonRingUnreadable, fmt.Sprintf(
		"In the Secret %s %v. It is not overwritten, because it may hold keys that are in use: restore the Secret from a backup, or delete it to begin with new keys.",
		o.observed.ringSecret.Name, o.unreadable)}
}

func ringExists(_ time.Time, o *outcome) *problem {
	switch {
	case o.remote != nil || o.observed != nil && o.observed.ring != nil:
		return nil
	case o.err != nil:
		return &problem{v1alpha1.ReasonWriteFailed, "The keys could not be created: " + o.err.Error()}
	default:
		return &problem{v1alpha1.ReasonPending, "The keys have not been created yet."}
	}
}

func activePublished(_ time.Time, o *outcome) *problem {
	if o.remote != nil {
		return nil
	}
	active := o.observed.ring.Active()
	if active.Symmetric() || slices.Contains(o.observed.seen().Published, active.ID) {
		return nil
	}
	return &problem{v1alpha1.ReasonWriteFailed, sentence("The active key could not be published in the ConfigMap", o.err)}
}

func activeMounted(_ time.Time, o *outcome) *problem {
	if o.remote != nil || !o.policy.Export || o.observed.seen().Mounted == o.observed.ring.Active().ID {
		return nil
	}
	return &problem{v1alpha1.ReasonWriteFailed, sentence("The Secret that workloads mount could not be brought up to date", o.err)}
}

// notOverdueForLong turns Ready once replicas that hear nothing from the API server would stop to sign: a propagation
// delay after the rotation should have happened.
func notOverdueForLong(now time.Time, o *outcome) *problem {
	if o.remote != nil {
		return nil
	}
	if since, overdue := o.observed.ring.Overdue(now, o.policy); overdue && now.After(since.Add(o.policy.PropagationDelay)) {
		return rotationOverdue(now, o)
	}
	return nil
}

func rotationOverdue(now time.Time, o *outcome) *problem {
	if o.observed == nil || o.observed.ring == nil {
		return nil
	}
	since, overdue := o.observed.ring.Overdue(now, o.policy)
	switch {
	case !overdue:
		return refreshKeysFull(now, o)
	case o.full:
		return &problem{v1alpha1.ReasonRingFull, fmt.Sprintf(
			"The rotation due at %s waits, because the ring holds %d keys whose tokens have not expired. Shorten tokens.maxLifetime or lengthen signing.rotation.period.",
			since.UTC().Format(time.RFC3339), keyring.MaxKeys)}
	default:
		return &problem{v1alpha1.ReasonRotationOverdue, sentence(
			fmt.Sprintf("The rotation due at %s has not happened; the old key goes on verifying", since.UTC().Format(time.RFC3339)), o.err)}
	}
}

func keysLost(now time.Time, o *outcome) *problem {
	if o.observed == nil || o.observed.ring == nil || o.observed.ring.LostAt.IsZero() {
		return nil
	}
	over := o.observed.ring.LostAt.Add(o.policy.PropagationDelay + o.policy.MaxLifetime + o.policy.ClockSkew)
	if now.After(over) {
		return nil
	}
	return &problem{v1alpha1.ReasonKeysLost, fmt.Sprintf(
		"Keys were lost by %s: the Secret that holds them had vanished and was created with new ones, or was put back to an older state. Tokens that the lost keys signed are refused.",
		o.observed.ring.LostAt.UTC().Format(time.RFC3339))}
}

func externalKeysFresh(_ time.Time, o *outcome) *problem {
	switch {
	case o.remote == nil || len(o.remote.Keys) > 0 && !o.stale:
		return nil
	case len(o.remote.Keys) == 0 && o.remote.LastError == "":
		return &problem{v1alpha1.ReasonPending, "The keys have not been fetched yet."}
	case len(o.remote.Keys) == 0:
		return &problem{v1alpha1.ReasonKeysUnavailable, "There are no keys: " + o.remote.LastError + ". Check issuerURL, or set external.jwksURL."}
	default:
		return &problem{v1alpha1.ReasonKeysStale, "The keys are older than external.maxStaleness, so nothing is verified with them: " + o.remote.LastError}
	}
}

func sentence(what string, err error) string {
	if err == nil {
		return what + "."
	}
	return what + ": " + err.Error()
}
