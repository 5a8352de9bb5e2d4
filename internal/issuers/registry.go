package issuers

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/keyring"
	"github.com/keyturn/keyturn/internal/remotejwks"
	"github.com/keyturn/keyturn/internal/revocation"
	"github.com/keyturn/keyturn/internal/session"
	"github.com/keyturn/keyturn/internal/token"
)

// Registry holds the issuers that this replica knows. Readers see one immutable table behind an atomic pointer, and in it
// an immutable view of each issuer behind another one; writers take turns. A change of an issuer exchanges its view, and
// only one of which issuers there are, or who has which URL, the table.
type Registry struct {
	table  atomic.Pointer[table]
	synced atomic.Bool

	mu      sync.Mutex
	entries map[types.NamespacedName]*entry
	// denied are the sessions that DenySession was called for, until takeDenied.
	denied []deniedSession
}

type table struct {
	byURL  map[string]*slot
	byName map[types.NamespacedName]*slot
}

// slot is the place of an issuer in a table. Its views all have the same URL.
type slot struct{ atomic.Pointer[view] }

// at returns the issuer that owns a URL, or nil.
func (t *table) at(url string) *view { return t.byURL[url].view() }

// named returns the issuer of this name, whether or not it owns its URL, or nil.
func (t *table) named(name types.NamespacedName) *view { return t.byName[name].view() }

func (s *slot) view() *view {
	if s == nil {
		return nil
	}
	return s.Load()
}

// entry is what writers know of one issuer. Rules can come before the issuer, and stay when it goes.
type entry struct {
	issuer *v1alpha1.TokenIssuer
	ring   *keyring.Ring
	// refreshKeys are those of an issuer with sessions.
	refreshKeys *session.Keys
	// keySet and refetch are those of an external issuer's fetcher.
	keySet  func() (set *remotejwks.Set, stale bool)
	refetch func(keyID string) *token.Issuer
	rules   *revocation.Index
	// view is what readers see once it is in the table, and slot its place there. Both are nil without an issuer.
	view *view
	slot *slot
}

// NewRegistry returns a registry that knows nothing and is not synced.
func NewRegistry() *Registry {
	r := &Registry{entries: map[types.NamespacedName]*entry{}}
	r.table.Store(&table{})
	return r
}

// Synced implements token.Directory.
func (r *Registry) Synced() bool { return r.synced.Load() }

// ByURL implements token.Directory.
func (r *Registry) ByURL(url string) *token.Issuer {
	if v := r.table.Load().at(url); v != nil {
		return &v.token
	}
	return nil
}

// PublicationByURL implements Publications.
func (r *Registry) PublicationByURL(issuerURL string) *Publication {
	if v := r.table.Load().at(issuerURL); v != nil {
		return v.publication
	}
	return nil
}

// PublicationByName implements Publications. An issuer that does not own its URL publishes nothing.
func (r *Registry) PublicationByName(namespace, name string) *Publication {
	if v := r.owner(namespace, name); v != nil {
		return v.publication
	}
	return nil
}

// owner returns the issuer of this name if it owns its URL.
func (r *Registry) owner(namespace, name string) *view {
	t := r.table.Load()
	s := t.byName[types.NamespacedName{Namespace: namespace, Name: name}]
	v := s.view()
	if v == nil || t.byURL[v.token.URL] != s {
		return nil
	}
	return v
}

// RuleApplied says whether the rule of this issuer is in force in this replica.
func (r *Registry) RuleApplied(issuer types.NamespacedName, rule revocation.Rule) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.entries[issuer]
	return e != nil && e.rules.Has(rule)
}

// KeyPublished says whether an issuer of our own still has this key, as far as this replica knows.
func (r *Registry) KeyPublished(issuer types.NamespacedName, keyID string) bool {
	v := r.table.Load().named(issuer)
	return v != nil && v.ring != nil && v.ring.Key(keyID) != nil
}

// KeyDropped says whether an issuer of our own once had this key and dropped it as compromised, as far as the ring
// remembers.
func (r *Registry) KeyDropped(issuer types.NamespacedName, keyID string) bool {
	v := r.table.Load().named(issuer)
	return v != nil && v.ring != nil && slices.Contains(v.ring.Dropped, keyID)
}

