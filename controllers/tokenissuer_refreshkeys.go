package controllers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/audit"
	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/session"
)

// refreshKeys is what a reconciliation leaves behind of an issuer's keys for refresh tokens: the last that was observed,
// and what stands in the way. The ring goes its own way: neither waits for the other.
type refreshKeys struct {
	progress
	policy session.KeyPolicy
	secret *corev1.Secret // nil if there is none
	keys   *session.Keys  // nil also where they cannot be read
	full   bool
}

// keepRefreshKeys brings the Secret with the keys for refresh tokens to where it must be; nil for an issuer without
// sessions. When sessions are taken out of a spec their Secret stays as it is, so that whoever was logged in still is when
// they come back. As with the ring, a lost race is decided by the API server.
func (r *TokenIssuerReconciler) keepRefreshKeys(ctx context.Context, issuer *v1alpha1.TokenIssuer) *refreshKeys {
	if issuer.Spec.Sessions == nil {
		return nil
	}
	k := r.keepRefreshKeysOnce(ctx, issuer, false)
	if k.raced {
		k = r.keepRefreshKeysOnce(ctx, issuer, true)
	}
	return k
}

// keepRefreshKeysOnce plans and applies. fresh is true to read past the cache.
func (r *TokenIssuerReconciler) keepRefreshKeysOnce(ctx context.Context, issuer *v1alpha1.TokenIssuer, fresh bool) *refreshKeys {
	k := &refreshKeys{policy: issuers.RefreshKeyPolicy(issuer)}
	k.end(func() error {
		if err := r.observeRefreshKeys(ctx, issuer, k, fresh); err != nil {
			return err
		}
		revoked, err := r.revokedKeys(ctx, issuer)
		if err != nil {
			return err
		}
		for _, keyID := range revoked {
			if id, ok := session.ParseKeyID(keyID); ok {
				k.policy.Revoked = append(k.policy.Revoked, id)
			}
		}
		decision, err := session.PlanKeys(r.Clock.Now(), k.policy, k.keys, rand.Reader)
		if err != nil {
			return err
		}
		k.wake, k.full = decision.Wake, decision.Full
		return r.writeRefreshKeys(ctx, issuer, k, &decision)
	}())
	return k
}

// observeRefreshKeys reads from the cache, unless that has no such Secret: then from the API server itself. A key that was
// made in the place of one that the cache merely does not know would log everybody out.
func (r *TokenIssuerReconciler) observeRefreshKeys(ctx context.Context, issuer *v1alpha1.TokenIssuer, k *refreshKeys, fresh bool) error {
	readers := []client.Reader{r.Client, r.APIReader}
	if fresh {
		readers = readers[1:]
	}
	for _, reader := range readers {
		var err error
		k.secret, err = owned(ctx, reader, issuer, &corev1.Secret{},
			issuers.RefreshKeysSecretName(issuer.Name), v1alpha1.ComponentRefreshKeys)
		if err != nil {
			return err
		}
		if k.secret != nil {
			k.keys, err = session.DecodeKeys(k.secret.Data[v1alpha1.DataRefreshKeys])
			return err
		}
	}
	return nil
}

// writeRefreshKeys writes what was decided, in one compare-and-swap. Where nothing was, only the Secret's labels and owner
// are seen to.
func (r *TokenIssuerReconciler) writeRefreshKeys(ctx context.Context, issuer *v1alpha1.TokenIssuer, k *refreshKeys, decision *session.KeyDecision) error {
	secret := &corev1.Secret{}
	var before client.Object
	if k.secret != nil {
		secret, before = k.secret.DeepCopy(), k.secret
	}
	if decision.Changed {
		document, err := session.EncodeKeys(decision.Keys)
		if err != nil {
			return err
		}
		secret.Data = map[string][]byte{v1alpha1.DataRefreshKeys: document}
	}
	wrote, err := r.write(ctx, issuer, before, secret, v1alpha1.ComponentRefreshKeys, func() {
		secret.Namespace, secret.Name = issuer.Namespace, issuers.RefreshKeysSecretName(issuer.Name)
		secret.Type = v1alpha1.SecretTypeRefreshKeys
	})
	if err != nil || !wrote {
		return err
	}
	// The status is a memory that a backup may lack. What is lost with it is this warning, and no key.
	lost := k.secret == nil && len(issuer.Status.RefreshKeys) > 0
	r.tellRefreshKeys(ctx, issuer, decision, lost)
	k.secret, k.keys = secret, decision.Keys
	return nil
}

// What becomes of a key for refresh tokens, as the log calls it.
const (
	refreshKeyCreated = "created"
	refreshKeyRemoved = "removed"
	refreshKeyRevoked = "revoked"
)

