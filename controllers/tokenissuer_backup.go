package controllers

import (
	"slices"
	"time"
)

// goOnFromBackup makes a ring that is older than what was derived from it the newest again: somebody has put the Secret
// back to an earlier state, and what it holds is the truth. Without a later revision nothing that was derived from the
// newer ring would ever be replaced. It must be asked only of what the API server itself has said, since a cache lags;
// should another replica be writing at this moment, the write of the ring loses that race.
func (o *observation) goOnFromBackup(now time.Time) {
	seen := o.seen()
	latest := max(seen.PublishedRevision, seen.MountedRevision)
	if latest <= o.ring.Revision {
		return
	}
	ring := *o.ring
	ring.Revision = latest + 1
	for _, id := range append(slices.Clone(seen.Published), seen.Mounted) {
		if id != "" && ring.Key(id) == nil {
			ring.LostAt, o.keysLost = now, true
		}
	}
	o.ring, o.rolledBack = &ring, true
}
