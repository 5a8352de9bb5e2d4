package main

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestShorten(t *testing.T) {
	id := "thLN5o7x9H" + strings.Repeat("a", 33) // as long as an RFC 7638 thumbprint
	for name, c := range map[string]struct{ text, want string }{
		"a key id":                {`"kid":"` + id + `",`, `"kid":"thLN5o7x9H…",`},
		"each part of a token":    {id + "." + id, "thLN5o7x9H….thLN5o7x9H…"},
		"39 characters":           {id[:39], id[:39]},
		"40 characters":           {id[:40], "thLN5o7x9H…"},
		"the id of a session":     {strings.Repeat("a1", 16), "a1a1a1a1a1…"},
		"a refresh token":         {"ktr1_" + strings.Repeat("a", 60) + "0123456789", "ktr1_…0123456789"},
		"a sentence stays itself": {"The token lacks a scope that this request needs.", "The token lacks a scope that this request needs."},
	} {
		t.Run(name, func(t *testing.T) {
			if got := shorten(c.text); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestWrap(t *testing.T) {
	for name, c := range map[string]struct {
		text  string
		width int
		want  []string
	}{
		"empty":                   {"", 5, []string{""}},
		"as wide as it may be":    {"12345", 5, []string{"12345"}},
		"at the last space":       {"one two three", 8, []string{"one two", "three"}},
		"a space at the edge":     {"one two", 3, []string{"one", "two"}},
		"after a comma":           {`{"a":1,"b":2}`, 10, []string{`{"a":1,`, `"b":2}`}},
		"where it must":           {"abcdefgh", 3, []string{"abc", "def", "gh"}},
		"characters, not bytes":   {"…… ……", 2, []string{"……", "……"}},
		"not far left of the end": {"a bcdefghijkl", 9, []string{"a bcdefgh", "ijkl"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := wrap(c.text, c.width)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			for _, line := range got {
				if utf8.RuneCountInString(line) > c.width {
					t.Errorf("%q is wider than %d", line, c.width)
				}
			}
		})
	}
}

func TestTidyTable(t *testing.T) {
	id := strings.Repeat("b", 43)
	for name, c := range map[string]struct{ text, want string }{
		"a table": {
			"NAME   READY   ACTIVE-KEY                                    AGE\n" +
				"shop   True    " + id + "   3s\n",
			"NAME  READY  ACTIVE-KEY   AGE\n" +
				"shop  True   bbbbbbbbbb…  3s\n",
		},
		"an empty cell": {
			"NAME   EXPIRES   AGE\n" +
				"left             1s\n",
			"NAME  EXPIRES  AGE\n" +
				"left           1s\n",
		},
		"a heading of two words, and a row that ends early": {
			"NAME   LAST SEEN\n" +
				"a\n",
			"NAME  LAST SEEN\n" +
				"a\n",
		},
		"no table":    {"tokenissuer.keyturn.dev/shop created\n", "tokenissuer.keyturn.dev/shop created\n"},
		"one heading": {"NAME\nshop\n", "NAME\nshop\n"},
		"nothing":     {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, tidyTable(c.text)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
