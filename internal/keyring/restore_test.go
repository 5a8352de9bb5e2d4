package keyring

import (
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

func TestResume(t *testing.T) {
	now := epoch.Add(24 * time.Hour)
	older := ringOf(t, jose.ES256)
	newer := plan(t, epoch.Add(2*time.Hour), testPolicy(), older, published(older)).Ring
	newer = plan(t, epoch.Add(3*time.Hour), testPolicy(), newer, published(newer)).Ring
	if newer.Next().ID == older.Next().ID {
		t.Fatal("the newer ring has no key that the older one lacks")
	}

	if restored := Resume(now, newer, published(newer)); restored != nil {
		t.Error("a ring as new as what was derived from it was put back")
	}
	if restored := Resume(now, newer, published(older)); restored != nil {
		t.Error("a ring newer than what was derived from it was put back")
	}
	restored := Resume(now, older, published(newer))
	if restored == nil || !restored.KeysLost || !restored.Ring.LostAt.Equal(now) || restored.Ring.Revision <= newer.Revision {
		t.Fatalf("a ring that was put back: %+v", restored)
	}
	if older.Revision >= newer.Revision || !older.LostAt.IsZero() {
		t.Error("Resume changed its input")
	}
	seen := published(newer)
	seen.Published, seen.Mounted = idsOf(older), older.Active().ID
	if restored := Resume(now, older, seen); restored == nil || restored.KeysLost || !restored.Ring.LostAt.IsZero() {
		t.Error("a ring that was put back with every key in use has lost none")
	}
}
