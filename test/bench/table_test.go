package main

import (
	"slices"
	"strings"
	"testing"
)

const twoRounds = `goos: linux
cpu: A processor
BenchmarkVerify/ES256/raw   	   10000	     50000 ns/op	      0 B/op
BenchmarkVerify/ES256/new   	   10000	     60000 ns/op	   2048 B/op	 12.5 spread-%
PASS
BenchmarkVerify/ES256/raw   	   10000	    100000 ns/op	      0 B/op
BenchmarkVerify/ES256/new-8 	   10000	    110000 ns/op	   2048 B/op	 13.5 spread-%
`

func measured(t *testing.T) figures {
	t.Helper()
	f := figures{}
	if err := f.read("verification", strings.NewReader(twoRounds)); err != nil {
		t.Fatal(err)
	}
	return f
}

const rawName, newName = "verification/Verify/ES256/raw", "verification/Verify/ES256/new"

// A machine that gets slower in the second round changes the times, and hardly the ratio.
func TestRatiosAreTakenWithinARound(t *testing.T) {
	raw, made := of(rawName, "ns/op"), of(newName, "ns/op")
	for name, c := range map[string]struct {
		measure measure
		want    []float64
	}{
		"figure":     {made, []float64{60000, 110000}},
		"ratio":      {made.over(raw), []float64{1.2, 1.1}},
		"difference": {made.minus(raw), []float64{10000, 10000}},
		"own unit":   {of(newName, "spread-%"), []float64{12.5, 13.5}},
	} {
		if got, err := c.measure(measured(t)); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s = %v, %v; want %v", name, got, err, c.want)
		}
	}
}

func TestALineSaysWhetherItsTargetIsMet(t *testing.T) {
	raw, made := of(rawName, "ns/op"), of(newName, "ns/op")
	for name, c := range map[string]struct {
		target target
		want   line
	}{
		"met":      {atMost(1.15), line{Result: "1.15 ×", Spread: "1.1 × to 1.2 ×", Target: "≤ 1.15 ×", Met: "met", Figures: "85 µs, raw 75 µs"}},
		"missed":   {atMost(1.1), line{Result: "1.15 ×", Spread: "1.1 × to 1.2 ×", Target: "≤ 1.1 ×", Met: "missed", Figures: "85 µs, raw 75 µs"}},
		"at least": {atLeast(2), line{Result: "1.15 ×", Spread: "1.1 × to 1.2 ×", Target: "≥ 2 ×", Met: "missed", Figures: "85 µs, raw 75 µs"}},
		"none":     {target{}, line{Result: "1.15 ×", Spread: "1.1 × to 1.2 ×", Figures: "85 µs, raw 75 µs"}},
	} {
		r := row{result: made.over(raw), as: times, target: c.target, figures: []shown{{"", made, nanoseconds}, {"raw", raw, nanoseconds}}}
		got, err := r.fill(measured(t))
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, c.want)
		}
	}
}

// A benchmark that was renamed must not leave the table without its line.
func TestALineWithoutItsBenchmarkIsAnError(t *testing.T) {
	lost := []section{{rooms: []string{"verification"}, rows: []row{{what: "lost", result: of("verification/Gone", "ns/op"), as: plain}}}}
	if _, err := fill(lost, measured(t), map[string]bool{"verification": true}); err == nil || !strings.Contains(err.Error(), "verification/Gone") {
		t.Errorf("error %v, want it to name the benchmark", err)
	}
	if tables, err := fill(lost, measured(t), map[string]bool{"gateway": true}); err != nil || len(tables) > 0 {
		t.Errorf("%v, %v; want nothing of a room that did not run", tables, err)
	}
}

// Each room of the table is one that runs, and every section has something to say.
func TestSectionsAreOfRoomsThatRun(t *testing.T) {
	for _, s := range sections {
		if len(s.rows) == 0 && s.each == nil || len(s.rooms) == 0 {
			t.Errorf("%q has %d rows of %d rooms", s.title, len(s.rows), len(s.rooms))
		}
		for _, name := range s.rooms {
			if !slices.ContainsFunc(rooms, func(r room) bool { return r.name == name }) {
				t.Errorf("%q is of the room %q, which does not run", s.title, name)
			}
		}
	}
}

func TestNumbersAreShort(t *testing.T) {
	for want, got := range map[string]string{
		"583 ns": nanoseconds(583.4), "72.7 µs": nanoseconds(72_676), "2.8 ms": nanoseconds(2_800_000), "1.03 s": seconds(1.0321),
		"-4.2 µs": nanoseconds(-4200), "12,346": plain(12345.6), "-1,234,567": plain(-1234567), "0.0412": plain(0.04123), "81.2 %": percent(0.8123),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
