package revocation

import (
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
			rule, denied := index.Match(&token)
			if rule.ID != test.want || denied != (test.want != "") {
				t.Errorf("Match() = rule %q, %v; want rule %q", rule.ID, denied, test.want)
			}
			if got := index.Len(); got != len(test.rules) {
				t.Errorf("Len() = %d, want %d", got, len(test.rules))
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
		index.Delete(step.remove)
		if rule, _ := index.Match(&token); rule.ID != step.want {
			t.Errorf("after Delete(%q), Match() = rule %q, want %q", step.remove, rule.ID, step.want)
		}
		if index.Has(step.remove) {
			t.Errorf("after Delete(%q), Has() = true", step.remove)
		}
	}
	if got := index.Len(); got != 0 {
		t.Errorf("Len() = %d after every rule was deleted, want 0", got)
	}
}

func TestPutReplacesTheRuleWithTheSameID(t *testing.T) {
	alice, bob := Facts{Subject: "alice", IssuedAt: noon}, Facts{Subject: "bob", IssuedAt: noon}
	index := NewIndex()
	index.Put(Rule{ID: "r", Kind: Subject, Value: "alice", IssuedBefore: noon.Add(time.Hour)})
	index.Put(Rule{ID: "r", Kind: Subject, Value: "bob", IssuedBefore: noon.Add(time.Hour)})
	if _, denied := index.Match(&alice); denied {
		t.Error("alice is denied by a rule that was replaced")
	}
	if _, denied := index.Match(&bob); !denied {
		t.Error("bob is not denied by the rule that replaced it")
	}
	index.Put(Rule{ID: "r", Kind: Subject, Value: "bob", IssuedBefore: noon})
	if _, denied := index.Match(&bob); denied {
		t.Error("bob is denied by the time of a rule that was replaced")
	}
	if got := index.Len(); got != 1 {
		t.Errorf("Len() = %d, want 1", got)
	}
}
