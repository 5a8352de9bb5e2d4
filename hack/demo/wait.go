package main

import (
	"context"
	"fmt"
	"time"
)

// stepPoll is how often is looked whether something has happened that no command waits for.
const stepPoll = 50 * time.Millisecond

// patience bounds every wait of the story. Each takes seconds at most. It is also that of kubectl wait.
const patience = 30 * time.Second

// eventually polls for as long as the story has patience.
func eventually(ctx context.Context, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return poll(ctx, stepPoll, done)
}

// poll asks until the answer is true, an error comes, or the context ends.
func poll(ctx context.Context, interval time.Duration, done func() (bool, error)) error {
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting in vain: %w", context.Cause(ctx))
		case <-time.After(interval):
		}
	}
}

// nextSecond waits until the clock shows another second than that of the moment given. Tokens and objects carry whole
// seconds, and a token of the same second as a revocation counts as issued after it.
func nextSecond(ctx context.Context, moment time.Time) error {
	return poll(ctx, stepPoll, func() (bool, error) { return time.Now().Unix() > moment.Unix(), nil })
}
