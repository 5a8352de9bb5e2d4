package issuers

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/keyring"
)

// Whatever comes, goes, changes, or moves to the URL of another one, readers see what there is now.
func TestReadersSeeEveryChange(t *testing.T) {
	ring := newRing(t, newIssuer("any", "https://any.example", 0))
	names := []string{"a", "b", "c"}
	urls := []string{"https://1.example", "https://2.example"}
	rapid.Check(t, func(t *rapid.T) {
		r, model := NewRegistry(), map[string]*v1alpha1.TokenIssuer{}
		for _, name := range names {
			must(t, r.setRing(nameOf(newIssuer(name, "", 0)), ring))
		}
		r.markSynced()
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				age := time.Duration(rapid.IntRange(0, 2).Draw(t, "age")) * time.Second
				issuer := newIssuer(rapid.SampledFrom(names).Draw(t, "name"), rapid.SampledFrom(urls).Draw(t, "url"), age)
				issuer.Spec.Audiences = []string{rapid.StringMatching(`[a-z]`).Draw(t, "audience")}
				must(t, r.setIssuer(issuer, func(*entry) {}))
				model[issuer.Name] = issuer
			},
			"delete": func(t *rapid.T) {
				name := rapid.SampledFrom(names).Draw(t, "name")
				r.deleteIssuer(nameOf(newIssuer(name, "", 0)))
				delete(model, name)
			},
			"": func(t *rapid.T) {
				for _, url := range urls {
					checkURL(t, r, url, model)
				}
				for _, name := range names {
					v := r.table.Load().named(nameOf(newIssuer(name, "", 0)))
					if want := model[name]; (v != nil) != (want != nil) || v != nil && v.issuer != want {
						t.Fatalf("%s is known as %v, want %v", name, v, want)
					}
				}
			},
		})
	})
}

// checkURL compares what is known of a URL with the issuers that claim it.
func checkURL(t *rapid.T, r *Registry, url string, issuers map[string]*v1alpha1.TokenIssuer) {
	var claims []v1alpha1.TokenIssuer
	for _, issuer := range issuers {
		if issuer.Spec.IssuerURL == url {
			claims = append(claims, *issuer)
		}
	}
	owner, got := URLOwner(claims), r.ByURL(url)
	if owner == nil {
		if got != nil {
			t.Fatalf("nobody claims %s, and it is that of %s", url, got.Name)
		}
		return
	}
	if got == nil || got.Name != owner.Name || !slices.Equal(got.Audiences, owner.Spec.Audiences) {
		t.Fatalf("%s is that of %+v, want %s for %v", url, got, owner.Name, owner.Spec.Audiences)
	}
	for i := range claims {
		published := r.PublicationByName("default", claims[i].Name) != nil
		if owns := claims[i].Name == owner.Name; published != owns {
			t.Fatalf("%s publishes: %t; owns %s: %t", claims[i].Name, published, url, owns)
		}
	}
}

func must(t *rapid.T, err error) {
	if err != nil {
		t.Fatal(err)
	}
}

// An issuer that changes all the time is there all the time, by its URL and by its name, also while others come and go.
func TestReadersAlwaysFindAnIssuerThatChanges(t *testing.T) {
	r := NewRegistry()
	r.markSynced()
	shop := newIssuer("shop", "https://shop.example", time.Hour)
	rings := []*keyring.Ring{newRing(t, shop), newRing(t, shop)}
	add(t, r, shop, rings[0])
	var done atomic.Bool
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for !done.Load() {
				byURL, byName := r.ByURL(shop.Spec.IssuerURL), r.PublicationByName("default", "shop")
				if byURL == nil || len(byURL.Keys) != len(rings[0].Keys) || byName == nil {
					t.Errorf("by its URL it is %v, and it publishes %v", byURL, byName)
					return
				}
			}
		})
	}
	for i := range 500 {
		if err := r.setRing(nameOf(shop), rings[i%2]); err != nil {
			t.Error(err)
		}
		other := newIssuer(fmt.Sprint("other-", i%5), shop.Spec.IssuerURL, 0)
		add(t, r, other, rings[0])
		if i%3 == 0 {
			r.deleteIssuer(nameOf(other))
		}
	}
	done.Store(true)
	readers.Wait()
}
