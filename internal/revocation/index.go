// Package revocation holds the rules that deny tokens, and the index that a verifier asks on every request.
package revocation

import (
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
	// ID is unique among all rules, such as the UID of the object that the rule comes from.
	ID string
	// Kind is the fact that is compared. A rule of an unknown kind denies nothing.
	Kind Kind
	// Value is what it is compared with. Ignored for All; with any other kind an empty one matches nothing.
	Value string
	// IssuedBefore limits Subject, ClientID, Audience and All to tokens whose "iat" is before it. Ignored otherwise.
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
// after it has returned.
type Index struct {
	// deciding holds, for each target, the one rule that denies whatever any rule for that target denies.
	deciding *table
	// targets counts the targets of each kind, so that a kind that no rule has costs no look-up.
	targets [All + 1]atomic.Int64

	// mu guards what follows, and is held by everyone who changes what is above.
	mu    sync.RWMutex
	rules map[string]*Rule
	// shared holds every rule of those targets that more than one rule names.
	shared map[target]map[*Rule]struct{}
}

// NewIndex returns an index without rules.
func NewIndex() *Index {
	return &Index{
		deciding: newTable(),
		rules:    map[string]*Rule{},
		shared:   map[target]map[*Rule]struct{}{},
	}
}

// Put adds the rule, in place of the one with the same ID if there is one. What both deny is denied throughout.
func (x *Index) Put(rule Rule) {
	if rule.Kind == All {
		rule.Value = ""
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	old := x.rules[rule.ID]
	x.rules[rule.ID] = &rule
	x.attach(&rule)
	if old != nil {
		x.detach(old)
	}
}

// Delete removes the rule with this ID, if there is one. What other rules deny stays denied throughout. It takes time
// in proportion to the rules for the same target.
func (x *Index) Delete(id string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if old := x.rules[id]; old != nil {
		delete(x.rules, id)
		x.detach(old)
	}
}

// Len returns the number of rules.
func (x *Index) Len() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.rules)
}

// Has reports whether there is a rule with this ID.
func (x *Index) Has(id string) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.rules[id] != nil
}

// Match returns a rule that denies a token with these facts, and whether there is one. It keeps nothing of facts.
func (x *Index) Match(facts *Facts) (Rule, bool) {
	named := [...]target{
		{TokenID, facts.TokenID},
		{SessionID, facts.SessionID},
		{KeyID, facts.KeyID},
		{Subject, facts.Subject},
		{ClientID, facts.ClientID},
	}
	for i := range named {
		if rule := x.denying(named[i].kind, named[i].value, facts); rule != nil {
			return *rule, true
		}
	}
	for _, audience := range facts.Audiences {
		if rule := x.denying(Audience, audience, facts); rule != nil {
			return *rule, true
		}
	}
	if rule := x.denying(All, "", facts); rule != nil {
		return *rule, true
	}
	return Rule{}, false
}

// KeyRevoked reports whether a rule denies every token of the key with this id.
func (x *Index) KeyRevoked(keyID string) bool {
	return x.denying(KeyID, keyID, nil) != nil
}

// denying returns the rule that denies what has this value for the kind, or nil. Facts are read only for kinds that are
// limited by time.
func (x *Index) denying(kind Kind, value string, facts *Facts) *Rule {
	if x.targets[kind].Load() == 0 || (value == "" && kind != All) {
		return nil
	}
	rule := x.deciding.find(target{kind, value})
	if rule == nil || (kind.timed() && !facts.IssuedAt.Before(rule.IssuedBefore)) {
		return nil
	}
	return rule
}

// attach makes the rule count. The caller holds mu.
func (x *Index) attach(rule *Rule) {
	if !rule.Kind.known() {
		return
	}
	current := x.deciding.find(rule.target())
	if current == nil {
		// First the count, then the rule: whoever can see the rule must not be turned away by the count.
		x.targets[rule.Kind].Add(1)
		x.deciding.set(rule)
		return
	}
	members := x.shared[rule.target()]
	if members == nil {
		members = map[*Rule]struct{}{current: {}}
		x.shared[rule.target()] = members
	}
	members[rule] = struct{}{}
	if rule.decidesOver(current) {
		x.deciding.set(rule)
	}
}

// detach makes a rule that was attached not count. The caller holds mu.
func (x *Index) detach(rule *Rule) {
	if !rule.Kind.known() {
		return
	}
	members := x.shared[rule.target()]
	if members == nil {
		x.deciding.remove(rule.target())
		x.targets[rule.Kind].Add(-1)
		return
	}
	delete(members, rule)
	if x.deciding.find(rule.target()) == rule {
		x.deciding.set(mostDeciding(members))
	}
	if len(members) == 1 {
		delete(x.shared, rule.target())
	}
}

// mostDeciding returns the member that decides over all others. There must be one.
func mostDeciding(members map[*Rule]struct{}) *Rule {
	var most *Rule
	for member := range members {
		if most == nil || member.decidesOver(most) {
			most = member
		}
	}
	return most
}

// decidesOver reports whether r denies all that other denies, for two rules with one target. Rules that deny the same
// are told apart by their ID, so that the order in which they came makes no difference.
func (r *Rule) decidesOver(other *Rule) bool {
	if r.Kind.timed() && !r.IssuedBefore.Equal(other.IssuedBefore) {
		return r.IssuedBefore.After(other.IssuedBefore)
	}
	return r.ID < other.ID
}

func (r *Rule) target() target { return target{r.Kind, r.Value} }

// timed reports whether rules of the kind deny only what was issued before a moment.
func (k Kind) timed() bool {
	return k == Subject || k == ClientID || k == Audience || k == All
}

func (k Kind) known() bool { return k >= TokenID && k <= All }
