package revocation

import (
	"math"
	"slices"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// matchFacts are those that every row of matchTests begins with.
var matchFacts = Facts{
	TokenID: "jti-1", SessionID: "sid-1", Subject: "alice", ClientID: "web", KeyID: "kid-1",
	Audiences: []string{"shop", "mail"}, IssuedAt: noon,
}

var later = noon.Add(time.Nanosecond)

var matchTests = map[string]struct {
	rules []Rule
	edit  func(*Facts)
	// want is the ID of the rule that denies, or "" when the token is good.
	want string
}{
	"no rules":                            {},
	"token id":                            {rules: []Rule{{ID: "r", Kind: TokenID, Value: "jti-1"}}, want: "r"},
	"token id ignores issuedBefore":       {rules: []Rule{{ID: "r", Kind: TokenID, Value: "jti-1", IssuedBefore: noon.Add(-time.Hour)}}, want: "r"},
	"another token id":                    {rules: []Rule{{ID: "r", Kind: TokenID, Value: "jti-2"}}},
	"session id":                          {rules: []Rule{{ID: "r", Kind: SessionID, Value: "sid-1"}}, want: "r"},
	"key id":                              {rules: []Rule{{ID: "r", Kind: KeyID, Value: "kid-1"}}, want: "r"},
	"subject, issued before":              {rules: []Rule{{ID: "r", Kind: Subject, Value: "alice", IssuedBefore: later}}, want: "r"},
	"subject, issued at that moment":      {rules: []Rule{{ID: "r", Kind: Subject, Value: "alice", IssuedBefore: noon}}},
	"subject, no issuedBefore":            {rules: []Rule{{ID: "r", Kind: Subject, Value: "alice"}}},
	"subject, half a second before":       {rules: []Rule{{ID: "r", Kind: Subject, Value: "alice", IssuedBefore: noon}}, edit: func(f *Facts) { f.IssuedAt = noon.Add(-time.Second / 2) }, want: "r"},
	"subject, half a second after":        {rules: []Rule{{ID: "r", Kind: Subject, Value: "alice", IssuedBefore: noon}}, edit: func(f *Facts) { f.IssuedAt = noon.Add(time.Second / 2) }},
	"subject in another case":             {rules: []Rule{{ID: "r", Kind: Subject, Value: "Alice", IssuedBefore: later}}},
	"subject without iat":                 {rules: []Rule{{ID: "r", Kind: Subject, Value: "alice", IssuedBefore: noon}}, edit: func(f *Facts) { f.IssuedAt = time.Time{} }, want: "r"},
	"client":                              {rules: []Rule{{ID: "r", Kind: ClientID, Value: "web", IssuedBefore: later}}, want: "r"},
	"first audience":                      {rules: []Rule{{ID: "r", Kind: Audience, Value: "shop", IssuedBefore: later}}, want: "r"},
	"last audience":                       {rules: []Rule{{ID: "r", Kind: Audience, Value: "mail", IssuedBefore: later}}, want: "r"},
	"audience, issued at that moment":     {rules: []Rule{{ID: "r", Kind: Audience, Value: "mail", IssuedBefore: noon}}},
	"all, issued before":                  {rules: []Rule{{ID: "r", Kind: All, IssuedBefore: later}}, want: "r"},
	"all ignores its value":               {rules: []Rule{{ID: "r", Kind: All, Value: "x", IssuedBefore: later}}, want: "r"},
	"all, issued at that moment":          {rules: []Rule{{ID: "r", Kind: All, IssuedBefore: noon}}},
	"a value of another kind":             {rules: []Rule{{ID: "r", Kind: ClientID, Value: "alice", IssuedBefore: later}}},
	"empty token id":                      {rules: []Rule{{ID: "r", Kind: TokenID}}, edit: func(f *Facts) { f.TokenID = "" }},
	"empty subject":                       {rules: []Rule{{ID: "r", Kind: Subject, IssuedBefore: later}}, edit: func(f *Facts) { f.Subject = "" }},
	"empty audience":                      {rules: []Rule{{ID: "r", Kind: Audience, IssuedBefore: later}}, edit: func(f *Facts) { f.Audiences = []string{""} }},
	"unknown kind":                        {rules: []Rule{{ID: "r", Kind: 0, Value: "alice"}, {ID: "s", Kind: 99, Value: "alice"}}},
	"the latest of one subject decides":   {rules: []Rule{{ID: "r", Kind: Subject, Value: "alice", IssuedBefore: noon}, {ID: "s", Kind: Subject, Value: "alice", IssuedBefore: later}}, want: "s"},
	"an earlier one takes nothing back":   {rules: []Rule{{ID: "s", Kind: Subject, Value: "alice", IssuedBefore: later}, {ID: "r", Kind: Subject, Value: "alice", IssuedBefore: noon}}, want: "s"},
	"a rule that does not deny is no aid": {rules: []Rule{{ID: "r", Kind: Subject, Value: "alice", IssuedBefore: noon}, {ID: "s", Kind: All, IssuedBefore: later}}, want: "s"},
}

// deniedBy says whether it is the rule with this ID that denies; "" for none.
func (x *Index) deniedBy(facts *Facts, id string) bool {
	_, n := x.match(facts)
	return n == nil && id == "" || n != nil && n.id == x.hash.digest(0, id)
}

// says reports whether the denial tells of the rule what it should.
func (d Denial) says(rule Rule) bool {
	if !rule.Kind.timed() {
		rule.IssuedBefore = time.Time{}
	}
	return d.Kind == rule.Kind && d.IssuedBefore.Equal(rule.IssuedBefore)
}

func TestMatch(t *testing.T) {
	for name, test := range matchTests {
		t.Run(name, func(t *testing.T) {
			index := NewIndex()
			for _, rule := range test.rules {
				index.Put(rule)
			}
			token := matchFacts
			if test.edit != nil {
				test.edit(&token)
			}
			denial, denied := index.Match(&token)
			at := slices.IndexFunc(test.rules, func(rule Rule) bool { return rule.ID == test.want })
			if denied != (at >= 0) || !index.deniedBy(&token, test.want) {
				t.Errorf("Match() = %+v, %v; want the rule %q", denial, denied, test.want)
			} else if at >= 0 && !denial.says(test.rules[at]) {
				t.Errorf("Match() = %+v, want what %+v says", denial, test.rules[at])
			}
			known := slices.DeleteFunc(slices.Clone(test.rules), func(rule Rule) bool { return !rule.Kind.known() })
			if got := index.Len(); got != len(known) {
				t.Errorf("Len() = %d, want %d", got, len(known))
			}
		})
	}
}

func TestKeyRevoked(t *testing.T) {
	index := NewIndex()
	index.Put(Rule{ID: "r", Kind: KeyID, Value: "kid-1"})
	index.Put(Rule{ID: "s", Kind: KeyID})
	index.Put(Rule{ID: "t", Kind: TokenID, Value: "kid-2"})
	for keyID, want := range map[string]bool{"kid-1": true, "kid-2": false, "": false} {
		if got := index.KeyRevoked(keyID); got != want {
			t.Errorf("KeyRevoked(%q) = %v, want %v", keyID, got, want)
		}
	}
}

func TestDeleteLiftsNoOtherRule(t *testing.T) {
	token := Facts{Subject: "alice", IssuedAt: noon}
	index := NewIndex()
	for hour, id := range []string{"a", "b", "c"} {
		index.Put(Rule{ID: id, Kind: Subject, Value: "alice", IssuedBefore: noon.Add(time.Duration(hour+1) * time.Hour)})
	}
	for _, step := range []struct{ remove, want string }{{"c", "b"}, {"a", "b"}, {"no such rule", "b"}, {"b", ""}} {
		gone := Rule{ID: step.remove, Kind: Subject, Value: "alice"}
		index.Delete(gone)
		if !index.deniedBy(&token, step.want) {
			t.Errorf("after Delete(%q), it is not the rule %q that denies", step.remove, step.want)
		}
		if index.Has(gone) {
			t.Errorf("after Delete(%q), Has() = true", step.remove)
		}
	}
	if got := index.Len(); got != 0 {
		t.Errorf("Len() = %d after every rule was deleted, want 0", got)
	}
}

func TestPutReplacesTheRuleWithTheSameID(t *testing.T) {
	bob := Facts{Subject: "bob", IssuedAt: noon}
	index := NewIndex()
	index.Put(Rule{ID: "r", Kind: Subject, Value: "bob", IssuedBefore: noon.Add(time.Hour)})
	if _, denied := index.Match(&bob); !denied {
		t.Error("bob is not denied")
	}
	index.Put(Rule{ID: "r", Kind: Subject, Value: "bob", IssuedBefore: noon})
	if _, denied := index.Match(&bob); denied {
		t.Error("bob is denied by the time of a rule that was replaced")
	}
	if got := index.Len(); got != 1 {
		t.Errorf("Len() = %d, want 1", got)
	}
}

// Times that no nanosecond of 64 bits reaches are the beginning and the end of time.
func TestMoments(t *testing.T) {
	for want, at := range map[moment]time.Time{
		math.MinInt64: {}, math.MaxInt64: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC),
		0: time.Unix(0, 0), 1: time.Unix(0, 1), -1: time.Unix(0, -1),
		moment(noon.UnixNano()): noon.In(time.FixedZone("", 3600)),
	} {
		if got := momentOf(at); got != want {
			t.Errorf("%s: %d, want %d", at, got, want)
		}
	}
	if got := momentOf(noon).time(); !got.Equal(noon) {
		t.Errorf("back: %s, want %s", got, noon)
	}
}

// Two indexes hash with different secrets, and one index tells the kinds apart.
func TestDigests(t *testing.T) {
	a, b := NewIndex().hash, NewIndex().hash
	if a.digest(Subject, "alice") == b.digest(Subject, "alice") {
		t.Error("two indexes have the same secret")
	}
	if a.digest(Subject, "alice") == a.digest(ClientID, "alice") || a.digest(Subject, "") == a.digest(Subject, "\x00") {
		t.Error("different targets have the same digest")
	}
}
