package login

import (
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"github.com/keyturn/keyturn/api/v1alpha1"
)

const issuerURL = "https://issuer.example"

// tokenSeconds is the life of the tokens of these tests: the shortest that a TokenRequest may ask for.
const tokenSeconds = 600

// shop is a namespace of a real API server with a ServiceAccount, which may issue at the issuer "tokens", and the
// checker of its tokens on a fake clock.
type shop struct {
	*Workloads
	server    *apiServer
	clock     *clocktesting.FakeClock
	namespace string
	account   *corev1.ServiceAccount
	binding   *rbacv1.RoleBinding
}

func newShop(t *testing.T) *shop {
	t.Helper()
	server := newAPIServer(t)
	clk := clocktesting.NewFakeClock(time.Now())
	s := &shop{Workloads: NewWorkloads(server, clk), server: server, clock: clk, namespace: server.newNamespace(t)}
	s.account = s.newAccount(t, "backend")
	s.binding = s.grant(t, "backend", "tokens")
	eventually(t, "the right to be in force", func() bool { return s.mayIssue(t, "backend", "tokens") })
	return s
}

func (s *shop) newAccount(t *testing.T, name string) *corev1.ServiceAccount {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name}}
	s.server.create(t, account)
	return account
}

// grant gives a ServiceAccount the verb issue on one TokenIssuer.
func (s *shop) grant(t *testing.T, account, issuer string) *rbacv1.RoleBinding {
	t.Helper()
	meta := metav1.ObjectMeta{Namespace: s.namespace, Name: account + "-issues-" + issuer}
	s.server.create(t, &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{"keyturn.dev"}, Resources: []string{"tokenissuers"}, ResourceNames: []string{issuer},
		Verbs: []string{"issue"},
	}}})
	binding := &rbacv1.RoleBinding{
		ObjectMeta: meta,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: s.namespace, Name: account}},
	}
	s.server.create(t, binding)
	return binding
}

// mayIssue asks the API server past the counters, because a right that is written takes a moment to be in force.
func (s *shop) mayIssue(t *testing.T, account, issuer string) bool {
	t.Helper()
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: s.userName(account),
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Group: "keyturn.dev", Resource: "tokenissuers", Namespace: s.namespace, Name: issuer, Verb: "issue",
		},
	}}
	s.server.create(t, review)
	return review.Status.Allowed
}

func (s *shop) userName(account string) string {
	return "system:serviceaccount:" + s.namespace + ":" + account
}

// token requests a token of the ServiceAccount.
func (s *shop) token(t *testing.T, account *corev1.ServiceAccount, audiences ...string) string {
	t.Helper()
	return s.boundToken(t, account, nil, audiences...)
}

func (s *shop) boundToken(
	t *testing.T, account *corev1.ServiceAccount, to *authenticationv1.BoundObjectReference, audiences ...string,
) string {
	t.Helper()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences: audiences, ExpirationSeconds: ptr.To(int64(tokenSeconds)), BoundObjectRef: to,
	}}
	if err := s.server.Client.SubResource("token").Create(t.Context(), account, request); err != nil {
		t.Fatal(err)
	}
	return request.Status.Token
}

func (s *shop) authorize(t *testing.T, token string) (Workload, error) {
	t.Helper()
	return s.Authorize(t.Context(), s.issuer("tokens"), issuerURL, token, v1alpha1.VerbIssue)
}

func (s *shop) issuer(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: s.namespace, Name: name}
}

// wantCalls compares the numbers of TokenReviews and SubjectAccessReviews so far.
func (s *shop) wantCalls(t *testing.T, reviews, accessReviews int64) {
	t.Helper()
	if r, a := s.server.reviews.Load(), s.server.accessReviews.Load(); r != reviews || a != accessReviews {
		t.Errorf("%d TokenReviews and %d SubjectAccessReviews, want %d and %d", r, a, reviews, accessReviews)
	}
}

// forged returns the token with another signature.
func forged(token string) string {
	cut := strings.LastIndex(token, ".")
	return token[:cut+1] + strings.Repeat("A", len(token)-cut-1)
}

// wantNoPartOf makes sure that an error repeats no part of a token.
func wantNoPartOf(t *testing.T, err error, token string) {
	t.Helper()
	if err == nil {
		return
	}
	for _, part := range strings.Split(token, ".") {
		if len(part) >= 8 && strings.Contains(err.Error(), part[:8]) {
			t.Errorf("error %q repeats a part of the token", err)
		}
	}
}
