//go:build !race

package revocation

import (
	"fmt"
	"strconv"
	"testing"
	"time"
)

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

// However many rules there are, a Put copies the nodes of one chunk at most.
func TestPutCopiesLittle(t *testing.T) {
	const rules = 100 * chunkSize
	index, warm, most := NewIndex(), false, 0.0
	for i := range rules {
		rule := Rule{ID: "r", Kind: TokenID, Value: strconv.Itoa(i)}
		most = max(most, testing.AllocsPerRun(1, func() {
			if warm = !warm; !warm { // The first of two calls is not counted.
				index.Put(rule)
			}
		}))
	}
	// A chunk that is split last has three nodes for each bucket on the average.
	if most > 4*chunkSize {
		t.Errorf("one Put allocates %v times, with chunks of %d buckets", most, chunkSize)
	}
	if got := index.Len(); got != rules {
		t.Errorf("Len() = %d, want %d", got, rules)
	}
}

// filledIndex returns an index with so many rules, spread over all kinds, and the facts of a token that none denies.
func filledIndex(rules int) (*Index, Facts) {
	kinds := []Kind{TokenID, SessionID, Subject, ClientID, Audience, KeyID}
	names := map[Kind]string{TokenID: "jti", SessionID: "sid", Subject: "sub", ClientID: "client", Audience: "aud", KeyID: "kid"}
	index := NewIndex()
	for i := range rules {
		kind := kinds[i%len(kinds)]
		index.Put(Rule{
			ID: fmt.Sprintf("00000000-0000-4000-8000-%012d", i), Kind: kind,
			Value: fmt.Sprintf("%s-%d", names[kind], i/len(kinds)), IssuedBefore: noon,
		})
	}
	return index, Facts{
		TokenID: "jti-good", SessionID: "sid-good", Subject: "sub-good", ClientID: "client-good", KeyID: "kid-good",
		Audiences: []string{"aud-good"}, IssuedAt: noon.Add(time.Second),
	}
}
