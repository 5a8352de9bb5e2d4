package revocation

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// naive is the index as one would write it without a thought of speed.
type naive []Rule

func (n naive) put(rule Rule) naive { return append(n.delete(rule.ID), rule) }

func (n naive) delete(id string) naive {
	return slices.DeleteFunc(slices.Clone(n), func(rule Rule) bool { return rule.ID == id })
}

func (n naive) denies(facts *Facts) bool {
	return slices.ContainsFunc(n, func(rule Rule) bool { return naivelyDenies(rule, facts) })
}

func naivelyDenies(rule Rule, facts *Facts) bool {
	named := func(fact string) bool { return fact != "" && fact == rule.Value }
	old := facts.IssuedAt.Before(rule.IssuedBefore)
	switch rule.Kind {
	case TokenID:
		return named(facts.TokenID)
	case SessionID:
		return named(facts.SessionID)
	case KeyID:
		return named(facts.KeyID)
	case Subject:
		return named(facts.Subject) && old
	case ClientID:
		return named(facts.ClientID) && old
	case Audience:
		return slices.ContainsFunc(facts.Audiences, named) && old
	case All:
		return old
	}
	return false
}

func TestIndexAgreesWithANaiveList(t *testing.T) {
	// Few values, so that rules share targets; more IDs than buckets of an empty table, so that it grows.
	ids := rapid.StringMatching(`[a-d][0-9]`)
	values := rapid.SampledFrom([]string{"", "a", "b", "c", "d"})
	moments := rapid.Custom(func(t *rapid.T) time.Time {
		return noon.Add(time.Duration(rapid.IntRange(0, 6).Draw(t, "half seconds")) * time.Second / 2)
	})
	rapid.Check(t, func(t *rapid.T) {
		index, model := NewIndex(), naive{}
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				rule := Rule{
					ID: ids.Draw(t, "id"), Kind: Kind(rapid.IntRange(0, int(All)+1).Draw(t, "kind")),
					Value: values.Draw(t, "value"), IssuedBefore: moments.Draw(t, "issuedBefore"),
				}
				index.Put(rule)
				model = model.put(rule)
			},
			"delete": func(t *rapid.T) {
				id := ids.Draw(t, "id")
				index.Delete(id)
				model = model.delete(id)
			},
			"": func(t *rapid.T) {
				facts := Facts{
					TokenID: values.Draw(t, "jti"), SessionID: values.Draw(t, "sid"), Subject: values.Draw(t, "sub"),
					ClientID: values.Draw(t, "client"), KeyID: values.Draw(t, "kid"),
					Audiences: rapid.SliceOfN(values, 0, 3).Draw(t, "aud"), IssuedAt: moments.Draw(t, "iat"),
				}
				checkAgainstModel(t, index, model, &facts, ids.Draw(t, "asked id"))
			},
		})
	})
}

func checkAgainstModel(t *rapid.T, index *Index, model naive, facts *Facts, id string) {
	rule, denied := index.Match(facts)
	if want := model.denies(facts); denied != want {
		t.Fatalf("Match(%+v) = %v, want %v with %+v", facts, denied, want, model)
	}
	if denied && !naivelyDenies(rule, facts) {
		t.Fatalf("Match(%+v) names the rule %+v, which does not deny it", facts, rule)
	}
	if got, want := index.KeyRevoked(facts.KeyID), model.denies(&Facts{KeyID: facts.KeyID, IssuedAt: noon.Add(time.Hour)}); got != want {
		t.Fatalf("KeyRevoked(%q) = %v, want %v", facts.KeyID, got, want)
	}
	if got := index.Len(); got != len(model) {
		t.Fatalf("Len() = %d, want %d", got, len(model))
	}
	if got, want := index.Has(id), len(model.delete(id)) != len(model); got != want {
		t.Fatalf("Has(%q) = %v, want %v", id, got, want)
	}
}
