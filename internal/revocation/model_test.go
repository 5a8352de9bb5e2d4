package revocation

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// naive is the index as one would write it without a thought of speed.
type naive []Rule

func (n naive) put(rule Rule) naive {
	if !rule.Kind.known() {
		return n
	}
	return append(n.delete(rule), rule)
}

func (n naive) delete(gone Rule) naive {
	return slices.DeleteFunc(slices.Clone(n), func(rule Rule) bool {
		return rule.ID == gone.ID && rule.Kind == gone.Kind && (rule.Value == gone.Value || rule.Kind == All)
	})
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
	// Few values, so that rules share targets; "fill" makes the table grow.
	ids := rapid.StringMatching(`[a-d][0-9]`)
	values := rapid.SampledFrom([]string{"", "a", "b", "c", "0", "1"})
	moments := rapid.Custom(func(t *rapid.T) time.Time {
		return noon.Add(time.Duration(rapid.IntRange(0, 6).Draw(t, "half seconds")) * time.Second / 2)
	})
	rules := rapid.Custom(func(t *rapid.T) Rule {
		return Rule{
			ID: ids.Draw(t, "id"), Kind: Kind(rapid.IntRange(0, int(All)+1).Draw(t, "kind")),
			Value: values.Draw(t, "value"), IssuedBefore: moments.Draw(t, "issuedBefore"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		index, model := NewIndex(), naive{}
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				rule := rules.Draw(t, "rule")
				index.Put(rule)
				model = model.put(rule)
			},
			"fill": func(t *rapid.T) {
				rule := rules.Draw(t, "rule")
				for i := range rapid.IntRange(1, chunkSize).Draw(t, "count") {
					rule.Value = strconv.Itoa(i)
					index.Put(rule)
					model = model.put(rule)
				}
			},
			"delete": func(t *rapid.T) {
				rule := rules.Draw(t, "rule")
				index.Delete(rule)
				model = model.delete(rule)
			},
			"": func(t *rapid.T) {
				facts := Facts{
					TokenID: values.Draw(t, "jti"), SessionID: values.Draw(t, "sid"), Subject: values.Draw(t, "sub"),
					ClientID: values.Draw(t, "client"), KeyID: values.Draw(t, "kid"),
					Audiences: rapid.SliceOfN(values, 0, 3).Draw(t, "aud"), IssuedAt: moments.Draw(t, "iat"),
				}
				checkAgainstModel(t, index, model, &facts, rules.Draw(t, "asked"))
			},
		})
	})
}

func checkAgainstModel(t *rapid.T, index *Index, model naive, facts *Facts, asked Rule) {
	denial, denied := index.Match(facts)
	if want := model.denies(facts); denied != want {
		t.Fatalf("Match(%+v) = %v, want %v with %+v", facts, denied, want, model)
	}
	said := slices.ContainsFunc(model, func(rule Rule) bool {
		return naivelyDenies(rule, facts) && denial.says(rule)
	})
	if denied && !said {
		t.Fatalf("Match(%+v) says %+v, which no rule that denies it says", facts, denial)
	}
	if got, want := index.KeyRevoked(facts.KeyID), model.denies(&Facts{KeyID: facts.KeyID, IssuedAt: noon.Add(time.Hour)}); got != want {
		t.Fatalf("KeyRevoked(%q) = %v, want %v", facts.KeyID, got, want)
	}
	if got := index.Len(); got != len(model) {
		t.Fatalf("Len() = %d, want %d", got, len(model))
	}
	if got, want := index.Has(asked), len(model.delete(asked)) != len(model); got != want {
		t.Fatalf("Has(%+v) = %v, want %v", asked, got, want)
	}
}
