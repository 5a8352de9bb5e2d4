package token

import (
	"fmt"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyturn/keyturn/internal/revocation"
)

// A token that was seen, and was good, is denied from the very moment that something speaks against it.
func TestCacheDelaysNothing(t *testing.T) {
	tests := map[string]struct {
		// then happens after the token was seen.
		then func(*world)
		// want is what the second request asks for.
		want   Want
		reason Reason
	}{
		"nothing":                   {then: func(*world) {}, reason: Allowed},
		"not synced":                {then: func(w *world) { w.synced = false }, reason: NotSynced},
		"expiry passes":             {then: func(w *world) { w.clock.SetTime(noon.Add(10*time.Minute + 30*time.Second)) }, reason: Expired},
		"clock set back before nbf": {then: func(w *world) { w.clock.SetTime(noon.Add(-time.Minute)) }, reason: NotYetValid},
		"key revoked":               {then: revoked(revocation.Rule{Kind: revocation.KeyID, Value: "ES256"}), reason: KeyRevoked},
		"key removed":               {then: change(func(i *Issuer) { delete(i.Keys, "ES256") }), reason: KeyUnknown},
		"key exchanged":             {then: change(func(i *Issuer) { i.Keys["ES256"] = otherES256() }), reason: SignatureInvalid},
		"same key read anew":        {then: change(func(i *Issuer) { i.Keys["ES256"] = newKey(jose.ES256) }), reason: Allowed},
		"algorithm taken away":      {then: change(func(i *Issuer) { i.Keys["ES256"] = withAlgorithm(jose.ES384) }), reason: AlgorithmNotAllowed},
		"rule for the token":        {then: revoked(revocation.Rule{Kind: revocation.TokenID, Value: "jti-1"}), reason: Revoked},
		"rule for the subject":      {then: revoked(revocation.Rule{Kind: revocation.Subject, Value: "alice", IssuedBefore: noon.Add(1)}), reason: Revoked},
		"audience changed":          {then: change(func(i *Issuer) { i.Audiences = []string{"billing-api"} }), reason: AudienceMismatch},
		"other audience asked for":  {then: func(*world) {}, want: Want{Audiences: []string{"billing-api"}}, reason: AudienceMismatch},
		"type policy changed":       {then: change(func(i *Issuer) { i.Types = []string{"jwt"} }), reason: TypeNotAllowed},
		"scope policy changed":      {then: change(func(i *Issuer) { i.Scopes = []string{"admin"} }), reason: ScopeInsufficient},
		"other scope asked for":     {then: func(*world) {}, want: Want{Scopes: []string{"admin"}}, reason: ScopeInsufficient},
		"issuer deleted":            {then: func(w *world) { delete(w.directory, issuerURL) }, reason: IssuerUnknown},
		"keys stale":                {then: change(func(i *Issuer) { i.KeysStale = true }), reason: KeysStale},
		"lifetime lowered":          {then: change(func(i *Issuer) { shortenLifetime(i) }), reason: LifetimeExceeded},
		"skew lowered":              {then: func(w *world) { w.clock.SetTime(noon.Add(601 * time.Second)); change(noSkew)(w) }, reason: Expired},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			v := w.verifier()
			raw := goodToken(t, jose.ES256)
			if got := v.Verify(raw, Want{}).Reason; got != Allowed {
				t.Fatalf("before: Reason = %s, want %s", got, Allowed)
			}
			if v.cached() != 1 {
				t.Fatal("before: the token was not remembered, so the test would show nothing")
			}
			test.then(w)
			if got := v.Verify(raw, test.want).Reason; got != test.reason {
				t.Errorf("after: Reason = %s, want %s", got, test.reason)
			}
		})
	}
}

func change(edit func(*Issuer)) func(*world) { return func(w *world) { w.change(edit) } }

func noSkew(i *Issuer) { i.ClockSkew = 0 }

// shortenLifetime gives the key a shorter promise. A key is immutable, so it is another one, with the same public half.
func shortenLifetime(i *Issuer) {
	key := *i.Keys["ES256"]
	key.MaxLifetime = 10*time.Minute - time.Second
	i.Keys["ES256"] = &key
}

func withAlgorithm(algorithm jose.SignatureAlgorithm) *Key {
	key := newKey(jose.ES256)
	key.Algorithms = []jose.SignatureAlgorithm{algorithm}
	return key
}

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

func TestBadSignaturesNeitherFillNorEvict(t *testing.T) {
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
		forged := goodClaims().with(fields{"jti": fmt.Sprintf("forged-%d", i)}).json(t)
		raw := segment(goodHeader(jose.HS256).json(t)) + "." + segment(forged) + "." + segment("not the signature of this one...")
		if got := v.Verify(raw, Want{}).Reason; got != SignatureInvalid {
			t.Fatalf("Reason = %s, want %s", got, SignatureInvalid)
		}
	}
	if got := v.cached(); got != len(good) {
		t.Errorf("%d tokens remembered after the flood, want %d", got, len(good))
	}
	for _, raw := range good {
		if v.cache.find(digestOf(raw)) == nil {
			t.Error("a flood of bad signatures evicted a good token")
		}
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
