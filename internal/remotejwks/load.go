package remotejwks

import (
	"context"
	"fmt"

	"k8s.io/utils/clock"
)

// Load fetches the keys of one issuer once, under the rules of a Fetcher: for those who need them seldom, so that
// nothing has to run between two of their questions. They see to it themselves that a set is not used for too long. Of
// the options the clock and the internal networks count. It takes at most 10 seconds.
func Load(ctx context.Context, source Source, options Options) (*Set, error) {
	source, options = source.withDefaults(), options.withDefaults()
	r := newReader(source, options)
	defer r.close()
	ctx, cancel := withTimeout(ctx, options.Clock)
	defer cancel()
	now := options.Clock.Now()
	body, _, err := r.read(ctx, now)
	if err != nil {
		return nil, err
	}
	keys, skipped, err := parseSet(body, source)
	if err != nil {
		return nil, fmt.Errorf("reading the keys of the issuer %s: %w", quoted(source.IssuerURL), err)
	}
	return newSet(keys, skipped, now, source.MaxStaleness), nil
}

// withTimeout is context.WithTimeout with fetchTimeout, on the injected clock.
func withTimeout(ctx context.Context, clk clock.Clock) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := clk.NewTimer(fetchTimeout)
	go func() {
		defer timer.Stop()
		select {
		case <-timer.C():
			cancel(errTimeout)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}
