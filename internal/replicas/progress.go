package replicas

import (
	"maps"
	"sync"
)

// Progress follows how far this replica has applied the TokenRevocations.
type Progress struct {
	mu       sync.Mutex
	position Position
	all      bool
	synced   bool
	// urgent holds one value while there is something that somebody waits for.
	urgent chan struct{}
}

// NewProgress returns a Progress of a replica that watches these namespaces; none for all.
func NewProgress(namespaces []string) *Progress {
	p := &Progress{position: Position{}, all: len(namespaces) == 0, urgent: make(chan struct{}, 1)}
	if p.all {
		namespaces = []string{""}
	}
	for _, namespace := range namespaces {
		p.position[namespace] = ""
	}
	return p
}

// Applied takes note that the version of a TokenRevocation is in force. It is awaited if the API does not yet say that
// the revocation is enforced; anything else may be reported with the next renewal.
func (p *Progress) Applied(namespace, version string, awaited bool) {
	if p.all {
		namespace = ""
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.position.advance(namespace, version)
	if awaited && p.synced {
		p.wake()
	}
}

// Synced takes note that everything is in force that the API server knew at the start. Nothing is reported before: the
// first list comes in no order, and until then every token is denied anyway.
func (p *Progress) Synced() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.synced = true
	p.wake()
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
	return maps.Clone(p.position), p.synced
}
