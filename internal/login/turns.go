package login

import (
	"context"
	"fmt"
	"time"

	"k8s.io/utils/clock"
)

// maxWait is how long anybody waits for his turn. Whoever would wait longer does better to ask again.
const maxWait = time.Second

// turns keeps expensive work from being done too often at once.
type turns struct {
	clock clock.Clock
	taken chan struct{}
}

func newTurns(clk clock.Clock, atOnce int) *turns {
	return &turns{clock: clk, taken: make(chan struct{}, atOnce)}
}

// take waits for a turn, which is given back with give. The errors are ErrBusy and ErrUnavailable.
func (t *turns) take(ctx context.Context) error {
	select {
	case t.taken <- struct{}{}:
		return nil
	default:
	}
	timer := t.clock.NewTimer(maxWait)
	defer timer.Stop()
	select {
	case t.taken <- struct{}{}:
		return nil
	case <-timer.C():
		return fmt.Errorf("%w: %d others are, and none ended within %s", ErrBusy, cap(t.taken), maxWait)
	case <-ctx.Done():
		return fmt.Errorf("%w: the request ended while it waited for its turn: %w", ErrUnavailable, context.Cause(ctx))
	}
}

func (t *turns) give() { <-t.taken }
