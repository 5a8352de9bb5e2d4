package replicas

import (
	"context"
	"maps"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// Progress follows how far this replica has applied the TokenRevocations.
//
// The events of a watch come in the order of their versions, but those of a list do not, and a watch that was cut is
// followed by a list. So each object is announced when it is received, which for a list is all of it before the first
// event, and what was announced and is not in force yet bounds what is reported.
type Progress struct {
	mu sync.Mutex
	// applied is the latest version in force, by watch.
	applied map[string]string
	pending map[types.NamespacedName]string
	all     bool
	synced  bool
	// urgent holds one value while there is something that somebody waits for.
	urgent chan struct{}
	// known is closed once the others know of this replica.
	known chan struct{}
}

// NewProgress returns a Progress of a replica that watches these namespaces; none for all.
func NewProgress(namespaces []string) *Progress {
	p := &Progress{
		applied: map[string]string{}, pending: map[types.NamespacedName]string{}, all: len(namespaces) == 0,
		urgent: make(chan struct{}, 1), known: make(chan struct{}),
	}
	if p.all {
		namespaces = []string{""}
	}
	for _, namespace := range namespaces {
		p.applied[namespace] = ""
	}
	return p
}

// Received takes note of a version of a TokenRevocation that is on its way. One that is not later than what is in force
// is that itself: an unchanged object in a list, of which there will be no event.
func (p *Progress) Received(name types.NamespacedName, version string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if Later(version, p.applied[p.watch(name.Namespace)]) {
		p.pending[name] = version
	}
}

// Applied takes note that the version of a TokenRevocation is in force. It is awaited if the API does not yet say that
// the revocation is enforced; anything else may be reported with the next renewal.
func (p *Progress) Applied(name types.NamespacedName, version string, awaited bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	watch := p.watch(name.Namespace)
	if Later(version, p.applied[watch]) {
		p.applied[watch] = version
	}
	if pending, waits := p.pending[name]; waits && !Later(pending, version) {
		delete(p.pending, name)
	}
	if awaited && p.synced {
		p.wake()
	}
}

// Deleted takes note that there is no such TokenRevocation any more.
func (p *Progress) Deleted(name types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.pending, name)
}

// Synced takes note that everything is in force that the first list has brought, and waits until the others know of this
// replica; false if the context ends first. Until then it must let no token pass.
func (p *Progress) Synced(ctx context.Context) bool {
	p.mu.Lock()
	p.synced = true
	p.wake()
	p.mu.Unlock()
	select {
	case <-p.known:
		return true
	case <-ctx.Done():
		return false
	}
}

// announce takes note that the others know of this replica. Only the Reporter calls it.
func (p *Progress) announce() {
	select {
	case <-p.known:
	default:
		close(p.known)
	}
}

// watch names the watch that brings the objects of a namespace.
func (p *Progress) watch(namespace string) string {
	if p.all {
		return ""
	}
	return namespace
}

func (p *Progress) wake() {
	select {
	case p.urgent <- struct{}{}:
	default:
	}
}

// report returns what there is to report; false before Synced.
func (p *Progress) report() (Position, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	first := map[string]string{}
	for name, version := range p.pending {
		watch := p.watch(name.Namespace)
		if least, waits := first[watch]; !waits || Later(least, version) {
			first[watch] = version
		}
	}
	position := Position(maps.Clone(p.applied))
	for watch, version := range first {
		position[watch] = below + version
	}
	return position, p.synced
}
