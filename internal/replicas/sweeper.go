package replicas

import (
	"context"
	"time"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/utils/clock"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	sweepPeriod = time.Minute
	// abandonedAfter is how long the Lease of a dead replica is left for people to see. It is much longer than any clock
	// should be wrong.
	abandonedAfter = 10 * time.Minute
)

// Sweeper deletes the Leases of replicas that have died. It is a manager.Runnable of the leader.
type Sweeper struct {
	Leases coordinationclient.LeasesGetter
	Fleet  *Fleet
	Clock  clock.Clock
	Log    logr.Logger
}

// Start sweeps until the context ends.
func (s *Sweeper) Start(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.Clock.After(sweepPeriod):
		}
		for _, lease := range s.Fleet.abandoned() {
			s.remove(ctx, lease)
		}
	}
}

// remove deletes a Lease as it was seen: one that was renewed in between stays.
func (s *Sweeper) remove(ctx context.Context, lease *coordinationv1.Lease) {
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	err := s.Leases.Leases(lease.Namespace).Delete(ctx, lease.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &lease.UID, ResourceVersion: &lease.ResourceVersion},
	})
	if ctrlclient.IgnoreNotFound(err) != nil {
		s.Log.Error(err, "deleting the Lease of a replica that has died", "lease", lease.Name)
		return
	}
	s.Fleet.forget(lease.Name)
}
