package revocation

import (
	"maps"
	"math/rand/v2"
	"testing"
)

// A reader that is in a chunk when it is split, or in a chain when a node is put or removed, goes on in what was.
func TestWritesLeaveOldChainsAsTheyWere(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var targets []digest
	table := newTable()
	for range 1000 {
		before := table.contents()
		chunks := *table.directory.Load()
		heads := make([]*node, 0, len(chunks)*chunkSize)
		for i := range chunks {
			buckets := &chunks[i].Load().buckets
			for j := range buckets {
				heads = append(heads, buckets[j].Load())
			}
		}
		if len(targets) > 0 && random.IntN(5) == 0 {
			table.remove(targets[random.IntN(len(targets))])
		} else {
			targets = append(targets, digest{random.Uint64(), random.Uint64()})
			table.set(targets[len(targets)-1], stored{issuedBefore: moment(len(targets))})
		}
		after := map[digest]moment{}
		for _, head := range heads {
			head.into(after)
		}
		if !maps.Equal(before, after) {
			t.Fatalf("with %d targets, a reader who had begun before a write finds %d", len(before), len(after))
		}
	}
	if table.chunks < 10 {
		t.Errorf("only %d chunks have come", table.chunks)
	}
}

// contents returns what the table holds, by target.
func (t *table) contents() map[digest]moment {
	all := map[digest]moment{}
	directory := *t.directory.Load()
	for i := range directory {
		buckets := &directory[i].Load().buckets
		for j := range buckets {
			buckets[j].Load().into(all)
		}
	}
	return all
}

func (n *node) into(all map[digest]moment) {
	for ; n != nil; n = n.next {
		all[n.target] = n.issuedBefore
	}
}
