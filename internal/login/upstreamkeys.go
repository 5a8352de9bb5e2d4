package login

import (
	"context"
	"fmt"
	"time"

	"k8s.io/utils/clock"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/remotejwks"
)

const (
	// keysLifetime is how long the keys of an upstream are used without looking for others: a key that it has withdrawn is
	// accepted for no longer.
	keysLifetime = 10 * time.Minute
	// keysStaleness is how long they are used when looking fails.
	keysStaleness = time.Hour
	// keysPause is how long after the end of one fetch the next one does not begin: not for keys that nobody has, nor
	// because the last one failed.
	keysPause = 5 * time.Second
	// keysMemory bounds, in bytes, the keys that are kept, and keySetBytes and keyBytes are about what they take.
	keysMemory  = 32 << 20
	keySetBytes = 4 << 10
	keyBytes    = 2 << 10
)

// upstreamKeys fetches the keys of upstreams when they are needed, and keeps them.
type upstreamKeys struct {
	options UpstreamOptions
	clock   clock.Clock
	kept    *memory[*fetchedKeys]
}

// fetchedKeys is what is known of the keys of one upstream. It is immutable.
type fetchedKeys struct {
	// set is what the last good fetch brought. Nil before there was one.
	set *remotejwks.Set
	// err is why the last fetch failed. Nil if it did not.
	err error
	// triedAt is when the last fetch ended.
	triedAt time.Time
}

func newUpstreamKeys(options UpstreamOptions) *upstreamKeys {
	return &upstreamKeys{options: options, clock: options.Clock, kept: newMemory(keysMemory, (*fetchedKeys).weight)}
}

// get returns the keys of an upstream, with the one of this id if it has such a key.
func (k *upstreamKeys) get(ctx context.Context, spec *v1alpha1.UpstreamLogin, keyID string) (*remotejwks.Set, error) {
	now := k.clock.Now()
	good := func(known *fetchedKeys) bool {
		return known.has(keyID, now) || now.Sub(known.triedAt) < keysPause
	}
	// Another CA bundle is another server, as far as one can know.
	known, err := k.kept.ask(ctx, digest(spec.IssuerURL, spec.CABundle), good,
		func(ctx context.Context, before *fetchedKeys) *fetchedKeys { return k.fetch(ctx, spec, before) })
	if err != nil {
		return nil, fmt.Errorf("waiting for the keys of the upstream issuer %s: %w", spec.IssuerURL, err)
	}
	if known.set == nil || known.set.Stale(k.clock.Now()) {
		return nil, fmt.Errorf("%w: fetching the keys of the upstream issuer %s: %w",
			ErrUnavailable, spec.IssuerURL, known.err)
	}
	return known.set, nil
}

// fetch looks for the keys anew. What was known before stays if that fails.
func (k *upstreamKeys) fetch(ctx context.Context, spec *v1alpha1.UpstreamLogin, before *fetchedKeys) *fetchedKeys {
	source := remotejwks.Source{
		IssuerURL: spec.IssuerURL, CABundle: spec.CABundle, Upstream: true,
		Algorithms: upstreamAlgorithms, MaxStaleness: keysStaleness,
	}
	options := remotejwks.Options{Clock: k.clock, AllowedInternal: k.options.AllowedInternal}
	set, err := remotejwks.Load(ctx, source, options)
	if err != nil && before != nil {
		set = before.set
	}
	return &fetchedKeys{set: set, err: err, triedAt: k.clock.Now()}
}

// has reports whether the key is there and young enough to be used without looking.
func (f *fetchedKeys) has(keyID string, now time.Time) bool {
	return f.set != nil && f.set.Keys[keyID] != nil && now.Sub(f.set.FetchedAt) < keysLifetime
}

func (f *fetchedKeys) weight() uint32 {
	weight := keySetBytes
	if f.set != nil {
		weight += len(f.set.Keys) * keyBytes // at most 100 keys
	}
	return uint32(weight)
}
