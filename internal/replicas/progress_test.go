package replicas

import (
	"context"
	"maps"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

func object(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: "shop", Name: name}
}

// reports fails the test unless this is what there is to report.
func (p *Progress) reports(t *testing.T, want Position) {
	t.Helper()
	if got, _ := p.report(); !maps.Equal(got, want) {
		t.Errorf("reports %v, want %v", got, want)
	}
}

// ended is a context that has.
func ended() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func TestProgressKeepsTheLatest(t *testing.T) {
	everywhere, confined := NewProgress(nil), NewProgress([]string{"shop", "billing"})
	for _, p := range []*Progress{everywhere, confined} {
		if _, ok := p.report(); ok {
			t.Error("it reports before everything is in force")
		}
		for _, version := range []string{"9", "10", "8"} { // a list is in no order
			p.Applied(object("r"+version), version, false)
		}
		if p.Synced(ended()) {
			t.Error("tokens may pass although nobody knows of this replica")
		}
		if _, ok := p.report(); !ok {
			t.Error("it does not report after everything is in force")
		}
	}
	everywhere.reports(t, Position{"": "10"})
	confined.reports(t, Position{"shop": "10", "billing": ""})
	everywhere.announce()
	everywhere.announce()
	if !everywhere.Synced(t.Context()) {
		t.Error("no token may pass although the others know of this replica")
	}
}

// A list after a watch was cut comes in the order of names. Nothing is said of what is still to come in it.
func TestProgressInAList(t *testing.T) {
	p := NewProgress(nil)
	p.Applied(object("old"), "10", false)
	for name, version := range map[string]string{"a": "30", "b": "20", "c": "25", "old": "10"} {
		p.Received(object(name), version)
	}
	p.reports(t, Position{"": "<20"})
	p.Applied(object("a"), "30", true)
	p.reports(t, Position{"": "<20"})
	p.Applied(object("b"), "20", true)
	p.reports(t, Position{"": "<25"})
	p.Deleted(object("c"))
	p.reports(t, Position{"": "30"}) // of "old", which has not changed, there is no event
}

// An object that changes again before it was handled is in force only with its last version.
func TestProgressOfAnObjectThatChangesTwice(t *testing.T) {
	p := NewProgress(nil)
	p.Received(object("a"), "20")
	p.Received(object("a"), "21")
	p.Applied(object("a"), "20", true)
	p.reports(t, Position{"": "<21"})
	p.Applied(object("a"), "21", true)
	p.reports(t, Position{"": "21"})
	if len(p.pending) > 0 {
		t.Errorf("%v is kept of what is in force", p.pending)
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
	p.Applied(object("a"), "1", true)
	if woken() {
		t.Error("woken by the first list")
	}
	p.Synced(ended())
	if !woken() {
		t.Error("not woken by the end of the first list")
	}
	p.Applied(object("b"), "2", false)
	if woken() {
		t.Error("woken by what nobody waits for")
	}
	p.Applied(object("c"), "3", true)
	p.Applied(object("d"), "4", true)
	if !woken() || woken() {
		t.Error("two revocations do not wake once")
	}
}
