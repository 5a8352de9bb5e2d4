package revocation

import (
	"hash/maphash"
	"sync/atomic"
)

// target is what a rule names: a kind of fact and its value.
type target struct {
	kind  Kind
	value string
}

// table finds the one rule for a target. Readers take no lock: a bucket is an atomic pointer to a chain of nodes that
// never change, so each write is seen whole or not at all. Writers must exclude one another. sync.Map is not used,
// because a look-up by string allocates there.
type table struct {
	// The seed is secret and differs in each process, so nobody can choose values that share a bucket.
	seed    maphash.Seed
	buckets atomic.Pointer[[]bucket]
	// size is the number of targets. Only writers read it.
	size int
}

type bucket = atomic.Pointer[node]

// node is immutable once it can be reached from a bucket.
type node struct {
	next *node
	rule *Rule
	hash uint64
}

// smallestTable is the number of buckets of an empty table. A power of two, as every number of buckets.
const smallestTable = 8

func newTable() *table {
	t := &table{seed: maphash.MakeSeed()}
	buckets := make([]bucket, smallestTable)
	t.buckets.Store(&buckets)
	return t
}

// find returns the rule for the target, or nil.
func (t *table) find(named target) *Rule {
	hash := t.hash(named)
	for n := bucketFor(*t.buckets.Load(), hash).Load(); n != nil; n = n.next {
		if n.matches(hash, named) {
			return n.rule
		}
	}
	return nil
}

// set makes the rule the one for its target.
func (t *table) set(rule *Rule) {
	named := rule.target()
	hash := t.hash(named)
	b := bucketFor(*t.buckets.Load(), hash)
	rest, found := without(b.Load(), hash, named)
	b.Store(&node{next: rest, rule: rule, hash: hash})
	if !found {
		t.size++
		t.growIfFull()
	}
}

// remove leaves no rule for the target.
func (t *table) remove(named target) {
	hash := t.hash(named)
	b := bucketFor(*t.buckets.Load(), hash)
	rest, found := without(b.Load(), hash, named)
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
			b := bucketFor(grown, n.hash)
			b.Store(&node{next: b.Load(), rule: n.rule, hash: n.hash})
		}
	}
	t.buckets.Store(&grown)
}

// hash tells kinds apart too: the same value may be a subject and a client.
func (t *table) hash(named target) uint64 {
	const oddNumber = 0x9e3779b97f4a7c15 // spreads the few kinds over all bits
	return maphash.String(t.seed, named.value) ^ uint64(named.kind)*oddNumber
}

func bucketFor(buckets []bucket, hash uint64) *bucket {
	return &buckets[hash&uint64(len(buckets)-1)] //nolint:gosec // There is always at least one bucket.
}

func (n *node) matches(hash uint64, named target) bool {
	return n.hash == hash && n.rule.Kind == named.kind && n.rule.Value == named.value
}

// without returns the chain less the node for the target, and whether there was one. Nodes before it are copied, because
// a reader may be in the old chain.
func without(chain *node, hash uint64, named target) (*node, bool) {
	if chain == nil {
		return nil, false
	}
	if chain.matches(hash, named) {
		return chain.next, true
	}
	rest, found := without(chain.next, hash, named)
	if !found {
		return chain, false
	}
	return &node{next: rest, rule: chain.rule, hash: chain.hash}, true
}
