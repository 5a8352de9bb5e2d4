package server

import (
	"net/http"
	"testing"

	"github.com/keyturn/keyturn/internal/token"
)

func TestBearerToken(t *testing.T) {
	for _, test := range []struct {
		lines  []string
		want   string
		reason token.Reason
	}{
		{[]string{"Bearer a.b.c"}, "a.b.c", token.Allowed},
		{[]string{"bearer a.b.c"}, "a.b.c", token.Allowed},
		{[]string{"BEARER a.b.c"}, "a.b.c", token.Allowed},
		{[]string{"Bearer   a.b.c"}, "a.b.c", token.Allowed},
		{[]string{"Bearer a b"}, "a b", token.Allowed}, // for the verifier to judge
		{nil, "", token.TokenMissing},
		{[]string{""}, "", token.TokenMissing},
		{[]string{"Bearer"}, "", token.TokenMissing},
		{[]string{"Bearer "}, "", token.TokenMissing},
		{[]string{"Bearer:a"}, "", token.TokenMissing},
		{[]string{"Basic YTpi"}, "", token.TokenMissing},
		{[]string{"Digest a=b, c=d"}, "", token.TokenMissing},
		{[]string{"a.b.c"}, "", token.TokenMissing},
		{[]string{"Bearer a,b"}, "", token.TokenAmbiguous},
		{[]string{"Bearer a, Bearer b"}, "", token.TokenAmbiguous},
		{[]string{"Basic YTpi, Bearer b"}, "", token.TokenAmbiguous},
		{[]string{"Basic YTpi,x,bearer b"}, "", token.TokenAmbiguous},
		{[]string{"Bearer a", "Bearer a"}, "", token.TokenAmbiguous},
		{[]string{"Basic YTpi", "Bearer a"}, "", token.TokenAmbiguous},
		{[]string{"", ""}, "", token.TokenAmbiguous},
	} {
		header := http.Header{}
		if test.lines != nil {
			header["Authorization"] = test.lines
		}
		if got, reason := bearerToken(header); got != test.want || reason != test.reason {
			t.Errorf("%q: %q, %s; want %q, %s", test.lines, got, reason, test.want, test.reason)
		}
	}
}
