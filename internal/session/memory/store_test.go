package memory_test

import (
	"errors"
	"testing"

	"github.com/keyturn/keyturn/internal/session"
	"github.com/keyturn/keyturn/internal/session/memory"
	"github.com/keyturn/keyturn/internal/session/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(*testing.T) session.Store { return memory.New() })
}

// What was written after a snapshot is forgotten, and whoever has read it cannot write any more.
func TestSnapshot(t *testing.T) {
	store := memory.New()
	first, second := storetest.NewSession("alice"), storetest.NewSession("alice")
	created, err := store.Create(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	restore := store.Snapshot()
	next := created.State
	next.Generation = 7
	written, err := store.CompareAndSwap(t.Context(), created, next)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Create(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	restore()

	got, err := store.Get(t.Context(), first.Issuer, first.ID)
	if err != nil || got.Generation != 0 {
		t.Errorf("after the restoration Get() = %+v, %v; want generation 0", got, err)
	}
	if got := store.Len(); got != 1 {
		t.Errorf("after the restoration there are %d sessions, want 1", got)
	}
	for _, stale := range []*session.Session{created, written} {
		if _, err := store.CompareAndSwap(t.Context(), stale, next); !errors.Is(err, session.ErrConflict) {
			t.Errorf("a write of what was read before the restoration: %v, want %v", err, session.ErrConflict)
		}
	}
}
