package remotejwks

import (
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/token"
)

func TestKeepPointers(t *testing.T) {
	public, other := p256(t, "a").Key, p256(t, "a").Key
	key := func(edit func(*token.Key)) *token.Key {
		k := &token.Key{ID: "a", Algorithms: []jose.SignatureAlgorithm{jose.ES256}, Public: public, MaxLifetime: time.Hour}
		edit(k)
		return k
	}
	same := func(*token.Key) {}
	before := key(same)
	tests := map[string]struct {
		next *token.Key
		kept bool
	}{
		"the same":           {key(same), true},
		"another key":        {key(func(k *token.Key) { k.Public = other }), false},
		"another type":       {key(func(k *token.Key) { k.Public = rsaKey("a").Key }), false},
		"another algorithm":  {key(func(k *token.Key) { k.Algorithms = []jose.SignatureAlgorithm{jose.ES384} }), false},
		"one algorithm more": {key(func(k *token.Key) { k.Algorithms = []jose.SignatureAlgorithm{jose.ES256, jose.ES384} }), false},
		"another lifetime":   {key(func(k *token.Key) { k.MaxLifetime = time.Minute }), false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			keys, changed := keepPointers(map[string]*token.Key{"a": before}, map[string]*token.Key{"a": test.next})
			if kept := keys["a"] == before; kept != test.kept || changed == test.kept {
				t.Errorf("pointer kept: %t, set changed: %t; want kept: %t", kept, changed, test.kept)
			}
		})
	}
	if _, changed := keepPointers(map[string]*token.Key{"a": before, "b": before}, map[string]*token.Key{"a": before}); !changed {
		t.Error("a key that is gone is no change")
	}
}

func TestAdopt(t *testing.T) {
	fetched := start.Add(-time.Hour)
	old := Source{MaxLifetime: time.Hour}.withDefaults()
	keys, _, err := parseSet(jwks(t, p256(t, "ec"), rsaKey("rsa"), edKey(t, "ed")), old)
	if err != nil {
		t.Fatal(err)
	}
	previous := newSet(keys, nil, fetched, 24*time.Hour)
	tests := map[string]struct {
		source    Source
		want      algorithmsOf
		wantSame  []string // the keys whose pointer is kept
		wantStale bool
	}{
		"an unrelated edit": {
			source:   Source{MaxLifetime: time.Hour, RefreshInterval: time.Minute},
			want:     algorithmsOf{"ec": {jose.ES256}, "rsa": {jose.RS256, jose.PS256}, "ed": {jose.EdDSA}},
			wantSame: []string{"ec", "rsa", "ed"},
		},
		"fewer algorithms": {
			source:   Source{MaxLifetime: time.Hour, Algorithms: []jose.SignatureAlgorithm{jose.ES256, jose.PS256}},
			want:     algorithmsOf{"ec": {jose.ES256}, "rsa": {jose.PS256}},
			wantSame: []string{"ec"},
		},
		"a shorter lifetime": {
			source: Source{MaxLifetime: time.Minute, Algorithms: []jose.SignatureAlgorithm{jose.ES256}},
			want:   algorithmsOf{"ec": {jose.ES256}},
		},
		"less staleness": {
			source:    Source{MaxLifetime: time.Hour, Algorithms: []jose.SignatureAlgorithm{jose.ES256}, MaxStaleness: time.Hour},
			want:      algorithmsOf{"ec": {jose.ES256}},
			wantSame:  []string{"ec"},
			wantStale: true,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			set := adopt(previous, test.source.withDefaults())
			if diff := cmp.Diff(test.want, ids(set.Keys)); diff != "" {
				t.Errorf("keys (-want +got):\n%s", diff)
			}
			same := map[string]bool{}
			for id := range set.Keys {
				same[id] = set.Keys[id] == previous.Keys[id]
			}
			for _, id := range test.wantSame {
				if !same[id] {
					t.Errorf("the pointer of %q was not kept", id)
				}
				delete(same, id)
			}
			for id, kept := range same {
				if kept {
					t.Errorf("the pointer of %q was kept, though the key differs", id)
				}
			}
			if set.Stale(start) != test.wantStale || !set.FetchedAt.Equal(fetched) {
				t.Errorf("stale: %t, fetched at %s; want %t and %s", set.Stale(start), set.FetchedAt, test.wantStale, fetched)
			}
		})
	}
}

func TestAdoptNothing(t *testing.T) {
	for name, previous := range map[string]*Set{"none": nil, "never fetched": {}} {
		if set := adopt(previous, Source{}.withDefaults()); len(set.Keys) != 0 || !set.FetchedAt.IsZero() || !set.Stale(time.Time{}) {
			t.Errorf("%s: the set is %+v, want an empty one that is stale at any time", name, set)
		}
	}
}
