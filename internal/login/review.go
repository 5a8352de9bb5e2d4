package login

import (
	"context"
	"fmt"
	"slices"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/keyturn/keyturn/api/v1alpha1"
)

const (
	// serviceAccountPrefix is how the user names of ServiceAccounts begin: "<prefix><namespace>:<name>".
	serviceAccountPrefix = "system:serviceaccount:"
	// podNameExtra is where kube-apiserver says which pod a token is bound to.
	podNameExtra = "authentication.kubernetes.io/pod-name"
	// issuersResource is the resource that the verbs are granted on.
	issuersResource = "tokenissuers"
)

// access is what a workload wants to do.
type access struct {
	issuer    types.NamespacedName
	issuerURL string
	verb      string
}

// +kubebuilder:rbac:groups=authentication.k8s.io,resources=tokenreviews,verbs=create
// +kubebuilder:rbac:groups=authorization.k8s.io,resources=subjectaccessreviews,verbs=create

// review asks whose the token is. The audience is asked for, and must come back: an authenticator that knows nothing of
// audiences leaves it out, and has then accepted a token that may be for anybody.
func (w *Workloads) review(ctx context.Context, to access, token string) (*authenticationv1.UserInfo, error) {
	review := &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{to.issuerURL}},
	}
	if err := w.client.Create(ctx, review); err != nil {
		return nil, cannotAsk("tokenreviews.authentication.k8s.io", err)
	}
	status := &review.Status
	switch {
	case !status.Authenticated:
		// Its error is not repeated: authenticators differ in how much of the token they put there.
		return nil, fmt.Errorf("%w: the API server does not know the ServiceAccount token for %s", ErrRefused, to.issuerURL)
	case !slices.Contains(status.Audiences, to.issuerURL):
		return nil, fmt.Errorf("%w: the API server did not confirm that the ServiceAccount token is for %s",
			ErrRefused, to.issuerURL)
	case !isServiceAccount(status.User.Username):
		return nil, fmt.Errorf("%w: the token for %s is of a user that is no ServiceAccount", ErrRefused, to.issuerURL)
	}
	return &status.User, nil
}

// authorize asks whether RBAC, or what else authorizes in the cluster, grants the user the verb on the TokenIssuer.
func (w *Workloads) authorize(ctx context.Context, to access, user *authenticationv1.UserInfo) error {
	extra := make(map[string]authorizationv1.ExtraValue, len(user.Extra))
	for key, values := range user.Extra {
		extra[key] = authorizationv1.ExtraValue(values)
	}
	review := &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User: user.Username, UID: user.UID, Groups: user.Groups, Extra: extra,
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Group: v1alpha1.GroupVersion.Group, Version: v1alpha1.GroupVersion.Version, Resource: issuersResource,
				Namespace: to.issuer.Namespace, Name: to.issuer.Name, Verb: to.verb,
			},
		},
	}
	if err := w.client.Create(ctx, review); err != nil {
		return cannotAsk("subjectaccessreviews.authorization.k8s.io", err)
	}
	if !review.Status.Allowed || review.Status.Denied {
		return fmt.Errorf("%w: %s may not %s with the TokenIssuer %s: grant it the verb %q on %s.%s there",
			ErrForbidden, user.Username, to.verb, to.issuer, to.verb, issuersResource, v1alpha1.GroupVersion.Group)
	}
	return nil
}

// cannotAsk is the error of a request that the API server did not carry out.
func cannotAsk(resource string, err error) error {
	if apierrors.IsForbidden(err) {
		return fmt.Errorf("%w: the operator may not create %s: grant it that with a ClusterRole: %w",
			ErrUnavailable, resource, err)
	}
	return fmt.Errorf("%w: asking the API server to answer %s: %w", ErrUnavailable, resource, err)
}

func isServiceAccount(user string) bool {
	rest, found := strings.CutPrefix(user, serviceAccountPrefix)
	namespace, name, two := strings.Cut(rest, ":")
	return found && two && namespace != "" && name != "" && !strings.Contains(name, ":")
}

func workloadOf(user *authenticationv1.UserInfo) Workload {
	workload := Workload{Name: user.Username}
	if pods := user.Extra[podNameExtra]; len(pods) == 1 {
		workload.Pod = pods[0]
	}
	return workload
}
