package server

import (
	"runtime"
	"strconv"
	"sync"
	"testing"

	"github.com/keyturn/keyturn/internal/token"
)

func TestCopyOnWriteCreatesOnce(t *testing.T) {
	var m copyOnWrite[int, *int]
	const readers, keys = 8, 100
	var got [readers][keys]*int
	var all sync.WaitGroup
	for reader := range readers {
		all.Go(func() {
			for key := range keys {
				got[reader][key] = m.get(key, func() *int { return new(int) })
			}
		})
	}
	all.Wait()
	for key := range keys {
		for reader := range readers {
			if got[reader][key] != got[0][key] {
				t.Fatalf("two got different values of key %d", key)
			}
		}
	}
	m.remove(1)
	if m.get(1, func() *int { return new(int) }) == got[0][1] {
		t.Error("a removed value came back")
	}
	if m.get(2, func() *int { return new(int) }) != got[0][2] {
		t.Error("another one was removed too")
	}
}

// Anybody can name every issuer, with every reason that comes before the signature. It costs the square of the issuers, as
// little of each as there is, and not that of all counters.
func TestCountersOfManyIssuersAreCheapToAdd(t *testing.T) {
	const issuers, reasons, atMost = 1000, 10, 100 << 20
	m := newMetrics()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for issuer := range issuers {
		for reason := range reasons {
			m.verified(&token.Issuer{Namespace: "shop", Name: strconv.Itoa(issuer)}, token.Reason(strconv.Itoa(reason)))
		}
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > atMost {
		t.Errorf("%d MiB were allocated, want at most %d", got>>20, atMost>>20)
	} else {
		t.Logf("%d MiB were allocated", got>>20)
	}
}
