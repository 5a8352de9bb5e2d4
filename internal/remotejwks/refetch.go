package remotejwks

import (
	"context"
	"time"
)

const (
	// refetchWait is how long a call of Refetch waits at most.
	refetchWait = 2 * time.Second
	// refetchPause is the least time from the end of one fetch to the beginning of one that Refetch asks for. Anybody can
	// send tokens with key ids of his invention: this is all that they cost the issuer.
	refetchPause = time.Second
	// maxWaiters is how many calls may wait at a time. More would be a flood, and each holds a connection of ours.
	maxWaiters = 100
)

// flight is one fetch that any number of calls wait for.
type flight struct {
	// landed is closed when the fetch has ended and its result is applied.
	landed chan struct{}
}

// Refetch fetches the keys because a token names one that is not in the current set, and returns the set after that. All
// calls share one fetch. It waits for 2 seconds at most, and within the context; it returns the current set at once when
// that has the key by now, within a second of the last fetch, when 100 calls are waiting, and while Run does not run.
func (f *Fetcher) Refetch(ctx context.Context, keyID string) *Set {
	flight := f.board(keyID)
	if flight == nil {
		return f.Current()
	}
	defer f.leave()
	timer := f.clock.NewTimer(refetchWait)
	defer timer.Stop()
	select {
	case <-flight.landed:
	case <-timer.C():
	case <-ctx.Done():
	}
	return f.Current()
}

// board returns the flight to wait for, and asks Run to begin it if it is new; nil when there is nothing to wait for.
func (f *Fetcher) board(keyID string) *flight {
	now := f.clock.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	set := f.Current()
	if _, known := set.Keys[keyID]; known && !set.Stale(now) {
		return nil
	}
	if !f.running || f.waiters >= maxWaiters {
		return nil
	}
	if f.flight == nil {
		if now.Sub(f.landed) < refetchPause {
			return nil
		}
		f.flight = &flight{landed: make(chan struct{})}
		select {
		case f.asked <- struct{}{}:
		default: // Run has not yet looked at the last one, and will see this
		}
	}
	f.waiters++
	return f.flight
}

func (f *Fetcher) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiters--
}

// due says whether a fetch must begin now.
func (f *Fetcher) due() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.flight != nil || !f.clock.Now().Before(f.nextFetch)
}

// depart gives a fetch that nobody asked for its flight, so that calls of Refetch can wait for it.
func (f *Fetcher) depart() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.flight == nil {
		f.flight = &flight{landed: make(chan struct{})}
	}
}

// land ends the flight and lets those who wait for it go on.
func (f *Fetcher) land() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.flight != nil {
		close(f.flight.landed)
		f.flight = nil
	}
	f.landed = f.clock.Now()
}

func (f *Fetcher) open() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running = true
}

// shut leaves nobody waiting for a fetch that will never be.
func (f *Fetcher) shut() {
	f.mu.Lock()
	f.running = false
	f.mu.Unlock()
	f.land()
	f.reader.close()
}
