package replicas

import (
	"context"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/utils/clock"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	sweepPeriod = time.Minute
	// abandonedAfter is how long the Lease of a dead replica is left for people to see.
	abandonedAfter = 10 * time.Minute
)

// Sweeper deletes the Leases of replicas that have died. It is a manager.Runnable of the leader.
type Sweeper struct {
	Leases    coordinationclient.LeasesGetter
	Namespace string
	Fleet     *Fleet
	Clock     clock.Clock
	Log       logr.Logger
}

// Start sweeps until the context ends.
func (s *Sweeper) Start(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.Clock.After(sweepPeriod):
		}
		for _, name := range s.Fleet.abandoned(abandonedAfter) {
			s.remove(ctx, name)
		}
	}
}

func (s *Sweeper) remove(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	err := s.Leases.Leases(s.Namespace).Delete(ctx, name, metav1.DeleteOptions{})
	if ctrlclient.IgnoreNotFound(err) != nil {
		s.Log.Error(err, "deleting the Lease of a replica that has died", "lease", name)
		return
	}
	s.Fleet.Forget(name)
}
