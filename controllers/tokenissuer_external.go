package controllers

import (
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/remotejwks"
)

// externalPoll is how soon the status of an issuer is looked at again whose keys have not been fetched yet.
const externalPoll = 2 * time.Second

// external gathers how the fetching of an external issuer's keys goes in this replica, the leader.
func (r *TokenIssuerReconciler) external(issuer *v1alpha1.TokenIssuer) outcome {
	now := r.Clock.Now()
	status, known := r.External.ExternalStatus(client.ObjectKeyFromObject(issuer))
	if !known {
		return outcome{remote: &remotejwks.Status{}, progress: progress{wake: now.Add(externalPoll)}}
	}
	o := outcome{remote: &status, stale: now.Sub(status.FetchedAt) >= issuer.Spec.External.MaxStaleness.Duration}
	o.wake = status.NextFetch.Add(externalPoll)
	if status.FetchedAt.IsZero() || o.wake.Before(now) {
		o.wake = now.Add(externalPoll)
	}
	return o
}
