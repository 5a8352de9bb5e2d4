package token

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// cached returns how many tokens are remembered, once all pending work of the cache is done.
func (v *Verifier) cached() int {
	v.cache.entries.CleanUp()
	return v.cache.entries.EstimatedSize()
}

// tokens returns so many good tokens that differ in their id. HMAC makes them fast.
func tokens(t testing.TB, count int) []string {
	t.Helper()
	made := make([]string, count)
	header := goodHeader(jose.HS256).json(t)
	for i := range made {
		made[i] = signed(t, jose.HS256, header, goodClaims().with(fields{"jti": fmt.Sprintf("jti-%d", i)}).json(t))
	}
	return made
}

func TestFloodsNeitherFillNorEvict(t *testing.T) {
	header := goodHeader(jose.HS256).json(t)
	floods := map[Reason]func(claims fields) string{
		SignatureInvalid: func(claims fields) string {
			return segment(header) + "." + segment(claims.json(t)) + "." + segment("not the signature of this one...")
		},
		Expired: func(claims fields) string {
			return signed(t, jose.HS256, header, claims.with(fields{"exp": at(-time.Minute)}).json(t))
		},
	}
	for reason, flood := range floods {
		t.Run(string(reason), func(t *testing.T) {
			w := newWorld()
			v := NewVerifier(w, w.clock, Options{MaxEntries: 10})
			good := tokens(t, 5)
			for _, raw := range good {
				v.Verify(raw, Want{})
			}
			if got := v.cached(); got != len(good) {
				t.Fatalf("%d tokens remembered, want %d", got, len(good))
			}
			for i := range 1000 {
				raw := flood(goodClaims().with(fields{"jti": fmt.Sprintf("flood-%d", i)}))
				if got := v.Verify(raw, Want{}).Reason; got != reason {
					t.Fatalf("Reason = %s, want %s", got, reason)
				}
			}
			if got := v.cached(); got != len(good) {
				t.Errorf("%d tokens remembered after the flood, want %d", got, len(good))
			}
			for _, raw := range good {
				if v.cache.find(digestOf(raw)) == nil {
					t.Error("the flood evicted a good token")
				}
			}
		})
	}
}

// What expired a while ago is of no use to anybody, and makes room without waiting for others to need it.
func TestExpiredTokensAreForgotten(t *testing.T) {
	w := newWorld()
	v := w.verifier()
	good := tokens(t, 5)
	for _, raw := range good {
		v.Verify(raw, Want{})
	}
	expires := noon.Add(10*time.Minute + 30*time.Second) // the skew included
	forgotten := expires.Add(lateness)
	for _, now := range []time.Time{expires, forgotten.Add(-time.Millisecond)} {
		w.clock.SetTime(now)
		for _, raw := range good {
			if v.cache.find(digestOf(raw)) == nil {
				t.Fatalf("a token was forgotten %s after it expired", now.Sub(expires))
			}
		}
		if reason := v.Verify(good[0], Want{}).Reason; reason != Expired {
			t.Errorf("Reason = %s %s after it expired, want %s", reason, now.Sub(expires), Expired)
		}
	}
	w.clock.SetTime(forgotten)
	if v.cache.find(digestOf(good[0])) != nil {
		t.Error("an expired token is still remembered")
	}
	if reason := v.Verify(good[0], Want{}).Reason; reason != Expired {
		t.Errorf("Reason = %s, want %s", reason, Expired)
	}
	// What has expired is swept about every second.
	w.clock.SetTime(forgotten.Add(2 * time.Second))
	if got := v.cached(); got != 0 {
		t.Errorf("%d tokens remembered after all have expired, want 0", got)
	}
}

// The end of time is further away than a time.Duration can say.
func TestTokenOfTheYear9999IsRemembered(t *testing.T) {
	w := newWorld()
	v := w.verifier()
	raw := signed(t, jose.HS256, goodHeader(jose.HS256).json(t), goodClaims().with(fields{"exp": lastMoment}).json(t))
	if reason := v.Verify(raw, Want{}).Reason; reason != LifetimeExceeded {
		t.Fatalf("Reason = %s, want %s", reason, LifetimeExceeded)
	}
	w.clock.SetTime(noon.AddDate(100, 0, 0))
	if v.cache.find(digestOf(raw)) == nil {
		t.Error("the token was forgotten")
	}
}

