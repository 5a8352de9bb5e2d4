package revocation

import (
	"fmt"
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
