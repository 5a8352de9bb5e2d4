// Package revocation holds the rules that deny tokens, and the index that a verifier asks on every request.
package revocation

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Kind says which fact of a token a rule matches.
type Kind uint8

// The kinds of rules, one for each target of a TokenRevocation.
const (
	TokenID Kind = iota + 1
	SessionID
	Subject
	ClientID
	Audience
	KeyID
	All
)

// Rule denies the tokens of one issuer for which the fact of its kind equals Value.
type Rule struct {
	// ID is unique among all rules for the same Kind and Value, such as the UID of the object that the rule comes from.
	ID string
	// Kind is the fact that is compared. A rule of an unknown kind denies nothing.
	Kind Kind
	// Value is what it is compared with. Ignored for All; with any other kind an empty one matches nothing.
	Value string
	// IssuedBefore limits Subject, ClientID, Audience and All to tokens whose "iat" is before it. Ignored otherwise. It is
	// kept to the nanosecond from 1678 to 2261, and as the beginning or the end of time beyond that.
	IssuedBefore time.Time
}

// Denial is what an index says of a rule that denies a token.
type Denial struct {
	Kind Kind
	// IssuedBefore is zero for a kind that ignores it.
	IssuedBefore time.Time
}

// Facts are what the rules of an issuer can match in one token. Absent claims are empty.
type Facts struct {
	TokenID   string
	SessionID string
	Subject   string
	ClientID  string
	KeyID     string
	Audiences []string
	IssuedAt  time.Time
}

// Index holds the rules of one issuer. Any number of goroutines may use it at once. Match and KeyRevoked take no lock,
// do not allocate, and take the same time for one rule as for a million. A change is seen by every look-up that begins
// after it has returned. What Put does grows with the rules for the same target, but for copying a directory of some three
// bytes a rule once in a doubling of the rules. It keeps no text of a rule, and some 56 bytes each.
type Index struct {
	hash secret
	// deciding holds, for each target, the one rule that denies whatever any rule for that target denies.
	deciding *table
	// targets counts the targets of each kind, so that a kind that no rule has costs no look-up.
	targets [All + 1]atomic.Int64

	// mu guards what follows, and is held by everyone who changes what is above.
	mu    sync.RWMutex
	count int
	// shared holds every rule of those targets that more than one rule names.
	shared map[digest][]stored
}

// stored is what is kept of a rule beside its target, which tells its kind.
type stored struct {
	id digest
	// issuedBefore is 0 for a kind that ignores it.
	issuedBefore moment
}

// NewIndex returns an index without rules.
func NewIndex() *Index {
	return &Index{hash: newSecret(), deciding: newTable(), shared: map[digest][]stored{}}
}

// Put adds the rule, in place of the one with the same ID, Kind and Value if there is one. What both deny is denied
// throughout. A rule of an unknown kind is left out.
func (x *Index) Put(rule Rule) {
	if !rule.Kind.known() {
		return
	}
	target, added := x.digests(rule)
	x.mu.Lock()
	defer x.mu.Unlock()
	current := x.deciding.find(target)
	switch members, several := x.shared[target]; {
	case current == nil:
		// First the count, then the rule: whoever can see the rule must not be turned away by the count.
		x.targets[rule.Kind].Add(1)
		x.deciding.set(target, added)
		x.count++
	case several:
		x.putShared(target, added, members)
	case current.id == added.id:
		x.deciding.set(target, added)
	default:
		x.putShared(target, added, []stored{current.stored})
	}
}

// putShared adds a rule to others for the same target. The caller holds mu.
func (x *Index) putShared(target digest, added stored, members []stored) {
	if at := slices.IndexFunc(members, added.replaces); at >= 0 {
		members[at] = added
	} else {
		members = append(members, added)
		x.count++
	}
	x.shared[target] = members
	x.deciding.set(target, mostDeciding(members))
}

// Delete removes the rule with this ID, Kind and Value, if there is one. What other rules deny stays denied throughout.
// It takes time in proportion to the rules for the same target.
func (x *Index) Delete(rule Rule) {
	target, gone := x.digests(rule)
	x.mu.Lock()
	defer x.mu.Unlock()
	if members := x.shared[target]; members != nil {
		x.deleteShared(target, gone, members)
		return
	}
	if current := x.deciding.find(target); current != nil && current.id == gone.id {
		x.deciding.remove(target)
		x.targets[rule.Kind].Add(-1)
		x.count--
	}
}

