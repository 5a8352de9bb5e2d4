package revocation

import (
	"maps"
	"math/rand/v2"
	"testing"
)

// A reader that is in a chunk when it is split, or in a chain when a node is put or removed, goes on in what was. One that
// has the directory from before finds in it whatever is there before and after.
func TestReaderWhoBeganBeforeAWriteFindsWhatStays(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var targets []digest
	table := newTable()
	for range 1000 {
		before, directory, heads := table.contents(), table.directory.Load(), table.heads()
		if len(targets) > 0 && random.IntN(5) == 0 {
			table.remove(targets[random.IntN(len(targets))])
		} else {
			targets = append(targets, digest{random.Uint64(), random.Uint64()})
			table.set(targets[len(targets)-1], stored{issuedBefore: moment(len(targets))})
		}
		was := map[digest]moment{}
		for _, head := range heads {
			head.into(was)
		}
		if !maps.Equal(before, was) {
			t.Fatalf("with %d targets, a reader who had begun before a write finds %d", len(before), len(was))
		}
		for target := range table.contents() {
			if table.find(target) == nil {
				t.Fatalf("with %d targets, one is not found", len(before))
			}
			if _, found := before[target]; found && directory.find(target) == nil {
				t.Fatalf("with %d targets, one is not found by a reader who had begun before", len(before))
			}
		}
	}
	if table.chunks < 10 {
		t.Errorf("only %d chunks have come", table.chunks)
	}
}

// A filter that let everything pass would be slow, and nothing else would show it.
func TestFiltersTurnMostAway(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	table := newTable()
	another := func() digest { return digest{random.Uint64(), random.Uint64()} }
	var targets []digest
	for range 10_000 {
		targets = append(targets, another())
		table.set(targets[len(targets)-1], stored{})
	}
	passed := func() (count int) {
		d := table.directory.Load()
		for range 10_000 {
			target := another()
			if word, bits := target.inFilter(); d.filters[d.place(target)][word].Load()&bits == bits {
				count++
			}
		}
		return count
	}
	if got := passed(); got > 400 {
		t.Errorf("%d of 10,000 targets that are not there pass the filters", got)
	}
	for _, target := range targets {
		table.remove(target)
	}
	if got := passed(); got != 0 {
		t.Errorf("%d of 10,000 targets pass the filters of an empty table", got)
	}
}

// contents returns what the table holds, by target.
func (t *table) contents() map[digest]moment {
	all := map[digest]moment{}
	for _, head := range t.heads() {
		head.into(all)
	}
	return all
}

// heads are those of all chains, some of them twice.
func (t *table) heads() (all []*node) {
	chunks := t.directory.Load().chunks
	for i := range chunks {
		buckets := chunks[i].Load()
		for j := range buckets {
			all = append(all, buckets[j].Load())
		}
	}
	return all
}

func (n *node) into(all map[digest]moment) {
	for ; n != nil; n = n.next {
		all[n.target] = n.issuedBefore
	}
}