// refreshKeySteps are the same as events and the audit log call them.
var refreshKeySteps = map[string]struct {
	severity, event string
	audit           audit.Kind
}{
	refreshKeyCreated: {corev1.EventTypeNormal, v1alpha1.EventRefreshKeyCreated, audit.RefreshKeyCreated},
	refreshKeyRemoved: {corev1.EventTypeNormal, v1alpha1.EventRefreshKeyRemoved, audit.RefreshKeyRemoved},
	refreshKeyRevoked: {corev1.EventTypeWarning, v1alpha1.EventRefreshKeyRevoked, audit.RefreshKeyRevoked},
}

// tellRefreshKeys tells of each key that came or went. lost is true where a Secret had vanished.
func (r *TokenIssuerReconciler) tellRefreshKeys(ctx context.Context, issuer *v1alpha1.TokenIssuer, decision *session.KeyDecision, lost bool) {
	for _, id := range decision.Removed {
		if slices.Contains(decision.Keys.Dropped, id) {
			r.tellRefreshKey(ctx, issuer, id, refreshKeyRevoked, "it was revoked, and every session that it has opened has to log in again")
			continue
		}
		r.tellRefreshKey(ctx, issuer, id, refreshKeyRemoved, "the last session that it can have opened has expired")
	}
	reason := "a new key"
	if lost {
		name := issuers.RefreshKeysSecretName(issuer.Name)
		reason = "a new key, because the Secret " + name + " had vanished"
		ctrl.LoggerFrom(ctx).Error(nil, "the keys for refresh tokens had vanished: every session has to log in again", "secret", name)
		r.Recorder.Eventf(issuer, nil, corev1.EventTypeWarning, v1alpha1.EventRefreshKeysLost, "Create",
			"The Secret %s had vanished. A new key was created; every session has to log in again.", name)
	}
	for _, id := range decision.Created {
		r.tellRefreshKey(ctx, issuer, id, refreshKeyCreated, reason)
	}
}

// tellRefreshKey sends an event, and writes a line to the log and one to the audit log.
func (r *TokenIssuerReconciler) tellRefreshKey(ctx context.Context, issuer *v1alpha1.TokenIssuer, id session.KeyID, what, reason string) {
	step := refreshKeySteps[what]
	ctrl.LoggerFrom(ctx).Info("key for refresh tokens "+what, "keyID", id.String(), "reason", reason)
	r.Recorder.Eventf(issuer, nil, step.severity, step.event, what+" "+id.String(), "Key %s for refresh tokens: %s.", id, reason)
	r.record(issuer, step.audit, id.String(), reason)
}

// describeRefreshKeys fills in the status. Where the keys cannot be seen, what was known of them stays: replicas go on with
// it, and it tells a Secret that has vanished from one that never was.
func describeRefreshKeys(status *v1alpha1.TokenIssuerStatus, issuer *v1alpha1.TokenIssuer, known []v1alpha1.RefreshKeyStatus, k *refreshKeys) {
	status.RefreshKeys = nil
	switch {
	case issuer.Spec.Sessions == nil:
	case k == nil || k.keys == nil:
		status.RefreshKeys = known
	default:
		for _, key := range k.keys.All() {
			removal, _ := k.keys.RemoveAfter(key.ID, k.policy)
			status.RefreshKeys = append(status.RefreshKeys, v1alpha1.RefreshKeyStatus{
				ID: key.ID.String(), UsableFrom: timeOf(key.UsableFrom), RemoveAfter: timeOf(removal),
			})
		}
	}
}

func refreshKeysReadable(_ time.Time, o *outcome) *problem {
	if o.refreshKeys == nil || o.refreshKeys.unreadable == nil {
		return nil
	}
	return &problem{v1alpha1.ReasonRefreshKeysUnreadable, fmt.Sprintf(
		"In the Secret %s %v. It is not overwritten, because sessions may depend on it: restore the Secret from a backup, or delete it, and every session has to log in again.",
		o.refreshKeys.secret.Name, o.refreshKeys.unreadable)}
}

func refreshKeysExist(_ time.Time, o *outcome) *problem {
	switch {
	case o.refreshKeys == nil || o.refreshKeys.keys != nil:
		return nil
	case o.refreshKeys.err != nil:
		return &problem{v1alpha1.ReasonWriteFailed, "The keys for refresh tokens could not be read or created: " + o.refreshKeys.err.Error()}
	default:
		return &problem{v1alpha1.ReasonPending, "The keys for refresh tokens have not been created yet."}
	}
}

func refreshKeysFull(_ time.Time, o *outcome) *problem {
	if o.refreshKeys == nil || !o.refreshKeys.full {
		return nil
	}
	return &problem{v1alpha1.ReasonRefreshKeysFull, fmt.Sprintf(
		"A new key for refresh tokens is due and waits, because there are %d whose sessions may not have expired; the newest goes on. Revoke those in status.refreshKeys that are not needed any more.",
		session.MaxKeys)}
}

// failure is an error that keeps what is good from being brought up to date.
func (o *outcome) failure() error {
	if o.refreshKeys == nil {
		return o.err
	}
	return errors.Join(o.err, o.refreshKeys.err)
}
