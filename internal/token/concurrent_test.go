package token

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// changing is a directory whose one issuer is replaced while it is read, as the registry does.
type changing struct{ issuer atomic.Pointer[Issuer] }

func (c *changing) Synced() bool         { return true }
func (c *changing) ByURL(string) *Issuer { return c.issuer.Load() }

// However requests and changes interleave, a request sees one snapshot: the token is good in each of them, so that it
// is always allowed, and with a key of the very snapshot that the result names.
func TestConcurrentRequestsSeeWholeSnapshots(t *testing.T) {
	w := newWorld()
	directory := &changing{}
	directory.issuer.Store(w.issuer)
	v := NewVerifier(directory, w.clock, Options{MaxEntries: 2})
	raws := tokens(t, 4)

	var stop atomic.Bool
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for i := 0; !stop.Load(); i++ {
				result := v.Verify(raws[i%len(raws)], Want{})
				if !result.Allowed() || result.Claims.Subject != "alice" || result.Issuer.Keys["HS256"] == nil {
					t.Errorf("Reason = %s, want %s", result.Reason, Allowed)
					return
				}
			}
		})
	}
	for range 500 {
		w.change(func(i *Issuer) { i.Keys["HS256"] = newKey(jose.HS256) })
		directory.issuer.Store(w.issuer)
		v.Verify(raws[0], Want{})
	}
	stop.Store(true)
	readers.Wait()
}
