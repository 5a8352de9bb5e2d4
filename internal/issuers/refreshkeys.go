package issuers

import (
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/keyturn/keyturn/internal/session"
)

// RefreshKeyKnown says whether an issuer of our own still has this key for refresh tokens, as far as this replica knows:
// also one whose sessions were taken out of its spec.
func (r *Registry) RefreshKeyKnown(issuer types.NamespacedName, keyID string) bool {
	id, ok := session.ParseKeyID(keyID)
	keys := r.refreshKeys(issuer)
	return ok && keys != nil && keys.Has(id)
}

// RefreshKeyDropped says whether an issuer of our own once had this key for refresh tokens and dropped it as compromised,
// as far as its keys remember.
func (r *Registry) RefreshKeyDropped(issuer types.NamespacedName, keyID string) bool {
	id, ok := session.ParseKeyID(keyID)
	keys := r.refreshKeys(issuer)
	return ok && keys != nil && slices.Contains(keys.Dropped, id)
}

func (r *Registry) refreshKeys(issuer types.NamespacedName) *session.Keys {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.entries[issuer]; e != nil {
		return e.refreshKeys
	}
	return nil
}
