// Package revocation measures the index of rules at a million of them, beside what is glued together where there is none:
// a map of revoked values under a lock.
package revocation

import (
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/revocation"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// store holds rules. Any number of goroutines may read while one writes.
type store interface {
	put(rule revocation.Rule)
	remove(rule revocation.Rule)
	// keyRevoked is one look-up.
	keyRevoked(keyID string) bool
	// denies is one look-up for each of six facts.
	denies(token *revocation.Facts) bool
}

// stores are what is compared.
var stores = []struct {
	name  string
	empty func() store
}{
	{"keyturn", func() store { return index{revocation.NewIndex()} }},
	{"rwmutex-map", func() store { return &lockedMap{values: map[string]struct{}{}} }},
	{"sync-map", func() store { return &syncMap{} }},
}

type index struct{ *revocation.Index }

func (x index) put(rule revocation.Rule)     { x.Put(rule) }
func (x index) remove(rule revocation.Rule)  { x.Delete(rule) }
func (x index) keyRevoked(keyID string) bool { return x.KeyRevoked(keyID) }
func (x index) denies(token *revocation.Facts) bool {
	_, denied := x.Match(token)
	return denied
}

// lockedMap keeps the value alone: neither which object a rule comes from nor a time, as a deny-list does.
type lockedMap struct {
	mu     sync.RWMutex
	values map[string]struct{}
}

func (m *lockedMap) put(rule revocation.Rule) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.values[rule.Value] = struct{}{}
}

func (m *lockedMap) remove(rule revocation.Rule) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.values, rule.Value)
}

func (m *lockedMap) keyRevoked(keyID string) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	_, found := m.values[keyID]
	return found
}

func (m *lockedMap) denies(token *revocation.Facts) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, value := range [...]string{
		token.TokenID, token.SessionID, token.KeyID, token.Subject, token.ClientID, token.Audiences[0],
	} {
		if _, found := m.values[value]; found {
			return true
		}
	}
	return false
}

// syncMap is the same without a lock for readers.
type syncMap struct{ values sync.Map }

func (m *syncMap) put(rule revocation.Rule)    { m.values.Store(rule.Value, struct{}{}) }
func (m *syncMap) remove(rule revocation.Rule) { m.values.Delete(rule.Value) }

func (m *syncMap) keyRevoked(keyID string) bool {
	_, found := m.values.Load(keyID)
	return found
}

func (m *syncMap) denies(token *revocation.Facts) bool {
	return m.keyRevoked(token.TokenID) || m.keyRevoked(token.SessionID) || m.keyRevoked(token.KeyID) ||
		m.keyRevoked(token.Subject) || m.keyRevoked(token.ClientID) || m.keyRevoked(token.Audiences[0])
}

// kinds are those of the rules, by turns.
var kinds = []struct {
	kind revocation.Kind
	name string
}{
	{revocation.TokenID, "jti"}, {revocation.SessionID, "sid"}, {revocation.Subject, "sub"},
	{revocation.ClientID, "client"}, {revocation.Audience, "aud"}, {revocation.KeyID, "kid"},
}

// rule returns the rule with this number, with an ID and a value of usual lengths. A subject, client or audience is
// denied what was issued before noon.
func rule(i int) revocation.Rule {
	kind := kinds[i%len(kinds)]
	return revocation.Rule{
		ID: numbered("00000000-0000-4000-8000-", i), Kind: kind.kind, Value: numbered(kind.name+"-0123456789abcdef", i), IssuedBefore: noon,
	}
}

// numbered appends twelve digits.
func numbered(prefix string, i int) string {
	text := make([]byte, 0, 64)
	text = append(text, prefix...)
	return string(strconv.AppendInt(text, 100_000_000_000+int64(i), 10))
}

// good returns the facts of a token that no rule denies.
func good(i int) *revocation.Facts {
	return &revocation.Facts{
		TokenID: numbered("jti-good", i), SessionID: numbered("sid-good", i), Subject: numbered("sub-good", i),
		ClientID: numbered("client-good", i), KeyID: numbered("kid-good", i), Audiences: []string{numbered("aud-good", i)},
		IssuedAt: noon.Add(time.Second),
	}
}

// fill puts the rules with these numbers.
func fill(s store, from, to int) {
	for i := from; i < to; i++ {
		s.put(rule(i))
	}
}

// size is how many rules there are: few in a short run.
func size() int {
	if testing.Short() {
		return 10_000
	}
	return 1_000_000
}
