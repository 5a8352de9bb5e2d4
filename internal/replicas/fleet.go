package replicas

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
)

// Fleet is what the leader knows of the replicas, itself among them.
type Fleet struct {
	clock clock.PassiveClock
	self  string

	mu      sync.Mutex
	members map[string]member
}

// member is a replica with a Lease.
type member struct {
	position Position
	renewed  metav1.MicroTime
	// until is when its Lease runs out. It counts from when the renewal was seen here, not from the time in it: clocks
	// of nodes differ.
	until time.Time
}

// NewFleet returns a Fleet that has seen nobody. self is the name of this replica's own Lease.
func NewFleet(self string, clk clock.PassiveClock) *Fleet {
	return &Fleet{clock: clk, self: self, members: map[string]member{}}
}

// Change is what a Lease says that was not known before.
type Change int

// Changes. Joined also is a replica that comes back after it was given up.
const (
	Unchanged Change = iota
	Progressed
	Joined
)

// Observe takes over what a Lease says.
func (f *Fleet) Observe(lease *coordinationv1.Lease) Change {
	position, err := positionOf(lease)
	if err != nil {
		position = Position{"": ""} // one that we cannot read has applied nothing that we know of
	}
	spec := lease.Spec
	if spec.RenewTime == nil || spec.LeaseDurationSeconds == nil {
		return Unchanged
	}
	duration := min(time.Duration(*spec.LeaseDurationSeconds)*time.Second, 2*LeaseDuration)
	f.mu.Lock()
	defer f.mu.Unlock()
	before, known := f.members[lease.Name]
	if known && before.renewed.Equal(spec.RenewTime) {
		return Unchanged // an edit of something else, or the same again
	}
	now := f.clock.Now()
	f.members[lease.Name] = member{position: position, renewed: *spec.RenewTime, until: now.Add(duration)}
	switch {
	case !known || !before.until.After(now):
		return Joined
	case !maps.Equal(before.position, position):
		return Progressed
	default:
		return Unchanged
	}
}

// Forget is for a Lease that was deleted: its replica serves nobody any more.
func (f *Fleet) Forget(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.members, name)
}

// Coverage is how many of the live replicas have a version of a revocation in force.
type Coverage struct {
	Applied, Live int
	// Lagging names the others, in order.
	Lagging []string
	// Until is when the first of the others is given up, unless it is heard of before.
	Until time.Time
	// Known is false while this replica's own Lease has not been seen: then nothing can be said of the others either.
	Known bool
}

// Coverage says which live replicas have this version of an object in the namespace in force.
func (f *Fleet) Coverage(namespace, version string) Coverage {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.clock.Now()
	own, known := f.members[f.self]
	c := Coverage{Known: known && own.until.After(now)}
	for name, m := range f.members {
		if !m.until.After(now) {
			continue
		}
		c.Live++
		if m.position.Reached(namespace, version) {
			c.Applied++
			continue
		}
		c.Lagging = append(c.Lagging, name)
		if c.Until.IsZero() || m.until.Before(c.Until) {
			c.Until = m.until
		}
	}
	slices.SortFunc(c.Lagging, strings.Compare)
	return c
}

// abandoned names the replicas that nobody has heard of for a long time.
func (f *Fleet) abandoned(since time.Duration) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var names []string
	for name, m := range f.members {
		if f.clock.Since(m.until) > since {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
