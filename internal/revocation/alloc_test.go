//go:build !race

package revocation

import "testing"

func TestMatchDoesNotAllocate(t *testing.T) {
	index, token := filledIndex(1000)
	if _, denied := index.Match(&token); denied {
		t.Fatal("the token is denied, so the test would not see every look-up")
	}
	if allocs := testing.AllocsPerRun(1000, func() { index.Match(&token) }); allocs != 0 {
		t.Errorf("Match() allocates %v times for a good token, want 0", allocs)
	}
	token.TokenID = "jti-0"
	if allocs := testing.AllocsPerRun(1000, func() { index.Match(&token) }); allocs != 0 {
		t.Errorf("Match() allocates %v times for a denied token, want 0", allocs)
	}
}