// deleteShared removes a rule from others for the same target. The caller holds mu.
func (x *Index) deleteShared(target digest, gone stored, members []stored) {
	left := slices.DeleteFunc(members, gone.replaces)
	if len(left) == len(members) {
		return
	}
	x.count--
	x.deciding.set(target, mostDeciding(left))
	if x.shared[target] = left; len(left) == 1 {
		delete(x.shared, target)
	}
}

// Len returns the number of rules.
func (x *Index) Len() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.count
}

// Has reports whether there is a rule with this ID, Kind and Value.
func (x *Index) Has(rule Rule) bool {
	target, wanted := x.digests(rule)
	x.mu.RLock()
	defer x.mu.RUnlock()
	if members := x.shared[target]; members != nil {
		return slices.ContainsFunc(members, wanted.replaces)
	}
	current := x.deciding.find(target)
	return current != nil && current.id == wanted.id
}

// Match returns what denies a token with these facts, and whether anything does. It keeps nothing of facts.
func (x *Index) Match(facts *Facts) (Denial, bool) {
	kind, n := x.match(facts)
	if n == nil {
		return Denial{}, false
	}
	denial := Denial{Kind: kind}
	if kind.timed() {
		denial.IssuedBefore = n.issuedBefore.time()
	}
	return denial, true
}

func (x *Index) match(facts *Facts) (Kind, *node) {
	issuedAt := momentOf(facts.IssuedAt)
	for _, named := range [...]struct {
		kind  Kind
		value string
	}{
		{TokenID, facts.TokenID},
		{SessionID, facts.SessionID},
		{KeyID, facts.KeyID},
		{Subject, facts.Subject},
		{ClientID, facts.ClientID},
	} {
		if n := x.denying(named.kind, named.value, issuedAt); n != nil {
			return named.kind, n
		}
	}
	for _, audience := range facts.Audiences {
		if n := x.denying(Audience, audience, issuedAt); n != nil {
			return Audience, n
		}
	}
	return All, x.denying(All, "", issuedAt)
}

// KeyRevoked reports whether a rule denies every token of the key with this id.
func (x *Index) KeyRevoked(keyID string) bool { return x.denying(KeyID, keyID, 0) != nil }

// denying returns the rule that denies what has this value for the kind, or nil. The time matters only to kinds that are
// limited by it.
func (x *Index) denying(kind Kind, value string, issuedAt moment) *node {
	if x.targets[kind].Load() == 0 || (value == "" && kind != All) {
		return nil
	}
	n := x.deciding.find(x.hash.digest(kind, value))
	if n == nil || (kind.timed() && issuedAt >= n.issuedBefore) {
		return nil
	}
	return n
}

// digests returns what a rule is found by, and what is kept of it.
func (x *Index) digests(rule Rule) (target digest, kept stored) {
	if rule.Kind == All {
		rule.Value = ""
	}
	kept.id = x.hash.digest(0, rule.ID)
	if rule.Kind.timed() {
		kept.issuedBefore = momentOf(rule.IssuedBefore)
	}
	return x.hash.digest(rule.Kind, rule.Value), kept
}

// mostDeciding returns the member that decides over all others. There must be one.
func mostDeciding(members []stored) stored {
	return slices.MaxFunc(members, func(a, b stored) int {
		if a.decidesOver(b) {
			return 1
		}
		return -1
	})
}

// decidesOver reports whether s denies all that other denies, for two rules with one target. Rules that deny the same
// are told apart by their ID, so that the order in which they came makes no difference.
func (s stored) decidesOver(other stored) bool {
	if s.issuedBefore != other.issuedBefore {
		return s.issuedBefore > other.issuedBefore
	}
	return s.id.less(other.id)
}

// replaces reports whether the other has the same ID, for two rules with one target.
func (s stored) replaces(other stored) bool { return s.id == other.id }

// timed reports whether rules of the kind deny only what was issued before a moment.
func (k Kind) timed() bool {
	return k == Subject || k == ClientID || k == Audience || k == All
}

func (k Kind) known() bool { return k >= TokenID && k <= All }
