package replicas

import (
	"context"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationconfig "k8s.io/client-go/applyconfigurations/coordination/v1"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/utils/clock"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
)

const (
	// reportPause is between two reports, so that a thousand revocations are no thousand writes.
	reportPause = 50 * time.Millisecond
	// reportTimeout bounds one request.
	reportTimeout = 5 * time.Second
	fieldOwner    = "keyturn-replica"
)

// Reporter keeps the Lease of this replica. It is a manager.Runnable of every replica.
type Reporter struct {
	Leases coordinationclient.LeasesGetter
	// Namespace and Name are those of the Lease.
	Namespace, Name string
	Progress        *Progress
	// Served is closed when this replica serves nobody any more, which is after the context of Start has ended.
	Served <-chan struct{}
	Clock  clock.Clock
	Log    logr.Logger
}

// NeedLeaderElection says that every replica reports.
func (r *Reporter) NeedLeaderElection() bool { return false }

// Start reports until this replica serves nobody any more, and then deletes the Lease. An API server that is away keeps
// nobody from verifying: the Lease runs out, and is renewed when it is back.
func (r *Reporter) Start(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx) // until Served, not until the manager stops
	failing := false
	for {
		wait := renewPeriod
		if position, ok := r.Progress.report(); ok {
			err := r.renew(ctx, position)
			switch {
			case err != nil && !failing:
				r.Log.Error(err, "saying how far this replica has applied the revocations; trying on", "lease", r.Name)
			case err == nil && failing:
				r.Log.Info("said again how far this replica has applied the revocations", "lease", r.Name)
			}
			if failing = err != nil; failing {
				wait = time.Second
			}
		}
		if !r.pause(reportPause, nil) || !r.pause(wait, r.Progress.urgent) {
			r.retire(ctx)
			return nil
		}
	}
}

// pause waits, or until it is woken; false if nobody is served any more.
func (r *Reporter) pause(wait time.Duration, urgent <-chan struct{}) bool {
	timer := r.Clock.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-r.Served:
		return false
	case <-urgent:
	case <-timer.C():
	}
	return true
}

// renew writes the Lease in one request, whether it exists or not.
func (r *Reporter) renew(ctx context.Context, position Position) error {
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	lease := coordinationconfig.Lease(r.Name, r.Namespace).
		WithLabels(map[string]string{v1alpha1.LabelComponent: v1alpha1.ComponentReplica}).
		WithAnnotations(map[string]string{appliedAnnotation: position.encode()}).
		WithSpec(coordinationconfig.LeaseSpec().
			WithHolderIdentity(r.Name).
			WithLeaseDurationSeconds(int32(LeaseDuration / time.Second)).
			WithRenewTime(metav1.NewMicroTime(r.Clock.Now())))
	if _, err := r.Leases.Leases(r.Namespace).Apply(ctx, lease, metav1.ApplyOptions{FieldManager: fieldOwner, Force: true}); err != nil {
		return fmt.Errorf("writing the Lease %s/%s: %w", r.Namespace, r.Name, err)
	}
	return nil
}

// retire deletes the Lease: nothing has to wait for a replica that serves nobody.
func (r *Reporter) retire(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	err := r.Leases.Leases(r.Namespace).Delete(ctx, r.Name, metav1.DeleteOptions{})
	if ctrlclient.IgnoreNotFound(err) != nil {
		r.Log.Info("this replica's Lease could not be deleted; it counts until its Lease has run out", "lease", r.Name, "error", err.Error())
	}
}
