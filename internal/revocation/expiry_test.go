package revocation

import (
	"testing"
	"time"
)

func TestExpiry(t *testing.T) {
	const lifetime, skew = 15 * time.Minute, 30 * time.Second
	before := noon.Add(-time.Hour)
	tests := map[string]struct {
		rule Rule
		want time.Time
	}{
		// A bound on "iat" is exact.
		"subject":  {Rule{Kind: Subject, Value: "alice", IssuedBefore: before}, before.Add(lifetime + skew)},
		"client":   {Rule{Kind: ClientID, Value: "web", IssuedBefore: before}, before.Add(lifetime + skew)},
		"audience": {Rule{Kind: Audience, Value: "shop", IssuedBefore: before}, before.Add(lifetime + skew)},
		"all":      {Rule{Kind: All, IssuedBefore: before}, before.Add(lifetime + skew)},
		// Without one, the signer's clock may have been ahead, and the creation is recorded in whole seconds.
		"token id":   {Rule{Kind: TokenID, Value: "jti-1"}, noon.Add(time.Second + lifetime + 2*skew)},
		"session id": {Rule{Kind: SessionID, Value: "sid-1"}, noon.Add(time.Second + lifetime + 2*skew)},
		"key id":     {Rule{Kind: KeyID, Value: "kid-1", IssuedBefore: before}, noon.Add(time.Second + lifetime + 2*skew)},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Expiry(test.rule, noon, lifetime, skew); !got.Equal(test.want) {
				t.Errorf("Expiry() = %v, want %v", got, test.want)
			}
		})
	}
}
