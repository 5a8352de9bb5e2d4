package controllers

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/audit"
	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/keyring"
)

// writeRing writes the ring Secret: one compare-and-swap for everything that a plan changes. Where it changes nothing, only
// the Secret's labels and owner are seen to: a ring that is retained, or restored from a backup, must not be deleted with
// an issuer that it does not belong to any more.
func (r *TokenIssuerReconciler) writeRing(ctx context.Context, issuer *v1alpha1.TokenIssuer, seen *observation, decision *keyring.Decision) (bool, error) {
	secret := &corev1.Secret{}
	var before client.Object
	if seen.ringSecret != nil {
		secret, before = seen.ringSecret.DeepCopy(), seen.ringSecret
	}
	if decision.Changed || seen.rolledBack {
		document, err := keyring.Encode(decision.Ring)
		if err != nil {
			return false, err
		}
		secret.Data = map[string][]byte{v1alpha1.DataRing: document}
	}
	wrote, err := r.write(ctx, issuer, before, secret, v1alpha1.ComponentKeyring, func() {
		secret.Namespace, secret.Name = issuer.Namespace, issuers.RingSecretName(issuer.Name)
		secret.Type = v1alpha1.SecretTypeKeyring
	})
	if err != nil || !wrote {
		return false, err
	}
	r.tellLost(ctx, issuer, seen, decision.Ring)
	r.tell(ctx, issuer, decision.Changes)
	seen.ringSecret, seen.ring = secret, decision.Ring
	seen.ringConfirmed, seen.mountedConfirmed = true, false
	seen.rolledBack, seen.keysLost = false, false
	return true, nil
}

// steps in a key's life, as events and the audit log call them.
var steps = map[keyring.ChangeKind]struct {
	event string
	audit audit.Kind
}{
	keyring.Created:   {v1alpha1.EventKeyCreated, audit.KeyCreated},
	keyring.Activated: {v1alpha1.EventKeyActivated, audit.KeyActivated},
	keyring.Retired:   {v1alpha1.EventKeyRetired, audit.KeyRetired},
	keyring.Removed:   {v1alpha1.EventKeyRemoved, audit.KeyRemoved},
	keyring.Revoked:   {v1alpha1.EventKeyRevoked, audit.KeyRevoked},
}

// tell sends an event and writes a line to the log, and one to the audit log, for each step in a key's life.
func (r *TokenIssuerReconciler) tell(ctx context.Context, issuer *v1alpha1.TokenIssuer, changes []keyring.Change) {
	log := ctrl.LoggerFrom(ctx)
	for _, change := range changes {
		log.Info("key "+string(change.Kind), "keyID", change.KeyID, "reason", change.Reason)
		severity := corev1.EventTypeNormal
		if change.Kind == keyring.Revoked {
			severity = corev1.EventTypeWarning
		}
		step := steps[change.Kind]
		// Events that differ only in their note are merged into one, so the key is in the action too.
		r.Recorder.Eventf(issuer, nil, severity, step.event, string(change.Kind)+" "+change.KeyID, "Key %s: %s.", change.KeyID, change.Reason)
		r.record(issuer, step.audit, change.KeyID, change.Reason)
	}
}

func (r *TokenIssuerReconciler) record(issuer *v1alpha1.TokenIssuer, kind audit.Kind, keyID, reason string) {
	r.Audit.Record(audit.Event{
		Kind: kind, Issuer: client.ObjectKeyFromObject(issuer), IssuerURL: issuer.Spec.IssuerURL, KeyID: keyID, Reason: reason,
	})
}

// tellLost says loudly that keys are gone which have signed tokens.
func (r *TokenIssuerReconciler) tellLost(ctx context.Context, issuer *v1alpha1.TokenIssuer, seen *observation, ring *keyring.Ring) {
	name := issuers.RingSecretName(issuer.Name)
	switch {
	case seen.ring == nil && !ring.LostAt.IsZero():
		ctrl.LoggerFrom(ctx).Error(nil, "the ring had vanished and was created anew: tokens of the lost keys are refused", "secret", name)
		r.Recorder.Eventf(issuer, nil, corev1.EventTypeWarning, v1alpha1.ReasonKeysLost, "Create",
			"The Secret %s had vanished. New keys were created; tokens that the lost ones signed are refused.", name)
	case seen.keysLost:
		ctrl.LoggerFrom(ctx).Error(nil, "the ring was put back to an older state: tokens of keys that are not in it are refused", "secret", name)
		r.Recorder.Eventf(issuer, nil, corev1.EventTypeWarning, v1alpha1.ReasonKeysLost, "GoOn",
			"The Secret %s was put back to an older state. Tokens of keys that are not in it any more are refused.", name)
	}
}
