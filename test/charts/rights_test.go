package charts

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/yaml"

	"github.com/keyturn/keyturn/internal/testenv"
)

// roleOf reads a role of config/rbac.
func roleOf(t *testing.T, file string) *rbacv1.ClusterRole {
	t.Helper()
	document, err := os.ReadFile(filepath.Join(root, "config", "rbac", file))
	if err != nil {
		t.Fatal(err)
	}
	role := new(rbacv1.ClusterRole)
	if err := yaml.Unmarshal(document, role); err != nil || len(role.Rules) == 0 {
		t.Fatalf("%s has %d rules, error %v", file, len(role.Rules), err)
	}
	return role
}

// rights spells rules out, a line for each single right, sorted.
func rights(rules []rbacv1.PolicyRule) []string {
	var all []string
	for _, rule := range rules {
		for _, verb := range rule.Verbs {
			for _, url := range rule.NonResourceURLs {
				all = append(all, verb+" "+url)
			}
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					for _, name := range append([]string{""}, rule.ResourceNames...) {
						if (name == "") == (len(rule.ResourceNames) == 0) {
							all = append(all, strings.Join([]string{verb, resource, group, name}, " "))
						}
					}
				}
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func TestRightsEverywhereAreThoseOfConfig(t *testing.T) {
	objects := render(t)
	got := one[rbacv1.ClusterRole](objects, "ClusterRole", ":manager").Rules
	if diff := cmp.Diff(rights(roleOf(t, "role.yaml").Rules), rights(got)); diff != "" {
		t.Errorf("the ClusterRole differs from role.yaml (-config +chart):\n%s", diff)
	}
	for suffix, file := range map[string]string{
		"-leader-election": "leader_election_role.yaml", "-serving-certificate": "serving_certificate_role.yaml",
	} {
		role := one[rbacv1.Role](objects, "Role", suffix)
		if diff := cmp.Diff(rights(roleOf(t, file).Rules), rights(role.Rules)); diff != "" || role.Namespace != namespace {
			t.Errorf("the Role in %s differs from %s (-config +chart):\n%s", role.Namespace, file, diff)
		}
	}
}

// TestRightsInNamespaces checks that with watchNamespaces the same rights are given, each by the smallest role that
// can.
func TestRightsInNamespaces(t *testing.T) {
	httpClient, err := rest.HTTPClientFor(testenv.Environment(t).Config)
	if err != nil {
		t.Fatal(err)
	}
	mapper, err := apiutil.NewDynamicRESTMapper(testenv.Environment(t).Config, httpClient)
	if err != nil {
		t.Fatal(err)
	}
	objects := render(t, "--set", "watchNamespaces={shop,billing}")
	var everywhere []rbacv1.PolicyRule
	for _, role := range objects.all("ClusterRole") {
		if strings.HasSuffix(role.GetName(), ":manager") {
			everywhere = one[rbacv1.ClusterRole](objects, "ClusterRole", ":manager").Rules
		}
	}
	for _, rule := range everywhere {
		wantScope(t, mapper, rule, meta.RESTScopeNameRoot)
	}

	roles := map[string][]rbacv1.PolicyRule{}
	for _, object := range objects.all("Role") {
		role := one[rbacv1.Role](rendered{t, []*unstructured.Unstructured{object}}, "Role", "")
		if strings.HasSuffix(role.Name, ":manager") {
			roles[role.Namespace] = role.Rules
		}
	}
	if len(roles) != 2 {
		t.Fatalf("there are roles in %d namespaces, want two", len(roles))
	}
	for in, rules := range roles {
		for _, rule := range rules {
			wantScope(t, mapper, rule, meta.RESTScopeNameNamespace)
		}
		if diff := cmp.Diff(rights(roleOf(t, "role.yaml").Rules), rights(slices.Concat(rules, everywhere))); diff != "" {
			t.Errorf("the rights in %s differ from role.yaml (-config +chart):\n%s", in, diff)
		}
	}
}

// wantScope asks the API server whether what a rule is about is in namespaces.
func wantScope(t *testing.T, mapper meta.RESTMapper, rule rbacv1.PolicyRule, want meta.RESTScopeName) {
	t.Helper()
	for _, group := range rule.APIGroups {
		for _, resource := range rule.Resources {
			name, _, _ := strings.Cut(resource, "/")
			kind, err := mapper.KindFor(schema.GroupVersionResource{Group: group, Resource: name})
			if err != nil {
				t.Errorf("%s in %q: %v", resource, group, err)
				continue
			}
			mapping, err := mapper.RESTMapping(kind.GroupKind(), kind.Version)
			if err != nil || mapping.Scope.Name() != want {
				t.Errorf("%s in %q is granted with the wrong kind of role, error %v", resource, group, err)
			}
		}
	}
}

// TestRightsOfPeopleAreThoseOfConfig compares the roles that the cluster adds to its own.
func TestRightsOfPeopleAreThoseOfConfig(t *testing.T) {
	type added struct{ Rights, To []string }
	describe := func(role *rbacv1.ClusterRole) added {
		var to []string
		for label, value := range role.Labels {
			if name, found := strings.CutPrefix(label, "rbac.authorization.k8s.io/aggregate-to-"); found && value == "true" {
				to = append(to, name)
			}
		}
		slices.Sort(to)
		return added{rights(role.Rules), to}
	}
	want, got := map[string]added{}, map[string]added{}
	for _, pattern := range []string{"*_editor_role.yaml", "*_viewer_role.yaml"} {
		files, err := filepath.Glob(filepath.Join(root, "config", "rbac", pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("found no %s, error %v", pattern, err)
		}
		for _, file := range files {
			role := roleOf(t, filepath.Base(file))
			want[namespace+":keyturn:"+strings.TrimSuffix(role.Name, "-role")] = describe(role)
		}
	}
	objects := render(t)
	for _, object := range objects.all("ClusterRole") {
		if !strings.HasSuffix(object.GetName(), ":manager") {
			got[object.GetName()] = describe(one[rbacv1.ClusterRole](objects, "ClusterRole", object.GetName()))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the roles for people differ (-config +chart):\n%s", diff)
	}
	if found := render(t, "--set", "rbac.aggregate=false,watchNamespaces={shop}").all("ClusterRole"); len(found) > 1 {
		t.Errorf("rbac.aggregate=false leaves %d ClusterRoles", len(found))
	}
}

// TestBindingsNameTheServiceAccount checks that every role is bound, to the ServiceAccount that the pods have.
func TestBindingsNameTheServiceAccount(t *testing.T) {
	for _, setting := range []string{
		"replicas=2", "watchNamespaces={shop}", "serviceAccount.create=false,serviceAccount.name=mine",
	} {
		objects := render(t, "--set", setting)
		account := one[appsv1.Deployment](objects, "Deployment", "").Spec.Template.Spec.ServiceAccountName
		bound := map[string]bool{}
		for _, kind := range []string{"RoleBinding", "ClusterRoleBinding"} {
			for _, object := range objects.all(kind) {
				binding := one[rbacv1.RoleBinding](rendered{t, []*unstructured.Unstructured{object}}, kind, "")
				bound[binding.RoleRef.Kind+" "+binding.Namespace+"/"+binding.RoleRef.Name] = true
				want := []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: namespace, Name: account}}
				if diff := cmp.Diff(want, binding.Subjects); diff != "" {
					t.Errorf("%s %s (-want +got):\n%s", kind, binding.Name, diff)
				}
			}
		}
		for _, kind := range []string{"Role", "ClusterRole"} {
			for _, role := range objects.all(kind) {
				person := strings.HasSuffix(role.GetName(), "-editor") || strings.HasSuffix(role.GetName(), "-viewer")
				if !person && !bound[kind+" "+role.GetNamespace()+"/"+role.GetName()] {
					t.Errorf("%s: %s %s is bound to nobody", setting, kind, role.GetName())
				}
			}
		}
	}
}
