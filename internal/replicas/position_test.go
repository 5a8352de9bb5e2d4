package replicas

import (
	"maps"
	"testing"
)

func TestReached(t *testing.T) {
	for name, test := range map[string]struct {
		position           Position
		namespace, version string
		want               bool
	}{
		"the version itself":                       {Position{"": "100"}, "shop", "100", true},
		"a later one":                              {Position{"": "101"}, "shop", "100", true},
		"more digits are more, not less":           {Position{"": "1000"}, "shop", "999", true},
		"an earlier one":                           {Position{"": "99"}, "shop", "100", false},
		"nothing yet":                              {Position{"": ""}, "shop", "100", false},
		"its own namespace":                        {Position{"shop": "100"}, "shop", "100", true},
		"another namespace's watch says nothing":   {Position{"shop": "", "billing": "500"}, "shop", "100", false},
		"a namespace that nobody watches there":    {Position{"billing": "1"}, "shop", "100", true},
		"what is no resource version is not there": {Position{"": "12x"}, "shop", "1", false},
		"nor is what is asked for":                 {Position{"": "100"}, "shop", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := test.position.Reached(test.namespace, test.version); got != test.want {
				t.Errorf("%v reached %s/%s: %t, want %t", test.position, test.namespace, test.version, got, test.want)
			}
		})
	}
}

func TestProgressKeepsTheLatest(t *testing.T) {
	everywhere, confined := NewProgress(nil), NewProgress([]string{"shop", "billing"})
	for _, p := range []*Progress{everywhere, confined} {
		if _, ok := p.report(); ok {
			t.Error("it reports before everything is in force")
		}
		for _, version := range []string{"9", "10", "8"} { // a list is in no order
			p.Applied("shop", version, false)
		}
		p.Synced()
	}
	for _, test := range []struct {
		progress *Progress
		want     Position
	}{{everywhere, Position{"": "10"}}, {confined, Position{"shop": "10", "billing": ""}}} {
		if got, ok := test.progress.report(); !ok || !maps.Equal(got, test.want) {
			t.Errorf("reports %v, %t, want %v", got, ok, test.want)
		}
	}
}

// Only what somebody waits for is worth a write of its own.
func TestProgressWakes(t *testing.T) {
	p := NewProgress(nil)
	woken := func() bool {
		select {
		case <-p.urgent:
			return true
		default:
			return false
		}
	}
	p.Applied("shop", "1", true)
	if woken() {
		t.Error("woken by the first list")
	}
	p.Synced()
	if !woken() {
		t.Error("not woken by the end of the first list")
	}
	p.Applied("shop", "2", false)
	if woken() {
		t.Error("woken by what nobody waits for")
	}
	p.Applied("shop", "3", true)
	p.Applied("shop", "4", true)
	if !woken() || woken() {
		t.Error("two revocations do not wake once")
	}
}
