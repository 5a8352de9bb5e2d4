package server

import (
	"net/url"
	"testing"
)

func TestEncodeValue(t *testing.T) {
	for value, want := range map[string]string{
		"":                         "",
		"alice":                    "alice",
		"CN=a,O=b|c\"d\\e":         "CN=a,O=b|c\"d\\e",
		"https://a/b?c=d&e#f":      "https://a/b?c=d&e#f",
		"Ann Lee":                  "Ann%20Lee",
		" a ":                      "%20a%20",
		"100%":                     "100%25",
		"é":                        "%C3%A9",
		"a\r\nX-Auth-Subject: bob": "a%0D%0AX-Auth-Subject:%20bob",
		"\x00\x7f\xff":             "%00%7F%FF",
	} {
		if got := encodeValue(value); got != want {
			t.Errorf("encodeValue(%q) = %q, want %q", value, got, want)
		}
	}
}

func TestEncodeScopes(t *testing.T) {
	for _, test := range []struct {
		scopes []string
		want   string
	}{
		{nil, ""},
		{[]string{"a"}, "a"},
		{[]string{"a", "b:c"}, "a b:c"},
		{[]string{"a b", "c"}, "a%20b c"},
	} {
		if got := encodeScopes(test.scopes); got != test.want {
			t.Errorf("encodeScopes(%q) = %q, want %q", test.scopes, got, test.want)
		}
	}
}

func FuzzEncodeValue(f *testing.F) {
	f.Add("a%20b\r\né")
	f.Fuzz(func(t *testing.T, value string) {
		encoded := encodeValue(value)
		for i := range len(encoded) {
			if encoded[i] <= ' ' || encoded[i] > '~' {
				t.Fatalf("%q comes out as %q", value, encoded)
			}
		}
		if decoded, err := url.PathUnescape(encoded); err != nil || decoded != value {
			t.Fatalf("%q comes back as %q: %v", value, decoded, err)
		}
	})
}
