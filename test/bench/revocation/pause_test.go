package revocation

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/revocation"
)

// load is what is written while somebody reads.
type load struct {
	name string
	// there are so many rules before, and then so many are put and removed again.
	there, written int
	// batch is after how many rules the writer waits for a moment. 0: never.
	batch int
	// elsewhere says that it is written to a store that nobody reads.
	elsewhere bool
}

func loads() []load {
	flood := load{name: "flood", written: size()}
	// The index doubles its directory with 786,432 rules, of its chunks of 48, which is in between.
	feed := load{name: "feed", there: size() * 3 / 4, written: size() / 16, batch: 100}
	floodElsewhere, feedElsewhere := flood, feed
	floodElsewhere.name, floodElsewhere.elsewhere = "flood-elsewhere", true
	feedElsewhere.name, feedElsewhere.elsewhere = "feed-elsewhere", true
	return []load{{name: "idle"}, flood, floodElsewhere, feed, feedElsewhere}
}

// BenchmarkPause is how long look-ups take while rules come and go, for the six facts of a good token and back to back:
//
//	idle   nothing comes
//	flood  a million rules are put and removed as fast as possible, by a goroutine that never waits
//	feed   some are put beside most of a million, and removed, as a watch brings them: a hundred, and then a moment nothing
//
// On one processor a flood is a matter of the scheduler, which lets a goroutine run for 10 ms. So each is measured
// "elsewhere" too, where the same is written to a store that nobody reads. What that does to readers is the work of the
// scheduler, the garbage collector and other programs; the rest is that of the store.
func BenchmarkPause(b *testing.B) {
	before := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(before)
	for _, processors := range []int{1, 2} {
		for _, load := range loads() {
			for _, compared := range stores {
				if compared.name != "keyturn" && load.name != "feed" {
					continue
				}
				b.Run(fmt.Sprintf("%s/processors=%d/%s", load.name, processors, compared.name), func(b *testing.B) {
					runtime.GOMAXPROCS(processors)
					benchmarkPause(b, compared.empty, load)
				})
			}
		}
	}
}

func benchmarkPause(b *testing.B, empty func() store, load load) {
	read := empty()
	fill(read, 0, load.there)
	written := read
	if load.elsewhere {
		written = empty()
		fill(written, 0, load.there)
	}
	tokens := make([]*revocation.Facts, 1024)
	for i := range tokens {
		tokens[i] = good(i)
	}
	reads := newDurations()
	for b.Loop() {
		runtime.GC()
		var done atomic.Bool
		go func() {
			defer done.Store(true)
			load.write(written)
		}()
		start := time.Now()
		for i := 0; !done.Load(); i++ {
			if read.denies(tokens[i%len(tokens)]) {
				b.Error("a good token is denied")
			}
			// One begins when the last one ends, so that no pause is missed.
			end := time.Now()
			reads.add(b, end.Sub(start))
			start = end
		}
	}
	b.ReportMetric(0, "ns/op") // It would be that of all changes together.
	reads.report(b, "read")
}

func (l load) write(s store) {
	if l.written == 0 {
		time.Sleep(time.Second)
	}
	for _, change := range []func(revocation.Rule){s.put, s.remove} {
		for i := range l.written {
			change(rule(l.there + i))
			if l.batch > 0 && i%l.batch == l.batch-1 {
				time.Sleep(time.Millisecond)
			}
		}
	}
}
