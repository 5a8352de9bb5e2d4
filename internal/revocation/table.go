package revocation

import (
	"slices"
	"sync/atomic"
)

// table finds the one rule for a target. Readers take no lock: a bucket points to a chain of nodes that never change, so
// each write is seen whole or not at all. Writers must exclude one another. It grows chunk by chunk, so that no write
// copies more than one of them, and the directory once in a doubling. sync.Map is not used, because it takes several times
// the memory.
type table struct {
	directory atomic.Pointer[directory]
	// size is the number of targets, and chunks that of different chunks in the directory. Only writers use them.
	size, chunks int
}

// directory says where the buckets are: the low bits of a target choose one within a chunk, and those above them the
// chunk and its filter. Its length, that of both slices, is a power of two.
//
// At a million rules, whatever is looked at has to come from memory. The filters lie together, in a place that follows
// from the target alone, so most look-ups of what is not there are over with one cache line.
type directory struct {
	filters []filter
	chunks  []atomic.Pointer[chunk]
}

// chunkSize is the number of buckets that are copied at once, and that of an empty table. It is a power of two.
const chunkSize = 32

// filterWords makes a filter one cache line.
const filterWords = 8

// filter has two bits for each target that the directory finds at its place.
type filter [filterWords]atomic.Uint64

// chunk is some buckets, each a chain of nodes.
type chunk [chunkSize]atomic.Pointer[node]

// node is immutable once it can be reached from a bucket. It fills the 48 bytes that the allocator takes for it.
type node struct {
	next   *node
	target digest
	stored
}

func newTable() *table {
	t := &table{chunks: 1}
	d := &directory{filters: make([]filter, 1), chunks: make([]atomic.Pointer[chunk], 1)}
	d.chunks[0].Store(new(chunk))
	t.directory.Store(d)
	return t
}

// find returns the node of the target, or nil.
func (t *table) find(target digest) *node { return t.directory.Load().find(target) }

func (d *directory) find(target digest) *node {
	at := d.place(target)
	if word, bits := target.inFilter(); d.filters[at][word].Load()&bits != bits {
		return nil
	}
	for n := d.bucket(at, target).Load(); n != nil; n = n.next {
		if n.target == target {
			return n
		}
	}
	return nil
}

func (d *directory) place(target digest) int {
	return int(target[0] / chunkSize & uint64(len(d.chunks)-1)) //nolint:gosec // There is always at least one chunk.
}

func (d *directory) bucket(at int, target digest) *atomic.Pointer[node] {
	return &d.chunks[at].Load()[target[0]%chunkSize]
}

// set makes the rule the one for the target.
func (t *table) set(target digest, rule stored) {
	d := t.directory.Load()
	at := d.place(target)
	bucket := d.bucket(at, target)
	rest, found := bucket.Load().without(target)
	// First the filter, then the rule: whoever can see the rule must not be turned away by the filter.
	word, bits := target.inFilter()
	d.filters[at][word].Or(bits)
	bucket.Store(&node{next: rest, target: target, stored: rule})
	if !found {
		t.size++
		t.growIfFull()
	}
}

// remove leaves no rule for the target.
func (t *table) remove(target digest) {
	d := t.directory.Load()
	at := d.place(target)
	bucket := d.bucket(at, target)
	if rest, found := bucket.Load().without(target); found {
		bucket.Store(rest)
		d.setFilter(at)
		t.size--
	}
}

// setFilter makes a filter that of what is in the chunk at its place. What is there before and after stays in it
// throughout.
func (d *directory) setFilter(at int) {
	var filter [filterWords]uint64
	buckets := d.chunks[at].Load()
	for i := range buckets {
		for n := buckets[i].Load(); n != nil; n = n.next {
			// A chunk that is in the directory twice has the targets of two places.
			if d.place(n.target) == at {
				word, bits := n.target.inFilter()
				filter[word] |= bits
			}
		}
	}
	for word, bits := range filter {
		d.filters[at][word].Store(bits)
	}
}

// inFilter returns where the filter has the bits of a target. It has nothing to do with what chooses the bucket.
func (d digest) inFilter() (word, bits uint64) {
	return d[1] % filterWords, 1<<(d[1]/filterWords%64) | 1<<(d[1]/(filterWords*64)%64)
}

// growIfFull splits one chunk in two when there are three targets for two buckets, which keeps chains short. The chunks
// take turns, and one whose turn has not come since the directory was doubled is in it twice. A reader sees the chunk as
// it was or the half that its target is in, and never one of them changing. It never shrinks: a bucket costs 11 bytes.
func (t *table) growIfFull() {
	if 2*t.size < 3*chunkSize*t.chunks {
		return
	}
	d := t.directory.Load()
	if t.chunks == len(d.chunks) {
		// A filter that is copied has too many bits, until its chunk is split or a target at its place removed.
		d = &directory{filters: slices.Concat(d.filters, d.filters), chunks: slices.Concat(d.chunks, d.chunks)}
		t.directory.Store(d)
	}
	half := len(d.chunks) / 2
	low, high := t.chunks-half, t.chunks
	zeros, ones := d.chunks[low].Load().split(uint64(half) * chunkSize)
	d.chunks[low].Store(zeros)
	d.chunks[high].Store(ones)
	d.setFilter(low)
	d.setFilter(high)
	t.chunks++
}

// split returns a chunk of the targets in which this bit is 0, and one of those in which it is 1.
func (c *chunk) split(bit uint64) (zeros, ones *chunk) {
	zeros, ones = new(chunk), new(chunk)
	for i := range c {
		zero, one := c[i].Load().split(bit)
		zeros[i].Store(zero)
		ones[i].Store(one)
	}
	return zeros, ones
}

// split is that of a chain. A node is copied only if another one has to come after it, because a reader may be there.
func (n *node) split(bit uint64) (zeros, ones *node) {
	if n == nil {
		return nil, nil
	}
	zeros, ones = n.next.split(bit)
	if n.target[0]&bit == 0 {
		return n.before(zeros), ones
	}
	return zeros, n.before(ones)
}

// before returns the node, or a copy of it, in front of this chain.
func (n *node) before(next *node) *node {
	if n.next == next {
		return n
	}
	return &node{next: next, target: n.target, stored: n.stored}
}

// without returns the chain less the node of the target, and whether there was one. Nodes before it are copied, because
// a reader may be in the old chain.
func (n *node) without(target digest) (*node, bool) {
	if n == nil {
		return nil, false
	}
	if n.target == target {
		return n.next, true
	}
	rest, found := n.next.without(target)
	return n.before(rest), found
}
