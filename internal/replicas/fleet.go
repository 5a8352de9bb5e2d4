package replicas

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
)

// clockError is how far the clocks of two nodes may be apart.
const clockError = 10 * time.Second

// Fleet is what a replica knows of all replicas, itself among them, from their Leases. Every replica watches them, also
// while it does not lead: who becomes the leader must know since when another one is silent.
type Fleet struct {
	clock     clock.PassiveClock
	informers cache.Cache
	self      string

	mu        sync.Mutex
	members   map[string]member
	listeners map[*func()]struct{}
}

// member is a replica with a Lease.
type member struct {
	position Position
	lease    *coordinationv1.Lease
	// until is when its Lease runs out. It counts from when the renewal was seen here, not from the time in it: clocks
	// of nodes differ.
	until time.Time
	// deleted is true when there is no such Lease any more, although nobody has said that its replica is gone.
	deleted bool
}

// NewFleet returns a Fleet that has seen nobody. self is the name of this replica's own Lease, and the cache must hold
// the Leases that Selector finds.
func NewFleet(self string, informers cache.Cache, clk clock.PassiveClock) *Fleet {
	return &Fleet{
		clock: clk, informers: informers, self: self, members: map[string]member{}, listeners: map[*func()]struct{}{},
	}
}

// NeedLeaderElection says that every replica watches.
func (f *Fleet) NeedLeaderElection() bool { return false }

// Start watches until the context ends.
func (f *Fleet) Start(ctx context.Context) error {
	informer, err := f.informers.GetInformer(ctx, &coordinationv1.Lease{})
	if err != nil {
		return fmt.Errorf("watching the Leases of replicas: %w", err)
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { f.observe(object.(*coordinationv1.Lease)) },
		UpdateFunc: func(_, object any) { f.observe(object.(*coordinationv1.Lease)) },
		DeleteFunc: f.deleted,
	})
	if err != nil {
		return fmt.Errorf("watching the Leases of replicas: %w", err)
	}
	<-ctx.Done()
	return nil
}

// OnChange calls a function after each change, until the context ends. It must not wait for anything.
func (f *Fleet) OnChange(ctx context.Context, tell func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.listeners[&tell] = struct{}{}
	context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.listeners, &tell)
	})
}

// observe takes over what a Lease says, and tells who listens if it is something else than before.
func (f *Fleet) observe(lease *coordinationv1.Lease) {
	f.mu.Lock()
	changed := f.take(lease)
	listeners := slices.Collect(maps.Keys(f.listeners))
	f.mu.Unlock()
	if !changed {
		return
	}
	for _, tell := range listeners {
		(*tell)()
	}
}

// deleted keeps a replica until its Lease runs out: only a Lease without a holder says that its replica is gone.
func (f *Fleet) deleted(object any) {
	key, err := toolscache.DeletionHandlingMetaNamespaceKeyFunc(object)
	if err != nil {
		return
	}
	_, name, _ := toolscache.SplitMetaNamespaceKey(key)
	f.mu.Lock()
	defer f.mu.Unlock()
	if m, known := f.members[name]; known {
		m.deleted = true
		f.members[name] = m
	}
}

// take takes over what a Lease says, and reports whether it is something else than before. The caller holds mu.
func (f *Fleet) take(lease *coordinationv1.Lease) bool {
	maps.DeleteFunc(f.members, func(_ string, m member) bool { return m.deleted && !m.until.After(f.clock.Now()) })
	spec := lease.Spec
	before, known := f.members[lease.Name]
	if spec.RenewTime == nil || spec.LeaseDurationSeconds == nil || spec.HolderIdentity == nil || *spec.HolderIdentity == "" {
		delete(f.members, lease.Name)
		return known
	}
	if known && !before.deleted && before.lease.Spec.RenewTime.Equal(spec.RenewTime) {
		return false // an edit of something else, or the same again
	}
	position, err := decodePosition(lease.Annotations[appliedAnnotation])
	if err != nil {
		position = Position{"": ""} // one that we cannot read has applied nothing that we know of
	}
	duration := min(time.Duration(*spec.LeaseDurationSeconds)*time.Second, 2*LeaseDuration)
	until := f.clock.Now().Add(duration)
	if !known && f.clock.Since(spec.RenewTime.Time) > duration+clockError {
		until = f.clock.Now() // it has long been dead
	}
	f.members[lease.Name] = member{position: position, lease: lease, until: until}
	return !known || !maps.Equal(before.position, position)
}

// Coverage is how many of the live replicas have a version of a revocation in force.
type Coverage struct {
	Applied, Live int
	// Lagging names the others, in order.
	Lagging []string
	// Until is when the first of the others is given up, unless it is heard of before.
	Until time.Time
	// Known is false while this replica has not heard of its own Lease lately: then it does not hear of the others either.
	Known bool
}

// Coverage says which live replicas have this version of an object in the namespace in force.
func (f *Fleet) Coverage(namespace, version string) Coverage {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.clock.Now()
	own, known := f.members[f.self]
	// A watch that stalls is noticed by its own Lease, and before another one runs out.
	c := Coverage{Known: known && own.until.After(now.Add(LeaseDuration/2))}
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

// abandoned returns the Leases of replicas that nobody has heard of for a long time, by what they say themselves and by
// what was seen here.
func (f *Fleet) abandoned() []*coordinationv1.Lease {
	f.mu.Lock()
	defer f.mu.Unlock()
	var leases []*coordinationv1.Lease
	for _, m := range f.members {
		if !m.until.After(f.clock.Now()) && f.clock.Since(m.lease.Spec.RenewTime.Time) > abandonedAfter {
			leases = append(leases, m.lease)
		}
	}
	return leases
}

// forget is for a Lease that was deleted because it was abandoned.
func (f *Fleet) forget(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.members, name)
}
