package operator

import (
	"os"
	"path/filepath"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"github.com/keyturn/keyturn/internal/testenv"
)

// rules reads the rules of a Role or ClusterRole in config/rbac.
func (a *administrator) rules(file string) []rbacv1.PolicyRule {
	a.Helper()
	document, err := os.ReadFile(filepath.Join("..", "..", "config", "rbac", file))
	if err != nil {
		a.Fatal(err)
	}
	var role rbacv1.ClusterRole
	if err := yaml.Unmarshal(document, &role); err != nil || len(role.Rules) == 0 {
		a.Fatalf("%s has %d rules, error %v; want some", file, len(role.Rules), err)
	}
	return role.Rules
}

// user makes a user who may what config/rbac grants the operator, and returns a kubeconfig: everything in role.yaml in the
// namespaces, or in all where none is named, and leader election in the namespace of the test.
func (a *administrator) user(namespaces ...string) []byte {
	a.Helper()
	name := a.namespace
	a.grantIn(a.namespace, "leader-election", name, a.rules("leader_election_role.yaml"))
	for _, namespace := range namespaces {
		a.grantIn(namespace, "manager", name, a.rules("role.yaml"))
	}
	if len(namespaces) == 0 {
		a.grantEverywhere()
	}
	added, err := testenv.Environment(a.T).AddUser(envtest.User{Name: name}, nil)
	if err != nil {
		a.Fatalf("adding the user %s: %v", name, err)
	}
	kubeconfig, err := added.KubeConfig()
	if err != nil {
		a.Fatal(err)
	}
	return kubeconfig
}

// grantEverywhere gives the user of the test role.yaml as the ClusterRole that it is.
func (a *administrator) grantEverywhere() {
	a.Helper()
	meta := metav1.ObjectMeta{Name: a.namespace}
	a.create(&rbacv1.ClusterRole{ObjectMeta: meta, Rules: a.rules("role.yaml")})
	a.create(&rbacv1.ClusterRoleBinding{ObjectMeta: meta, RoleRef: reference("ClusterRole", meta.Name), Subjects: subject(meta.Name)})
}

func (a *administrator) grantIn(namespace, role, user string, rules []rbacv1.PolicyRule) {
	a.Helper()
	meta := metav1.ObjectMeta{Namespace: namespace, Name: role}
	for _, object := range []client.Object{
		&rbacv1.Role{ObjectMeta: meta, Rules: rules},
		&rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: reference("Role", role), Subjects: subject(user)},
	} {
		a.create(object)
	}
}

func reference(kind, name string) rbacv1.RoleRef {
	return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: name}
}

func subject(user string) []rbacv1.Subject {
	return []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}}
}