// LongestLifetime returns the longest lifetime that a token of the issuer can have, as far as this replica knows; false
// where it does not know the issuer, or not yet its keys.
func (r *Registry) LongestLifetime(issuer types.NamespacedName) (time.Duration, bool) {
	v := r.table.Load().named(issuer)
	switch {
	case v == nil:
		return 0, false
	case v.external():
		return v.maxLifetime, true
	case v.ring == nil:
		return 0, false
	default:
		return max(v.ring.MaxLifetime(), v.maxLifetime), true
	}
}

// setIssuer makes an issuer known, or its changed spec.
func (r *Registry) setIssuer(issuer *v1alpha1.TokenIssuer, attach func(*entry)) error {
	return r.change(nameOf(issuer), func(e *entry) {
		e.issuer = issuer
		attach(e)
	})
}

func (r *Registry) deleteIssuer(name types.NamespacedName) {
	_ = r.change(name, func(e *entry) { e.issuer, e.keySet, e.refetch = nil, nil, nil })
}

// setRing makes a ring known; nil when it is gone.
func (r *Registry) setRing(name types.NamespacedName, ring *keyring.Ring) error {
	return r.change(name, func(e *entry) { e.ring = ring })
}

// setRefreshKeys makes the keys for refresh tokens known; nil when they are gone.
func (r *Registry) setRefreshKeys(name types.NamespacedName, keys *session.Keys) error {
	return r.change(name, func(e *entry) { e.refreshKeys = keys })
}

// keysChanged renders an external issuer anew.
func (r *Registry) keysChanged(name types.NamespacedName) error {
	return r.change(name, func(*entry) {})
}

// putRule brings a rule into force. It needs no new table: the index is read as it is.
func (r *Registry) putRule(issuer types.NamespacedName, rule revocation.Rule) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entry(issuer).rules.Put(rule)
}

func (r *Registry) deleteRule(issuer types.NamespacedName, rule revocation.Rule) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entry(issuer).rules.Delete(rule)
	r.forgetEmpty(issuer)
}

// markSynced shows everything that was collected so far, and says that it is all.
func (r *Registry) markSynced() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.publish()
	r.synced.Store(true)
}

func (r *Registry) change(name types.NamespacedName, apply func(*entry)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.entry(name)
	apply(e)
	var rendered *view
	if e.issuer != nil {
		var err error
		if rendered, err = newView(e); err != nil {
			return err
		}
	}
	placed := e.show(rendered)
	r.forgetEmpty(name)
	// Before the first sync nobody may ask, and a table for each of a thousand issuers would be work for nothing.
	if !placed && r.synced.Load() {
		r.publish()
	}
	return nil
}

// show lets readers see the view, or nil, and reports whether they do: not if it needs another place in the table.
func (e *entry) show(v *view) (placed bool) {
	before := e.view
	e.view = v
	switch {
	case v == nil:
		e.slot = nil
		return before == nil
	case before == nil || before.token.URL != v.token.URL || !before.issuer.CreationTimestamp.Equal(&v.issuer.CreationTimestamp):
		e.slot = &slot{}
		e.slot.Store(v)
		return false
	default:
		e.slot.Store(v)
		return true
	}
}

func (r *Registry) entry(name types.NamespacedName) *entry {
	e := r.entries[name]
	if e == nil {
		e = &entry{rules: revocation.NewIndex()}
		r.entries[name] = e
	}
	return e
}

func (r *Registry) forgetEmpty(name types.NamespacedName) {
	if e := r.entries[name]; e.issuer == nil && e.ring == nil && e.refreshKeys == nil && e.rules.Len() == 0 {
		delete(r.entries, name)
	}
}

// publish exchanges the table. It takes time in proportion to all issuers.
func (r *Registry) publish() {
	t := &table{byURL: make(map[string]*slot, len(r.entries)), byName: make(map[types.NamespacedName]*slot, len(r.entries))}
	for name, e := range r.entries {
		if e.view == nil {
			continue
		}
		t.byName[name] = e.slot
		if owner := t.at(e.view.token.URL); owner == nil || older(e.view.issuer, owner.issuer) {
			t.byURL[e.view.token.URL] = e.slot
		}
	}
	r.table.Store(t)
}

func nameOf(issuer *v1alpha1.TokenIssuer) types.NamespacedName {
	return types.NamespacedName{Namespace: issuer.Namespace, Name: issuer.Name}
}
