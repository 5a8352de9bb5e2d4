package replicas

import "testing"

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
		"everything below it":                      {Position{"": "<100"}, "shop", "99", true},
		"but not itself":                           {Position{"": "<100"}, "shop", "100", false},
		"what is no resource version is not there": {Position{"": "12x"}, "shop", "1", false},
		"but for itself":                           {Position{"": "12x"}, "shop", "12x", true},
		"nor is what is asked for":                 {Position{"": "100"}, "shop", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := test.position.Reached(test.namespace, test.version); got != test.want {
				t.Errorf("%v reached %s/%s: %t, want %t", test.position, test.namespace, test.version, got, test.want)
			}
		})
	}
}
