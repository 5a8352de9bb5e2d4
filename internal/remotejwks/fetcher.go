// Package remotejwks fetches the public keys of an issuer that is somebody else's: ahead of need, once more for an unknown
// key id, over https only, and never from an internal address unless that is allowed. What it fetched last goes on
// being used, for a stated time, when fetching fails.
package remotejwks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"

	"github.com/keyturn/keyturn/internal/token"
)

// fetchTimeout bounds one fetch, discovery and redirects included.
const fetchTimeout = 10 * time.Second

// errTimeout is the reason of a fetch that was given up.
var errTimeout = fmt.Errorf("no complete answer within %s", fetchTimeout)

// Fetcher keeps the keys of one issuer fresh while Run runs. Its other methods are safe for concurrent use.
type Fetcher struct {
	source   Source
	clock    clock.Clock
	logger   logr.Logger
	onChange func(*Set)
	chance   func() float64
	reader   *reader

	current atomic.Pointer[Set]
	// asked wakes Run for a flight that Refetch has begun.
	asked chan struct{}

	mu      sync.Mutex
	running bool
	// flight is the fetch that is under way or asked for; nil between fetches.
	flight  *flight
	waiters int
	// landed is when the last fetch ended.
	landed    time.Time
	nextFetch time.Time
	lastError string

	// These belong to Run.
	failures      int
	reportedStale bool
}

// Status is what is known of the fetching, for the status of a TokenIssuer.
type Status struct {
	// FetchedAt is when the keys in use were fetched; zero before the first success.
	FetchedAt time.Time
	// NextFetch is when they are fetched next, if nothing asks for it earlier; zero before Run.
	NextFetch time.Time
	// LastError is why the last fetch failed, in at most 1024 bytes; empty when it succeeded.
	LastError string
	// Keys are the keys in use, by id.
	Keys []*token.Key
	// Skipped has one sentence for each published key that cannot be used.
	Skipped []string
}

// New returns a fetcher that has not fetched yet. A source that can never work, such as one with a broken CA bundle, is
// reported by Status like any other failure.
func New(source Source, options Options) *Fetcher {
	source, options = source.withDefaults(), options.withDefaults()
	f := &Fetcher{
		source:   source,
		clock:    options.Clock,
		logger:   options.Logger,
		onChange: options.OnChange,
		chance:   rand.Float64,
		reader:   newReader(source, options),
		asked:    make(chan struct{}, 1),
	}
	set := adopt(options.Previous, source)
	f.current.Store(set)
	f.reportedStale = set.Stale(f.clock.Now())
	return f
}

// Current returns the last good set. It is never nil: before the first success it is empty and stale.
func (f *Fetcher) Current() *Set {
	return f.current.Load()
}

// Status returns what is known now.
func (f *Fetcher) Status() Status {
	set := f.Current()
	f.mu.Lock()
	defer f.mu.Unlock()
	return Status{
		FetchedAt: set.FetchedAt,
		NextFetch: f.nextFetch,
		LastError: f.lastError,
		Keys:      slices.SortedFunc(maps.Values(set.Keys), func(a, b *token.Key) int { return cmp.Compare(a.ID, b.ID) }),
		Skipped:   set.Skipped,
	}
}

// Run fetches at once and then ahead of need until the context ends. It is called once.
func (f *Fetcher) Run(ctx context.Context) {
	f.open()
	defer f.shut()
	results := make(chan result, 1)
	fetching := false
	for {
		f.report(false)
		if !fetching && f.due() {
			fetching = true
			f.depart()
			go func() { results <- f.fetch(ctx) }()
		}
		timer := f.clock.NewTimer(f.untilNextEvent(fetching))
		select {
		case <-timer.C():
		case <-f.asked:
		case fetched := <-results:
			fetching = false
			if ctx.Err() == nil {
				f.finish(fetched)
			}
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			if fetching {
				<-results // the context has ended it
			}
			return
		}
	}
}

// result is the outcome of one fetch.
type result struct {
	startedAt time.Time
	keys      map[string]*token.Key
	skipped   []string
	maxAge    time.Duration
	err       error
}

// fetch does the reading. It changes nothing but the reader.
func (f *Fetcher) fetch(ctx context.Context) result {
	ctx, cancel := withTimeout(ctx, f.clock)
	defer cancel()
	now := f.clock.Now()
	body, header, err := f.reader.read(ctx, now)
	if err != nil {
		f.reader.forget()
		return result{startedAt: now, err: err}
	}
	keys, skipped, err := parseSet(body, f.source)
	if err != nil {
		f.reader.forget()
	}
	return result{startedAt: now, keys: keys, skipped: skipped, maxAge: maxAge(header), err: err}
}

// finish applies a result, tells OnChange, and only then lets the waiting calls of Refetch go on.
func (f *Fetcher) finish(r result) {
	changed := false
	if r.err != nil {
		f.failed(r.err)
	} else {
		changed = f.succeeded(r)
	}
	f.report(changed)
	f.land()
}

func (f *Fetcher) failed(err error) {
	f.failures++
	message := shortened(err)
	next := f.clock.Now().Add(retryAfter(f.failures, f.chance()))
	f.mu.Lock()
	repeated := f.lastError == message
	f.nextFetch, f.lastError = next, message
	f.mu.Unlock()
	if !repeated { // it may fail every second, for days
		f.logger.Error(errors.New(message), "Fetching the keys of an external issuer failed; the last good ones stay in use",
			"issuerURL", f.source.IssuerURL, "fetchedAt", f.Current().FetchedAt)
	}
}

func (f *Fetcher) succeeded(r result) (changed bool) {
	f.failures = 0
	before := f.Current()
	keys, changed := keepPointers(before.Keys, r.keys)
	f.current.Store(newSet(keys, r.skipped, r.startedAt, f.source.MaxStaleness))
	next := f.clock.Now().Add(refreshAfter(f.source, r.maxAge, f.chance()))
	f.mu.Lock()
	f.nextFetch, f.lastError = next, ""
	f.mu.Unlock()
	if changed || !slices.Equal(before.Skipped, r.skipped) {
		f.logger.Info("The keys of an external issuer changed", "issuerURL", f.source.IssuerURL,
			"keys", slices.Sorted(maps.Keys(keys)), "skipped", r.skipped)
	}
	return changed
}

// report calls OnChange when the keys changed or the set turned stale or fresh.
func (f *Fetcher) report(changed bool) {
	set := f.Current()
	stale := set.Stale(f.clock.Now())
	if !changed && stale == f.reportedStale {
		return
	}
	if stale && !f.reportedStale {
		f.logger.Info("The keys of an external issuer are too old: its tokens are denied until they can be fetched",
			"issuerURL", f.source.IssuerURL, "fetchedAt", set.FetchedAt, "maxStaleness", f.source.MaxStaleness.String())
	}
	f.reportedStale = stale
	f.onChange(set)
}

// untilNextEvent is how long Run has nothing to do on its own account.
func (f *Fetcher) untilNextEvent(fetching bool) time.Duration {
	const idle = time.Hour
	now := f.clock.Now()
	wait := idle
	if !f.reportedStale {
		wait = min(wait, f.Current().staleAt.Sub(now))
	}
	if !fetching {
		f.mu.Lock()
		wait = min(wait, f.nextFetch.Sub(now))
		f.mu.Unlock()
	}
	return wait
}

// shortened is the error in one line that fits a status.
func shortened(err error) string {
	const most = 1024
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most-3], "") + "..."
	}
	return text
}
