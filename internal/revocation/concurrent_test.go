package revocation

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A rule that stays is seen by every reader, however much is written around it: while the table grows, while rules for
// the same target come and go, and while the rule itself is replaced.
func TestReadersNeverMissARule(t *testing.T) {
	index := NewIndex()
	stays := Rule{ID: "stays", Kind: Subject, Value: "alice", IssuedBefore: noon}
	index.Put(stays)
	index.Put(Rule{ID: "key", Kind: KeyID, Value: "kid-1"})

	var stop atomic.Bool
	var readers, writers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			token := Facts{Subject: "alice", IssuedAt: noon.Add(-time.Second)}
			newer := Facts{Subject: "bob", IssuedAt: noon}
			for !stop.Load() {
				if _, denied := index.Match(&token); !denied {
					t.Error("a reader missed a rule for the subject")
					return
				}
				if _, denied := index.Match(&newer); denied {
					t.Error("a reader saw a rule that nobody wrote")
					return
				}
				if !index.KeyRevoked("kid-1") {
					t.Error("a reader missed a rule for the key")
					return
				}
			}
		})
	}
	for writer := range 2 {
		writers.Go(func() {
			for i := range 2000 {
				id := fmt.Sprintf("%d-%d", writer, i)
				passing := Rule{ID: id, Kind: Subject, Value: "alice", IssuedBefore: noon.Add(time.Duration(i))}
				index.Put(passing)
				index.Put(Rule{ID: id, Kind: TokenID, Value: id})
				index.Put(stays)
				index.Delete(passing)
				if i%2 == 0 {
					index.Delete(Rule{ID: id, Kind: TokenID, Value: id})
				}
			}
		})
	}
	writers.Wait()
	stop.Store(true)
	readers.Wait()
	if got, want := index.Len(), 2+2*1000; got != want {
		t.Errorf("Len() = %d, want %d", got, want)
	}
}

// Every rule that is in force is seen by every reader while the table grows, chunk by chunk, to many times its size.
func TestReadersNeverMissARuleWhileTheTableGrows(t *testing.T) {
	const rules = 200 * chunkSize
	rule := func(i int) Rule { return Rule{ID: "r", Kind: KeyID, Value: strconv.Itoa(i)} }
	index := NewIndex()
	var inForce atomic.Int64
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for inForce.Load() < rules {
				known := int(inForce.Load())
				for i := known - 1; i >= max(0, known-2*chunkSize); i-- {
					if !index.KeyRevoked(rule(i).Value) {
						t.Errorf("a reader missed rule %d of %d", i, known)
						return
					}
				}
				if index.KeyRevoked(rule(rules + known).Value) {
					t.Error("a reader saw a rule that nobody wrote")
					return
				}
			}
		})
	}
	for i := range rules {
		index.Put(rule(i))
		inForce.Store(int64(i + 1))
	}
	readers.Wait()
	for i := range rules {
		if !index.Has(rule(i)) || !index.KeyRevoked(rule(i).Value) {
			t.Errorf("rule %d is lost", i)
		}
	}
}

// A rule is not missed for a moment while it is replaced, or while another one comes and goes in its bucket.
func TestReadersNeverMissARuleThatIsReplaced(t *testing.T) {
	table := newTable()
	stays, passing := digest{1, 1}, digest{1, 9} // their bits in the filter overlap
	table.set(stays, stored{})
	var done atomic.Bool
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for !done.Load() {
				if table.find(stays) == nil {
					t.Error("a reader missed the rule")
					return
				}
			}
		})
	}
	for i := range 100_000 {
		table.set(passing, stored{})
		table.set(stays, stored{issuedBefore: moment(i)})
		table.remove(passing)
	}
	done.Store(true)
	readers.Wait()
}