func TestCacheIsBounded(t *testing.T) {
	made := tokens(t, 200)
	w := newWorld()
	tests := map[string]struct {
		options Options
		// atMost is how many of 200 tokens may be remembered, and atLeast how many must.
		atMost, atLeast int
	}{
		"default":          {Options{}, 200, 200},
		"few entries":      {Options{MaxEntries: 50}, 50, 45},
		"few bytes":        {Options{MaxBytes: 32 << 10}, (32 << 10) / entrySize, 20},
		"one entry":        {Options{MaxEntries: 1}, 1, 0},
		"no entries":       {Options{MaxEntries: -1}, 0, 0},
		"no bytes":         {Options{MaxBytes: -1}, 0, 0},
		"bytes of no size": {Options{MaxBytes: 1}, 0, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			v := NewVerifier(w, w.clock, test.options)
			for _, raw := range made {
				if got := v.Verify(raw, Want{}).Reason; got != Allowed {
					t.Fatalf("Reason = %s, want %s", got, Allowed)
				}
			}
			got := 0
			if v.cache != nil {
				got = v.cached()
			}
			if got > test.atMost || got < test.atLeast {
				t.Errorf("%d tokens remembered, want from %d to %d", got, test.atLeast, test.atMost)
			}
		})
	}
}

// The claims of a token count against the bound on bytes.
func TestLargeTokensTakeMoreRoom(t *testing.T) {
	const maxBytes, groups = 64 << 10, 4 << 10
	w := newWorld()
	v := NewVerifier(w, w.clock, Options{MaxBytes: maxBytes})
	for i := range 50 {
		claims := goodClaims().with(fields{"jti": fmt.Sprintf("jti-%d", i), "groups": strings.Repeat("g", groups)})
		v.Verify(signed(t, jose.HS256, goodHeader(jose.HS256).json(t), claims.json(t)), Want{})
	}
	if got := v.cached(); got == 0 || got > maxBytes/groups {
		t.Errorf("%d tokens remembered, want from 1 to %d", got, maxBytes/groups)
	}
}

// What is remembered of a token does not keep the rest alive: neither its text, nor its payload, nor its header.
func TestLittleIsKeptOfLargeTokens(t *testing.T) {
	const count, filling = 1000, 3 << 10
	made := make([]string, count)
	for i := range made {
		unused := fields{"x": strings.Repeat("x", filling), "y": i}
		claims := goodClaims().with(fields{"jti": fmt.Sprintf("jti-%d", i), "unused": unused})
		made[i] = signed(t, jose.HS256, goodHeader(jose.HS256).with(unused).json(t), claims.json(t))
	}
	v := newWorld().verifier()
	before := heap()
	for _, raw := range made {
		if got := v.Verify(raw, Want{}).Reason; got != Allowed {
			t.Fatalf("Reason = %s, want %s", got, Allowed)
		}
	}
	if got := v.cached(); got != count {
		t.Fatalf("%d tokens remembered, want %d", got, count)
	}
	if got := (heap() - before) / count; got > filling/2 {
		t.Errorf("%.0f bytes are kept of each token", got)
	}
	runtime.KeepAlive(made)
}

// A token that was verified with another key under the same id is verified anew, and then remembered with the new key.
func TestCacheFollowsTheKey(t *testing.T) {
	w := newWorld()
	v := w.verifier()
	raw := goodToken(t, jose.ES256)
	v.Verify(raw, Want{})
	before := v.cache.find(digestOf(raw))
	w.change(func(i *Issuer) { i.Keys["ES256"] = newKey(jose.ES256) })
	v.Verify(raw, Want{})
	after := v.cache.find(digestOf(raw))
	if after.verifiedBy != w.issuer.Keys["ES256"] {
		t.Error("the token is not remembered with the new key")
	}
	if before.verifiedBy == after.verifiedBy {
		t.Error("the entry that others may be reading was changed")
	}
}
