package token

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestNumericDateKeepsFractions(t *testing.T) {
	for number, want := range map[string]time.Time{
		"1772366400":             noon,
		"1772366400.5":           noon.Add(time.Second / 2),
		"1772366400.123456":      noon.Add(123456 * time.Microsecond),
		"1772366399.999999":      noon.Add(-time.Microsecond),
		"1772366399.99999999999": noon,
		"17723664e2":             noon,
		"0":                      time.Unix(0, 0).UTC(),
		"-0":                     time.Unix(0, 0).UTC(),
		"253402300799":           time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	} {
		var claims Claims
		ok := claims.parse([]byte(`{"iat":` + number + `}`))
		if !ok || !claims.IssuedAt.Equal(want) {
			t.Errorf("iat %s is read as %v, %v; want %v", number, claims.IssuedAt, ok, want)
		}
	}
}

func TestScopes(t *testing.T) {
	for document, want := range map[string][]string{
		`{}`:                              nil,
		`{"scope":""}`:                    {},
		`{"scope":"a"}`:                   {"a"},
		`{"scope":" a  b "}`:              {"a", "b"},
		`{"scope":"a\tb"}`:                {"a\tb"},
		`{"scp":"a b"}`:                   {"a", "b"},
		`{"scp":["a b"]}`:                 {"a", "b"},
		`{"scp":["a","b"]}`:               {"a", "b"},
		`{"scope":"a","scp":["b"]}`:       {"a"},
		`{"scp":["b"],"scope":"a"}`:       {"a"},
		`{"scope":"","scp":["b"]}`:        {},
		`{"scp":[],"scopes":"x"}`:         {},
		`{"scp":["a","b c"],"other":"x"}`: {"a", "b c"},
	} {
		var claims Claims
		ok := claims.parse([]byte(document))
		if !ok || !slices.Equal(claims.Scopes, want) {
			t.Errorf("the scopes of %s are %q, %v; want %q", document, claims.Scopes, ok, want)
		}
	}
}

func TestClientID(t *testing.T) {
	for document, want := range map[string]string{
		`{}`:                              "",
		`{"azp":"b"}`:                     "b",
		`{"client_id":"a"}`:               "a",
		`{"client_id":"a","azp":"b"}`:     "a",
		`{"azp":"b","client_id":"a"}`:     "a",
		`{"client_id":"","azp":"b"}`:      "b",
		`{"azp":"b","client_id":""}`:      "b",
		`{"clientId":"c","CLIENT_ID":""}`: "",
	} {
		var claims Claims
		ok := claims.parse([]byte(document))
		if !ok || claims.ClientID != want {
			t.Errorf("the client of %s is %q, %v; want %q", document, claims.ClientID, ok, want)
		}
	}
}

func TestGroups(t *testing.T) {
	many := make([]string, MaxGroups+1)
	for i := range many {
		many[i] = fmt.Sprintf("g%d", i)
	}
	tests := map[string]struct {
		document string
		want     []string
	}{
		"a list":         {`{"groups":["a","b"]}`, []string{"a", "b"}},
		"one string":     {`{"groups":"a b"}`, []string{"a b"}},
		"none":           {`{"group":"a"}`, nil},
		"an empty list":  {`{"groups":[]}`, nil},
		"null":           {`{"groups":null}`, nil},
		"numbers":        {`{"groups":[1]}`, nil},
		"mixed":          {`{"groups":["a",1]}`, nil},
		"mixed, first":   {`{"groups":[1,"a"]}`, nil},
		"an object":      {`{"groups":{"a":"b"}}`, nil},
		"over the bound": {`{"groups":["` + strings.Join(many, `","`) + `"]}`, many[:MaxGroups]},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var claims Claims
			ok := claims.parse([]byte(test.document))
			if got := claims.Groups("groups"); !ok || !slices.Equal(got, test.want) {
				t.Errorf("Groups() = %q, %v; want %q", got, ok, test.want)
			}
		})
	}
}

// A claim that tells what a token is may still be the one that holds the groups.
func TestGroupsInAClaimOfForeignTokens(t *testing.T) {
	var claims Claims
	ok := claims.parse([]byte(`{"events":["a"],"at_hash":"b","c_hash":["c"]}`))
	if !ok || !claims.foreign {
		t.Errorf("read: %v, foreign: %v", ok, claims.foreign)
	}
	for claim, want := range map[string]string{"events": "a", "at_hash": "b", "c_hash": "c"} {
		if got := claims.Groups(claim); !slices.Equal(got, []string{want}) {
			t.Errorf("Groups(%q) = %q, want %s", claim, got, want)
		}
	}
}

// What a caller appends to the groups must not reach other requests with the same token.
func TestGroupsCannotBeAppendedTo(t *testing.T) {
	var claims Claims
	claims.parse([]byte(`{"groups":["a","b","c"]}`))
	groups := claims.Groups("groups")
	if cap(groups) != len(groups) {
		t.Errorf("Groups() has room for %d more, want none", cap(groups)-len(groups))
	}
}

// Claims that are remembered say what they said before, and are not changed any more: others may be reading them.
func TestCompactClaimsSayTheSame(t *testing.T) {
	for _, document := range []string{
		`{}`,
		`{"iss":"i","sub":"s","aud":["a","b"],"jti":"j","client_id":"c","sid":"x","scope":"d e","groups":["g","h"],"team":"t"}`,
		`{"aud":[],"scope":"","groups":[],"":""}`,
		`{"iss":"é","sub":"ß","aud":"日本","groups":["","é",""]}`,
	} {
		var claims, compacted Claims
		if !claims.parse([]byte(document)) || !compacted.parse([]byte(document)) {
			t.Fatalf("%s is not read", document)
		}
		compacted.compact()
		if diff := cmp.Diff(claims, compacted, cmp.AllowUnexported(Claims{}, namedTexts{}), cmpopts.IgnoreFields(Claims{}, "size")); diff != "" {
			t.Errorf("%s says something else now (-before +after):\n%s", document, diff)
		}
		if cap(compacted.Audiences) != len(compacted.Audiences) {
			t.Errorf("%s: an audience that is appended would overwrite a scope", document)
		}
		again := compacted
		again.compact()
		if again.size != compacted.size || unsafe.StringData(again.Issuer) != unsafe.StringData(compacted.Issuer) {
			t.Errorf("%s is made compact twice", document)
		}
	}
}
