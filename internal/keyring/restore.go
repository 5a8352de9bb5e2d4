package keyring

import (
	"slices"
	"time"
)

// Restored is what Resume made of a ring that was put back to an earlier state.
type Restored struct {
	// Ring is the ring to go on with. It is to be written even if Plan changes nothing about it.
	Ring *Ring
	// KeysLost is true if keys are missing in it that were in use.
	KeysLost bool
}

// Resume returns how to go on with a ring that is older than what was derived from it, and nil for any other: somebody
// has put the Secret back to an earlier state, and what it holds is the truth. It gets a later revision than everything
// that was derived from the newer ring, or none of that would ever be replaced.
//
// It must be asked only of what the API server itself has said, since a cache lags. Should another replica be writing at
// this moment, the write of the ring loses that race.
func Resume(now time.Time, ring *Ring, seen Seen) *Restored {
	latest := max(seen.PublishedRevision, seen.MountedRevision)
	if latest <= ring.Revision {
		return nil
	}
	restored := &Restored{Ring: ring.clone()}
	restored.Ring.Revision = latest + 1
	for _, id := range append(slices.Clone(seen.Published), seen.Mounted) {
		if id != "" && ring.Key(id) == nil {
			restored.Ring.LostAt, restored.KeysLost = now, true
		}
	}
	return restored
}
