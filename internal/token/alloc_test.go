//go:build !race

package token

import (
	"testing"

	"github.com/go-jose/go-jose/v4"
)

func TestSeenTokenVerifiesWithoutAllocation(t *testing.T) {
	v := newWorld().verifier()
	raw := goodToken(t, jose.ES256)
	want := Want{Issuers: []string{"bank/tokens", "shop/tokens"}, Audiences: []string{"shop-api"}, Scopes: []string{"orders:read"}}
	if got := v.Verify(raw, want).Reason; got != Allowed {
		t.Fatalf("Reason = %s, want %s", got, Allowed)
	}
	if allocs := testing.AllocsPerRun(1000, func() { v.Verify(raw, want) }); allocs != 0 {
		t.Errorf("Verify() of a seen token allocates %v times, want 0", allocs)
	}
}
