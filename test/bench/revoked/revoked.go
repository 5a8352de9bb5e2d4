// Package revoked has revocation rules for the rooms that verify tokens: with none, a look-up would cost nothing.
package revoked

import (
	"fmt"
	"time"

	"github.com/keyturn/keyturn/internal/revocation"
)

// never is later than any token.
var never = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)

// Others returns an index with a thousand rules of each kind, which deny the tokens of others, and one that denies every
// token issued before 1970.
func Others() *revocation.Index {
	index := revocation.NewIndex()
	for kind := revocation.TokenID; kind < revocation.All; kind++ {
		for n := range 1000 {
			index.Put(revocation.Rule{
				ID: fmt.Sprintf("rule-%d", n), Kind: kind, Value: fmt.Sprintf("another-%d", n), IssuedBefore: never,
			})
		}
	}
	index.Put(revocation.Rule{ID: "all", Kind: revocation.All, IssuedBefore: time.Unix(0, 0)})
	return index
}
