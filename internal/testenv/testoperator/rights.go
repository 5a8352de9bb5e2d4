package testoperator

import (
	"os"
	"path/filepath"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"github.com/keyturn/keyturn/internal/moduleroot"
	"github.com/keyturn/keyturn/internal/testenv"
)

// rules reads the rules of a Role or ClusterRole in config/rbac.
func (a *Administrator) rules(file string) []rbacv1.PolicyRule {
	a.Helper()
	root, err := moduleroot.Find()
	if err != nil {
		a.Fatal(err)
	}
	document, err := os.ReadFile(filepath.Join(root, "config", "rbac", file))
	if err != nil {
		a.Fatal(err)
	}
	var role rbacv1.ClusterRole
	if err := yaml.Unmarshal(document, &role); err != nil || len(role.Rules) == 0 {
		a.Fatalf("%s has %d rules, error %v; want some", file, len(role.Rules), err)
	}
	return role.Rules
}

// User makes a user who may what config/rbac grants the operator, and returns a kubeconfig: everything in role.yaml in the
// namespaces, or in all where none is named, and leader election and the serving certificate in the namespace of the test.
func (a *Administrator) User(namespaces ...string) []byte {
	a.Helper()
	name := a.Namespace
	a.grantIn(a.Namespace, "leader-election", name, a.rules("leader_election_role.yaml"))
	a.grantIn(a.Namespace, "serving-certificate", name, a.rules("serving_certificate_role.yaml"))
	for _, namespace := range namespaces {
		a.grantIn(namespace, "manager", name, a.rules("role.yaml"))
	}
	if len(namespaces) == 0 {
		a.GrantEverywhere()
	}
	added, err := testenv.Environment(a.TB).AddUser(envtest.User{Name: name}, nil)
	if err != nil {
		a.Fatalf("adding the user %s: %v", name, err)
	}
	kubeconfig, err := added.KubeConfig()
	if err != nil {
		a.Fatal(err)
	}
	return kubeconfig
}

// GrantEverywhere gives the user of the test role.yaml as the ClusterRole that it is.
func (a *Administrator) GrantEverywhere() {
	a.Helper()
	meta := metav1.ObjectMeta{Name: a.Namespace}
	a.Make(&rbacv1.ClusterRole{ObjectMeta: meta, Rules: a.rules("role.yaml")})
	a.Make(&rbacv1.ClusterRoleBinding{ObjectMeta: meta, RoleRef: reference("ClusterRole", meta.Name), Subjects: subject(meta.Name)})
}

func (a *Administrator) grantIn(namespace, role, user string, rules []rbacv1.PolicyRule) {
	a.Helper()
	meta := metav1.ObjectMeta{Namespace: namespace, Name: role}
	for _, object := range []client.Object{
		&rbacv1.Role{ObjectMeta: meta, Rules: rules},
		&rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: reference("Role", role), Subjects: subject(user)},
	} {
		a.Make(object)
	}
}

func reference(kind, name string) rbacv1.RoleRef {
	return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: name}
}

func subject(user string) []rbacv1.Subject {
	return []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}}
}
