package testoperator

import (
	"golang.org/x/crypto/bcrypt"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
)

// Password is that of alice.
const Password = "correct horse battery staple"

// NewSessionIssuer creates an issuer with sessions that is reachable at its own URL: alice logs in with her password, and the
// ServiceAccount "login" of the namespace opens sessions for anybody. Refresh tokens have no grace window.
func (a *Administrator) NewSessionIssuer(p *Process, name string, change func(*v1alpha1.TokenIssuerSpec)) *v1alpha1.TokenIssuer {
	a.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(Password), bcrypt.MinCost)
	if err != nil {
		a.Fatal(err)
	}
	a.Make(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: a.Namespace, Name: name + "-users"},
		Data:       map[string][]byte{"auth": []byte("alice:" + string(hash) + "\n")},
	})
	issuer := &v1alpha1.TokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Namespace: a.Namespace, Name: name},
		Spec: v1alpha1.TokenIssuerSpec{
			IssuerURL: "https://" + p.HTTPS + "/" + name, Audiences: []string{"shop-api"}, Signing: &v1alpha1.Signing{},
			Sessions: &v1alpha1.SessionPolicy{
				Login: v1alpha1.LoginSources{
					ServiceAccounts: &v1alpha1.ServiceAccountLogin{},
					Htpasswd:        &v1alpha1.HtpasswdLogin{SecretRef: v1alpha1.SecretReference{Name: name + "-users"}},
				},
				Scopes:     []string{"orders:read", "orders:write"},
				RateLimits: v1alpha1.RateLimits{LoginPerAddress: 10_000, LoginPerUser: 10_000, RefreshPerSession: 10_000},
			},
		},
	}
	change(&issuer.Spec)
	a.Make(issuer)
	a.WaitReady(issuer)
	return issuer
}

// WithoutGrace leaves the grace window out. A typed client cannot send an explicit zero, so it is a patch.
func (a *Administrator) WithoutGrace(issuer *v1alpha1.TokenIssuer) {
	a.Helper()
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"sessions":{"graceWindow":"0s"}}}`))
	if err := a.Patch(a.Context(), issuer, patch); err != nil {
		a.Fatal(err)
	}
}

// NewWorkload makes a ServiceAccount that has these verbs on an issuer, and returns a token of it for that issuer.
func (a *Administrator) NewWorkload(issuer *v1alpha1.TokenIssuer, name string, verbs ...string) string {
	a.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: a.Namespace, Name: name}}
	a.Make(account)
	role := name + "-" + issuer.Name
	a.Make(&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: a.Namespace, Name: role}, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"tokenissuers"}, ResourceNames: []string{issuer.Name}, Verbs: verbs,
	}}})
	a.Make(&rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: a.Namespace, Name: role}, RoleRef: reference("Role", role),
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: a.Namespace, Name: name}},
	})
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences: []string{issuer.Spec.IssuerURL}, ExpirationSeconds: ptr.To[int64](3600),
	}}
	if err := a.SubResource("token").Create(a.Context(), account, request); err != nil {
		a.Fatalf("requesting a token of %s: %v", name, err)
	}
	return request.Status.Token
}
