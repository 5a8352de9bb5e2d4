package charts

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// known returns the metrics in the code: every string of a file with metrics that is a name of one, or the end of a
// name that is put together there.
func known(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "internal", "*", "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("found %d files, error %v", len(files), err)
	}
	names := map[string]bool{"leader_election_master_status": true} // controller-runtime's
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(source), "prometheus.") {
			continue
		}
		syntax, err := parser.ParseFile(token.NewFileSet(), file, source, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(syntax, func(node ast.Node) bool {
			literal, isLiteral := node.(*ast.BasicLit)
			if !isLiteral || literal.Kind != token.STRING {
				return true
			}
			if text, err := strconv.Unquote(literal.Value); err == nil && partOfName.MatchString(text) {
				names["keyturn_"+strings.TrimPrefix(text, "keyturn_")] = true
			}
			return true
		})
	}
	if len(names) < 10 {
		t.Fatalf("found only the metrics %v in the code", names)
	}
	return names
}

var partOfName = regexp.MustCompile(`^[a-z]+(_[a-z]+)+$`)

var metricName = regexp.MustCompile(`\b(keyturn|leader_election)_[a-z_]+`)

// wantKnown checks the metrics of a query, but for what a histogram adds to its name.
func wantKnown(t *testing.T, names map[string]bool, where, query string) {
	t.Helper()
	found := metricName.FindAllString(query, -1)
	if len(found) == 0 {
		t.Errorf("%s asks for no metric of Keyturn: %s", where, query)
	}
	for _, name := range found {
		if !names[strings.TrimSuffix(name, "_bucket")] && !names[name] {
			t.Errorf("%s asks for %s, which does not exist", where, name)
		}
	}
}

func alerts(t *testing.T) []alert {
	t.Helper()
	document, err := os.ReadFile(filepath.Join(chart, "files", "alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var rules prometheusRuleSpec
	if err := yaml.UnmarshalStrict(document, &rules); err != nil {
		t.Fatal(err)
	}
	if problems := rules.problems(); problems != "" {
		t.Fatal(problems)
	}
	return rules.Groups[0].Rules
}

func TestAlertsAskForMetricsThatExist(t *testing.T) {
	names, seen := known(t), map[string]bool{}
	for _, a := range alerts(t) {
		wantKnown(t, names, a.Alert, a.Expr)
		if seen[a.Alert] || !strings.HasPrefix(a.Alert, "Keyturn") {
			t.Errorf("%s is there twice, or not named after Keyturn", a.Alert)
		}
		seen[a.Alert] = true
		if severity := a.Labels["severity"]; severity != "warning" && severity != "critical" {
			t.Errorf("%s has the severity %q", a.Alert, severity)
		}
		for _, text := range []string{a.Annotations["summary"], a.Annotations["description"]} {
			if !strings.HasSuffix(text, ".") {
				t.Errorf("%s says %q, want a sentence", a.Alert, text)
			}
		}
	}
}

func TestDashboardAsksForMetricsThatExist(t *testing.T) {
	document, err := os.ReadFile(filepath.Join(chart, "files", "dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Title  string
		Panels []struct {
			ID                       int
			Type, Title, Description string
			Targets                  []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(document, &dashboard); err != nil || dashboard.Title != "Keyturn" {
		t.Fatalf("the dashboard %q, error %v", dashboard.Title, err)
	}
	names, ids := known(t), map[int]bool{}
	for _, panel := range dashboard.Panels {
		if ids[panel.ID] {
			t.Errorf("two panels have the id %d", panel.ID)
		}
		ids[panel.ID] = true
		if panel.Type != "row" && (panel.Description == "" || len(panel.Targets) == 0) {
			t.Errorf("the panel %q has no description or no query", panel.Title)
		}
		for _, target := range panel.Targets {
			wantKnown(t, names, panel.Title, target.Expr)
		}
	}

	rendered := render(t, "--set", "metrics.dashboard.enabled=true").all("ConfigMap")
	if len(rendered) != 1 {
		t.Fatalf("there are %d ConfigMaps, want the dashboard", len(rendered))
	}
	data := rendered[0].Object["data"].(map[string]any)["keyturn.json"].(string)
	if strings.TrimSpace(data) != strings.TrimSpace(string(document)) {
		t.Error("the ConfigMap does not hold the dashboard as it is")
	}
}

// TestAlertsOfARelease checks which alerts a release has, and with which labels.
func TestAlertsOfARelease(t *testing.T) {
	objects := render(t, "--set", "metrics.prometheusRule.enabled=true,metrics.prometheusRule.alertLabels.severity=info,"+
		"metrics.prometheusRule.alertLabels.team=identity,metrics.prometheusRule.disabled={KeyturnPanic}")
	var spec prometheusRuleSpec
	if err := readSpec(objects.all("PrometheusRule")[0], &spec); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range spec.Groups[0].Rules {
		got = append(got, a.Alert)
		if a.Labels["team"] != "identity" || a.Labels["severity"] != "info" {
			t.Errorf("%s has the labels %v, want those of the values to win", a.Alert, a.Labels)
		}
	}
	if all := alerts(t); len(got) != len(all)-1 || strings.Contains(strings.Join(got, " "), "KeyturnPanic") {
		t.Errorf("the release has the alerts %v, want all but KeyturnPanic", got)
	}
}
