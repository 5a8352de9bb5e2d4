package main

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// chapter is the part of docs/operations.md below a heading, up to the next of the same level.
func chapter(t *testing.T, title string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(clone, "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "\n## "+title+"\n")
	if !found {
		t.Fatalf("docs/operations.md has no chapter %s", title)
	}
	part, _, _ := strings.Cut(rest, "\n## ")
	return part
}

// found are the first groups of all matches, sorted, each once.
func found(t *testing.T, pattern, text string) []string {
	t.Helper()
	all := map[string]bool{}
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		all[match[1]] = true
	}
	if len(all) < 5 {
		t.Fatalf("found only %d matches of %s", len(all), pattern)
	}
	return slices.Sorted(maps.Keys(all))
}

// TestFlags asks the program itself which flags it has, and with which defaults.
func TestFlags(t *testing.T) {
	help := exec.CommandContext(t.Context(), "go", "run", "./cmd/keyturn", "--help")
	help.Dir = clone
	output, err := help.CombinedOutput()
	if err != nil {
		t.Fatalf("asking for the flags: %v\n%s", err, output)
	}
	documented := chapter(t, "Flags")
	want := slices.DeleteFunc(found(t, `(?m)^ +(?:-\w, )?(--[a-z-]+) `, string(output)), func(flag string) bool {
		return flag == "--help" || flag == "--version"
	})
	if diff := cmp.Diff(want, found(t, "`(--[a-z-]+)`", documented)); diff != "" {
		t.Errorf("flags of the program and of docs/operations.md (-program +docs):\n%s", diff)
	}
	defaults := regexp.MustCompile(`(?m)^ +(--[a-z-]+) .*\(default ["\[]?([^"\])]+)["\]]?\)$`).FindAllStringSubmatch(string(output), -1)
	if len(defaults) < 5 {
		t.Fatalf("found only %d defaults in\n%s", len(defaults), output)
	}
	for _, match := range defaults {
		if row := "| `" + match[1] + "` | `" + match[2] + "` |"; !strings.Contains(documented, row) {
			t.Errorf("docs/operations.md does not say that %s is %s by default: it has no row %s", match[1], match[2], row)
		}
	}
}

func TestAlerts(t *testing.T) {
	document, err := os.ReadFile(filepath.Join(clone, "charts", "keyturn", "files", "alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert string `json:"alert"`
			} `json:"rules"`
		} `json:"groups"`
	}
	if err := yaml.Unmarshal(document, &rules); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			want = append(want, rule.Alert)
		}
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, found(t, `(?m)^### (\w+)$`, chapter(t, "Alerts"))); diff != "" {
		t.Errorf("alerts of the chart and of docs/operations.md (-chart +docs):\n%s", diff)
	}
}

// TestMetrics compares the table with the names in the code. Those of sessions are put together there from a prefix and
// a name that ends in _total.
func TestMetrics(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(clone, "internal", "*", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(file, "_test.go") && strings.Contains(string(source), "prometheus.") {
			code.Write(source)
		}
	}
	want := found(t, `"(?:keyturn_)?([a-z]+(?:_[a-z]+)*_total)"`, code.String())
	want = append(want, found(t, `"keyturn_([a-z_]*[a-z])"`, code.String())...)
	slices.Sort(want)
	if diff := cmp.Diff(slices.Compact(want), found(t, "(?m)^\\| `keyturn_([a-z_]+)", chapter(t, "Metrics"))); diff != "" {
		t.Errorf("metrics of the code and of docs/operations.md, without keyturn_ (-code +docs):\n%s", diff)
	}
}
