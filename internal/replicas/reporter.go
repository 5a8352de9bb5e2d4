package replicas

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationconfig "k8s.io/client-go/applyconfigurations/coordination/v1"
	metav1config "k8s.io/client-go/applyconfigurations/meta/v1"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/utils/clock"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
)

const (
	// reportPause is between two reports, so that a thousand revocations are no thousand writes.
	reportPause = 50 * time.Millisecond
	// reportTimeout bounds one report with all its requests.
	reportTimeout = 5 * time.Second
	// retryPeriod is the pause after a failure.
	retryPeriod = 500 * time.Millisecond
	fieldOwner  = "keyturn-replica"
)

// Reporter keeps the Lease of this replica. It is a manager.Runnable of every replica.
type Reporter struct {
	Leases coordinationclient.LeasesGetter
	// Namespace and Name are those of the Lease.
	Namespace, Name string
	Progress        *Progress
	// Owner is the pod, with which the Lease goes if it cannot be deleted at the end, such as when the rights have gone
	// first. Nil outside of a pod.
	Owner *metav1config.OwnerReferenceApplyConfiguration
	// Latest asks the API server, and no cache, for the latest versions of TokenRevocations, by watch.
	Latest func(context.Context) (map[string]string, error)
	// Served is closed when this replica serves nobody any more, which is after the context of Start has ended.
	Served <-chan struct{}
	Clock  clock.Clock
	Log    logr.Logger

	// renewed is when the Lease was written last; zero before the first time.
	renewed time.Time
	failing bool
}

// NeedLeaderElection says that every replica reports.
func (r *Reporter) NeedLeaderElection() bool { return false }

// Start reports until this replica serves nobody any more, and then deletes the Lease. An API server that is away keeps
// nobody from verifying who did so before: the Lease runs out, and counts again once this replica has caught up.
func (r *Reporter) Start(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx) // until Served, not until the manager stops
	for {
		wait, urgent := renewPeriod, r.Progress.urgent
		if position, ok := r.Progress.report(); ok {
			err := r.report(ctx, position)
			r.complain(err)
			if err != nil {
				wait, urgent = retryPeriod, nil
			}
		}
		if !r.pause(reportPause, nil) || !r.pause(wait, urgent) {
			r.retire(ctx)
			return nil
		}
	}
}

// report writes the Lease. A replica that the others do not count, because it is new or its Lease has run out, first makes
// sure that it lags behind with nothing.
func (r *Reporter) report(ctx context.Context, position Position) error {
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	if r.renewed.IsZero() || r.Clock.Since(r.renewed) > LeaseDuration-renewPeriod {
		latest, err := r.Latest(ctx)
		if err != nil {
			return err
		}
		for watch, version := range latest {
			if version != "" && !position.Reached(watch, version) {
				return fmt.Errorf("%w: version %s of a TokenRevocation in namespace %q is not in force yet", errBehind, version, watch)
			}
		}
	}
	if err := r.write(ctx, r.Name, position); err != nil {
		return err
	}
	r.renewed = r.Clock.Now()
	r.Progress.announce()
	return nil
}

// errBehind is the reason not to write a Lease yet.
var errBehind = errors.New("catching up with the API server")

// complain logs the first of several failures, and their end. Catching up is none.
func (r *Reporter) complain(err error) {
	if errors.Is(err, errBehind) {
		r.Log.V(1).Info("this replica does not count yet", "lease", r.Name, "reason", err.Error())
		return
	}
	switch {
	case err != nil && !r.failing:
		r.Log.Error(err, "saying how far this replica has applied the revocations; trying on", "lease", r.Name)
	case err == nil && r.failing:
		r.Log.Info("said again how far this replica has applied the revocations", "lease", r.Name)
	}
	r.failing = err != nil
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

// write writes the Lease in one request, whether it exists or not. Without a holder it says that this replica serves nobody any more.
func (r *Reporter) write(ctx context.Context, holder string, position Position) error {
	lease := coordinationconfig.Lease(r.Name, r.Namespace).
		WithLabels(map[string]string{v1alpha1.LabelComponent: v1alpha1.ComponentReplica}).
		WithAnnotations(map[string]string{appliedAnnotation: position.encode()}).
		WithSpec(coordinationconfig.LeaseSpec().
			WithHolderIdentity(holder).
			WithLeaseDurationSeconds(int32(LeaseDuration / time.Second)).
			WithRenewTime(metav1.NewMicroTime(r.Clock.Now())))
	if r.Owner != nil {
		lease.WithOwnerReferences(r.Owner)
	}
	if _, err := r.Leases.Leases(r.Namespace).Apply(ctx, lease, metav1.ApplyOptions{FieldManager: fieldOwner, Force: true}); err != nil {
		return fmt.Errorf("writing the Lease %s/%s: %w", r.Namespace, r.Name, err)
	}
	return nil
}

// retire says that this replica serves nobody, so that nothing has to wait for it, and deletes the Lease. To delete it
// alone would say nothing: anybody may have done so.
func (r *Reporter) retire(ctx context.Context) {
	if r.renewed.IsZero() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	position, _ := r.Progress.report()
	err := r.write(ctx, "", position)
	if err == nil {
		err = r.Leases.Leases(r.Namespace).Delete(ctx, r.Name, metav1.DeleteOptions{})
	}
	if ctrlclient.IgnoreNotFound(err) != nil {
		r.Log.Info("this replica's Lease could not be deleted; it counts until its Lease has run out", "lease", r.Name, "error", err.Error())
	}
}
