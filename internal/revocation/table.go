package revocation

import "sync/atomic"

// table finds the one rule for a target. Readers take no lock: a bucket is an atomic pointer to a chain of nodes that
// never change, so each write is seen whole or not at all. Writers must exclude one another. sync.Map is not used,
// because it takes several times the memory.
type table struct {
	buckets atomic.Pointer[[]bucket]
	// size is the number of targets. Only writers read it.
	size int
}

type bucket = atomic.Pointer[node]

// node is immutable once it can be reached from a bucket. It fills 56 of the 64 bytes that the allocator takes for it.
type node struct {
	next   *node
	target digest
	stored
}

// smallestTable is the number of buckets of an empty table. A power of two, as every number of buckets.
const smallestTable = 8

func newTable() *table {
	t := &table{}
	buckets := make([]bucket, smallestTable)
	t.buckets.Store(&buckets)
	return t
}

// find returns the node of the target, or nil.
func (t *table) find(target digest) *node {
	for n := bucketFor(*t.buckets.Load(), target).Load(); n != nil; n = n.next {
		if n.target == target {
			return n
		}
	}
	return nil
}

// set makes the rule the one for the target.
func (t *table) set(target digest, rule stored) {
	b := bucketFor(*t.buckets.Load(), target)
	rest, found := without(b.Load(), target)
	b.Store(&node{next: rest, target: target, stored: rule})
	if !found {
		t.size++
		t.growIfFull()
	}
}

// remove leaves no rule for the target.
func (t *table) remove(target digest) {
	b := bucketFor(*t.buckets.Load(), target)
	rest, found := without(b.Load(), target)
	if found {
		b.Store(rest)
		t.size--
	}
}

// growIfFull doubles the buckets once there are as many targets, which keeps chains short. Readers go on with the old
// buckets until the new ones are complete. It never shrinks: an empty bucket costs eight bytes.
func (t *table) growIfFull() {
	old := *t.buckets.Load()
	if t.size < len(old) {
		return
	}
	grown := make([]bucket, 2*len(old))
	for i := range old {
		for n := old[i].Load(); n != nil; n = n.next {
			b := bucketFor(grown, n.target)
			b.Store(&node{next: b.Load(), target: n.target, stored: n.stored})
		}
	}
	t.buckets.Store(&grown)
}

func bucketFor(buckets []bucket, target digest) *bucket {
	return &buckets[target[0]&uint64(len(buckets)-1)] //nolint:gosec // There is always at least one bucket.
}

// without returns the chain less the node of the target, and whether there was one. Nodes before it are copied, because
// a reader may be in the old chain.
func without(chain *node, target digest) (*node, bool) {
	if chain == nil {
		return nil, false
	}
	if chain.target == target {
		return chain.next, true
	}
	rest, found := without(chain.next, target)
	if !found {
		return chain, false
	}
	return &node{next: rest, target: chain.target, stored: chain.stored}, true
}
