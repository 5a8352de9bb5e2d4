package authserver

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/keyturn/keyturn/internal/issuers"
)

func callFrom(w *world, address string) *call {
	c := &call{authority: w.authority()}
	if address != "" {
		c.info.Client = netip.MustParseAddr(address)
	}
	return c
}

// TestWhoIsCountedAsOne has pairs of clients that share their number or not.
func TestWhoIsCountedAsOne(t *testing.T) {
	w := newWorld(t)
	elsewhere := w.authority()
	elsewhere.Name = types.NamespacedName{Namespace: "web", Name: "shop-2"}
	for _, test := range []struct {
		a, b string
		same bool
	}{
		{"203.0.113.9", "203.0.113.9", true},
		{"203.0.113.9", "203.0.113.10", false},
		{"203.0.113.9", "::ffff:203.0.113.9", true},
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true},
		{"2001:db8:1:2::1", "2001:db8:1:3::1", false},
		{"", "", true},
		{"", "203.0.113.9", false},
	} {
		if same := w.limits.byAddress(callFrom(w, test.a)) == w.limits.byAddress(callFrom(w, test.b)); same != test.same {
			t.Errorf("%q and %q are counted as one: %t", test.a, test.b, same)
		}
	}
	c := callFrom(w, "203.0.113.9")
	if w.limits.byAddress(c) == w.limits.byAddress(&call{authority: elsewhere, info: c.info}) {
		t.Error("two issuers share a number")
	}
}

func TestNumberInAMinute(t *testing.T) {
	for _, number := range []int32{1, 3, 30} {
		w := newWorld(t)
		c := callFrom(w, "203.0.113.9")
		key := w.limits.byAddress(c)
		count := func() int32 {
			granted := int32(0)
			for w.take(c, limitAddress, key, number) == nil {
				granted++
			}
			return granted
		}
		if got := count(); got != number {
			t.Errorf("%d at once of %d", got, number)
		}
		var got int32
		for range 60 {
			w.clock.Step(time.Second)
			got += count()
		}
		if got != number {
			t.Errorf("%d in the next minute of %d", got, number)
		}
	}
}

// TestChangedNumber holds for who is known already, in both directions.
func TestChangedNumber(t *testing.T) {
	w := newWorld(t)
	c := callFrom(w, "203.0.113.9")
	for range 10 {
		_ = w.take(c, limitAddress, 1, 10)
	}
	if w.take(c, limitAddress, 1, 10) == nil {
		t.Fatal("the number does not limit")
	}
	w.clock.Step(time.Minute)
	granted := 0
	for w.take(c, limitAddress, 1, 2) == nil {
		granted++
	}
	if granted != 2 {
		t.Errorf("%d at once after the number was lowered to 2", granted)
	}
	_ = w.take(c, limitAddress, 1, 600)
	w.clock.Step(100 * time.Millisecond)
	if w.take(c, limitAddress, 1, 600) != nil {
		t.Error("none in 100 ms after the number was raised to 10 a second")
	}
}

// TestRefusedRequestsAreNotCounted because whoever goes on trying would never get through.
func TestRefusedRequestsAreNotCounted(t *testing.T) {
	w := newWorld(t)
	c := callFrom(w, "203.0.113.9")
	for range 100 {
		_ = w.take(c, limitUser, 1, 6)
		_ = w.spent(c, limitExchange, 1, 6)
	}
	w.clock.Step(10 * time.Second)
	if w.take(c, limitUser, 1, 6) != nil {
		t.Error("the ones that were refused count")
	}
	if w.spent(c, limitExchange, 1, 6) != nil {
		t.Error("to ask whether the number is used up uses it up")
	}
}

func TestLimitersAreBounded(t *testing.T) {
	w := newWorld(t)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	c := callFrom(w, "203.0.113.9")
	for i := range 2 * maxLimiters {
		_ = w.take(c, limitUser, w.limits.key(c, fmt.Sprintf("user-%d", i)), 10)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if entries := w.limits.tables[limitUser].cache.Len(); entries != maxLimiters {
		t.Errorf("%d keys are remembered, want %d", entries, maxLimiters)
	}
	used := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("%d keys take %d KiB", maxLimiters, used>>10)
	if used > 8<<20 {
		t.Errorf("%d keys take %d bytes", maxLimiters, used)
	}
}

func TestWorkloadsThatAreRefusedAreLimited(t *testing.T) {
	w := newWorld(t)
	w.spec().RateLimits.LoginPerAddress = 2
	for range 2 {
		w.do("POST", issuers.PathSessions, `{}`, bearerJSON(strangerToken)).want(t, 401, codeInvalidToken)
	}
	w.issue(`{"subject":"carol"}`).want(t, 429, codeSlowDown)
	w.clock.Step(30 * time.Second)
	for range 5 {
		w.issue(`{"subject":"carol"}`).want(t, 201, "")
	}
	if got := w.metric("keyturn_rate_limited_total", "web/shop", "WorkloadPerAddress"); got != 1 {
		t.Errorf("%v are counted as limited", got)
	}
}
