package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestSplitRules(t *testing.T) {
	resources := definitions{namespaced: map[schema.GroupResource]bool{
		{Group: "keyturn.dev", Resource: "sessions"}: true, {Group: "keyturn.dev", Resource: "clusterissuers"}: false,
	}}
	rule := func(group string, verbs []string, resources ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: resources, Verbs: verbs}
	}
	get, create := []string{"get"}, []string{"create"}
	for name, test := range map[string]struct {
		rule rbacv1.PolicyRule
		want scoped
	}{
		"in namespaces": {rule("", get, "secrets"), scoped{namespaced: []rbacv1.PolicyRule{rule("", get, "secrets")}}},
		"in the cluster": {
			rule("authentication.k8s.io", create, "tokenreviews"),
			scoped{cluster: []rbacv1.PolicyRule{rule("authentication.k8s.io", create, "tokenreviews")}},
		},
		"both": {
			rule("keyturn.dev", get, "clusterissuers", "sessions", "sessions/status"),
			scoped{
				namespaced: []rbacv1.PolicyRule{rule("keyturn.dev", get, "sessions", "sessions/status")},
				cluster:    []rbacv1.PolicyRule{rule("keyturn.dev", get, "clusterissuers")},
			},
		},
		"two groups": {
			rbacv1.PolicyRule{APIGroups: []string{"", "events.k8s.io"}, Resources: []string{"events"}, Verbs: create},
			scoped{namespaced: []rbacv1.PolicyRule{rule("", create, "events"), rule("events.k8s.io", create, "events")}},
		},
		"a path": {
			rbacv1.PolicyRule{NonResourceURLs: []string{"/openid/v1/jwks"}, Verbs: get},
			scoped{cluster: []rbacv1.PolicyRule{{NonResourceURLs: []string{"/openid/v1/jwks"}, Verbs: get}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := splitRules([]rbacv1.PolicyRule{test.rule}, resources)
			if err != nil {
				t.Fatal(err)
			}
			if got.namespaced == nil || got.cluster == nil {
				t.Error("an empty list would be written as null")
			}
			if diff := cmp.Diff(test.want.namespaced, got.namespaced, emptyIsNil); diff != "" {
				t.Errorf("in namespaces (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.want.cluster, got.cluster, emptyIsNil); diff != "" {
				t.Errorf("in the cluster (-want +got):\n%s", diff)
			}
		})
	}
	_, err := splitRules([]rbacv1.PolicyRule{rule("apps", get, "deployments")}, resources)
	if err == nil || !strings.Contains(err.Error(), "deployments.apps") || !strings.Contains(err.Error(), "builtIn") {
		t.Errorf("a resource that nobody knows: %v, want an error that names it and what to do", err)
	}
}

var emptyIsNil = cmp.Transformer("empty", func(rules []rbacv1.PolicyRule) map[int]rbacv1.PolicyRule {
	byIndex := map[int]rbacv1.PolicyRule{}
	for i, rule := range rules {
		byIndex[i] = rule
	}
	return byIndex
})

func TestPlaceholder(t *testing.T) {
	create := rbacv1.PolicyRule{Verbs: []string{"create"}}
	rules := []rbacv1.PolicyRule{{ResourceNames: []string{"keyturn-tls-ca", "keyturn-tls"}}, create}
	want := []rbacv1.PolicyRule{{ResourceNames: []string{"SERVING-SECRET-ca", "SERVING-SECRET"}}, create}
	if diff := cmp.Diff(want, withPlaceholder(rules)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestChartIsCurrent generates the files of the chart beside it, over what an earlier run has left, and compares.
func TestChartIsCurrent(t *testing.T) {
	out := t.TempDir()
	for _, folder := range []string{"crds", "rbac"} {
		if err := os.Mkdir(filepath.Join(out, folder), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(out, folder, "left-behind.yaml"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	root := filepath.Join("..", "..")
	if err := generate(filepath.Join(root, "config"), out); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{"crds", "rbac"} {
		want := contents(t, filepath.Join(out, folder))
		got := contents(t, filepath.Join(root, "charts", "keyturn", "files", folder))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the chart is not current; run `make chart` (-want +chart):\n%s", diff)
		}
	}
}

func contents(t *testing.T, folder string) map[string]string {
	t.Helper()
	files, err := os.ReadDir(folder)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s has %d files, error %v", folder, len(files), err)
	}
	texts := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(folder, file.Name()))
		if err != nil {
			t.Fatal(err)
		}
		texts[file.Name()] = string(text)
	}
	return texts
}

func TestNothingIsWrittenAfterAMistake(t *testing.T) {
	out := t.TempDir()
	if err := generate(t.TempDir(), out); err == nil || !strings.Contains(err.Error(), "make manifests") {
		t.Errorf("without manifests: %v, want an error that says what to do", err)
	}
	if files, err := os.ReadDir(out); err != nil || len(files) > 0 {
		t.Errorf("%d files were written, error %v", len(files), err)
	}
}
