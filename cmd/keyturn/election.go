package main

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/client-go/tools/leaderelection"
)

// election holds the timings of the leader election. They trade how soon another replica takes over against how many
// requests the Lease costs, and how long an absence of the API server the leader outlasts.
type election struct {
	leaseDuration, renewDeadline, retryPeriod time.Duration
}

func (e *election) bind(flags *pflag.FlagSet) {
	flags.DurationVar(&e.leaseDuration, "leader-election-lease-duration", 15*time.Second,
		"how long after its last sign of life a leader is given up by the others, in whole seconds")
	flags.DurationVar(&e.renewDeadline, "leader-election-renew-deadline", 10*time.Second,
		"how long a leader tries to renew its Lease before it stops the controllers; less than the lease duration")
	flags.DurationVar(&e.retryPeriod, "leader-election-retry-period", 2*time.Second,
		"the pause between two tries to get or renew the Lease; at most 5/6 of the renew deadline")
}

// check refuses timings with which no replica could ever be elected, or two could lead at the same time. The election
// itself would refuse them too, but only after the start, and then again and again.
func (e *election) check() error {
	switch {
	case e.leaseDuration <= 0 || e.leaseDuration%time.Second != 0:
		// A fraction would be cut off in the Lease, and the others would take over earlier than this replica believes.
		return fmt.Errorf("--leader-election-lease-duration: %s cannot be written into a Lease: set whole seconds, such as "+
			"15s", e.leaseDuration)
	case e.renewDeadline >= e.leaseDuration:
		return fmt.Errorf("--leader-election-renew-deadline: %s is not less than the lease duration of %s: another replica "+
			"would lead before this one has stopped", e.renewDeadline, e.leaseDuration)
	case e.retryPeriod <= 0:
		return fmt.Errorf("--leader-election-retry-period: %s is not a pause: set more than 0", e.retryPeriod)
	case float64(e.renewDeadline) <= leaderelection.JitterFactor*float64(e.retryPeriod):
		return fmt.Errorf("--leader-election-retry-period: %s, which varies by a factor of %.1f, leaves no time for a second "+
			"try within the renew deadline of %s: set it lower", e.retryPeriod, leaderelection.JitterFactor, e.renewDeadline)
	}
	return nil
}
