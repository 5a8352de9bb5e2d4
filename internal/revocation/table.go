package revocation

import (
	"slices"
	"sync/atomic"
)

// table finds the one rule for a target. Readers take no lock: a bucket points to a chain of nodes that never change, so
// each write is seen whole or not at all. Writers must exclude one another. It grows chunk by chunk, so that no write
// copies more than one of them, and the directory once in a doubling. sync.Map is not used, because it takes several times the memory.
type table struct {
	// directory says where the buckets are: the low bits of a target choose one within a chunk, and those above them the
	// chunk. Its length is a power of two.
	directory atomic.Pointer[[]atomic.Pointer[chunk]]
	// size is the number of targets, and chunks that of different chunks in the directory. Only writers use them.
	size, chunks int
}

// chunkSize is the number of buckets that are copied at once, and that of an empty table. It is a power of two.
const chunkSize = 32

// filterWords makes a filter one cache line, which an empty bucket of its own would not fill.
const filterWords = 8

// chunk is some buckets, each a chain of nodes. At a million rules, whatever is looked at has to come from memory. The
// filter has two bits for each target, so that most look-ups of what is not there are over with one cache line, and all
// filters together are small enough for the processor's cache.
type chunk struct {
	filter  [filterWords]atomic.Uint64
	buckets [chunkSize]atomic.Pointer[node]
}

// node is immutable once it can be reached from a bucket. It fills the 48 bytes that the allocator takes for it.
type node struct {
	next   *node
	target digest
	stored
}

func newTable() *table {
	t := &table{chunks: 1}
	directory := make([]atomic.Pointer[chunk], 1)
	directory[0].Store(new(chunk))
	t.directory.Store(&directory)
	return t
}

// find returns the node of the target, or nil.
func (t *table) find(target digest) *node {
	c := t.chunk(target)
	if word, bits := target.inFilter(); c.filter[word].Load()&bits != bits {
		return nil
	}
	for n := c.buckets[target[0]%chunkSize].Load(); n != nil; n = n.next {
		if n.target == target {
			return n
		}
	}
	return nil
}

func (t *table) chunk(target digest) *chunk {
	directory := *t.directory.Load()
	at := target[0] / chunkSize & uint64(len(directory)-1) //nolint:gosec // There is always at least one chunk.
	return directory[at].Load()
}

// set makes the rule the one for the target.
func (t *table) set(target digest, rule stored) {
	c := t.chunk(target)
	bucket := &c.buckets[target[0]%chunkSize]
	rest, found := bucket.Load().without(target)
	// First the filter, then the rule: whoever can see the rule must not be turned away by the filter.
	word, bits := target.inFilter()
	c.filter[word].Or(bits)
	bucket.Store(&node{next: rest, target: target, stored: rule})
	if !found {
		t.size++
		t.growIfFull()
	}
}

// remove leaves no rule for the target.
func (t *table) remove(target digest) {
	c := t.chunk(target)
	bucket := &c.buckets[target[0]%chunkSize]
	if rest, found := bucket.Load().without(target); found {
		bucket.Store(rest)
		c.setFilter()
		t.size--
	}
}

// setFilter makes the filter that of what is in the buckets. What is there before and after stays in it throughout.
func (c *chunk) setFilter() {
	var filter [filterWords]uint64
	for i := range c.buckets {
		for n := c.buckets[i].Load(); n != nil; n = n.next {
			word, bits := n.target.inFilter()
			filter[word] |= bits
		}
	}
	for word, bits := range filter {
		c.filter[word].Store(bits)
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
	directory := *t.directory.Load()
	if t.chunks == len(directory) {
		directory = slices.Concat(directory, directory)
		t.directory.Store(&directory)
	}
	half := len(directory) / 2
	low, high := t.chunks-half, t.chunks
	zeros, ones := directory[low].Load().split(uint64(half) * chunkSize)
	directory[low].Store(zeros)
	directory[high].Store(ones)
	t.chunks++
}

// split returns a chunk of the targets in which this bit is 0, and one of those in which it is 1.
func (c *chunk) split(bit uint64) (zeros, ones *chunk) {
	zeros, ones = new(chunk), new(chunk)
	for i := range c.buckets {
		zero, one := c.buckets[i].Load().split(bit)
		zeros.buckets[i].Store(zero)
		ones.buckets[i].Store(one)
	}
	zeros.setFilter()
	ones.setFilter()
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
