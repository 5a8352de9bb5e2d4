package server

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"

	authenticationv1 "k8s.io/api/authentication/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/authentication"

	"github.com/keyturn/keyturn/internal/token"
)

const (
	// maxReviewBytes bounds the body of a TokenReview: more than any token that can pass, with audiences around it.
	maxReviewBytes = 128 << 10
	// maxReviewAudiences bounds spec.audiences. An API server has one or two.
	maxReviewAudiences = 64
	// maxGroups bounds the groups of one user. A token with more is denied and not shortened: an authorizer may deny by
	// group, and would then miss the one that was cut off.
	maxGroups = 256
)

// The keys of a user's extra fields. The first is where kube-apiserver itself puts the id of a credential, so that it
// comes into the audit log; API servers want them in lower case.
const (
	extraCredentialID = "authentication.kubernetes.io/credential-id"
	extraSessionID    = "keyturn.dev/session-id"
	extraClientID     = "keyturn.dev/client-id"
	extraScopes       = "keyturn.dev/scopes"
)

// serveTokenReview is what a kube-apiserver calls for --authentication-token-webhook-config-file. TokenReviews of v1
// and v1beta1 are answered in the version asked, with HTTP 200 also when denied: any other status is an outage to the
// API server, which then tries again.
func (s *Server) serveTokenReview(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		methodNotAllowed(w, "POST")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	body, mistake := readReview(w, r)
	if mistake != "" {
		// Answered here, because the library writes an error into the log for each, and anybody can send these.
		s.metrics.verified(nil, RequirementInvalid)
		answer := authenticationv1.TokenReview{Status: authenticationv1.TokenReviewStatus{Error: string(RequirementInvalid) + ": " + mistake}}
		answer.SetGroupVersionKind(authenticationv1.SchemeGroupVersion.WithKind("TokenReview"))
		_ = json.NewEncoder(w).Encode(answer) // the caller may have gone
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	s.tokenReviews.ServeHTTP(w, r)
}

// readReview reads the body of a TokenReview. The mistake is empty if the library can be expected to understand it.
func readReview(w http.ResponseWriter, r *http.Request) (body []byte, mistake string) {
	if r.Header.Get("Content-Type") != "application/json" {
		return nil, "send a TokenReview with Content-Type: application/json."
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxReviewBytes))
	if err != nil {
		return nil, "the body could not be read, or is larger than 128 KiB."
	}
	var review struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Spec       struct {
			Token string `json:"token"`
		} `json:"spec"`
	}
	switch err := json.Unmarshal(body, &review); {
	case err != nil, review.Kind != "TokenReview":
		return nil, "the body is not a TokenReview in JSON."
	case review.APIVersion != "authentication.k8s.io/v1" && review.APIVersion != "authentication.k8s.io/v1beta1":
		return nil, "the apiVersion must be authentication.k8s.io/v1 or authentication.k8s.io/v1beta1."
	case review.Spec.Token == "":
		return nil, "spec.token is empty."
	}
	return body, ""
}

// reviewToken judges one token. With spec.audiences the token must be for one of them; without, for one of its issuer's
// defaults. status.audiences names those for which it is good, in both cases: kube-apiserver takes an empty list for
// "good for the API server's own audience", from a webhook that does not know about audiences, and this one does.
func (s *Server) reviewToken(_ context.Context, request authentication.Request) authentication.Response {
	audiences := request.Spec.Audiences
	if len(audiences) > maxReviewAudiences {
		s.metrics.verified(nil, RequirementInvalid)
		return unauthenticated(string(RequirementInvalid) + ": spec.audiences has more than 64 elements.")
	}
	result := s.check(request.Spec.Token, token.Want{Audiences: audiences})
	if result.Reason != token.Allowed {
		s.metrics.verified(result.Issuer, result.Reason)
		if result.Issuer == nil && result.Reason != token.NotSynced {
			// Some other issuer's token, such as of a ServiceAccount. An error would fill the API server's log with
			// what is none of our business; without one it goes on to its other authenticators.
			return unauthenticated("")
		}
		return unauthenticated(describe(result.Reason))
	}
	if len(audiences) == 0 {
		audiences = result.Issuer.Audiences
	}
	good := intersect(audiences, result.Claims.Audiences)
	user, reason := userOf(result.Issuer, result.Claims)
	if reason == token.Allowed && len(good) == 0 {
		reason = token.AudienceMismatch // cannot be, but an empty list would say more than was checked
	}
	s.metrics.verified(result.Issuer, reason)
	if reason != token.Allowed {
		return unauthenticated(describe(reason))
	}
	return authentication.ReviewResponse(true, user, "", good...)
}

func unauthenticated(sentence string) authentication.Response {
	return authentication.Unauthenticated(sentence, authenticationv1.UserInfo{})
}

// userOf is the user that a token stands for. The issuer URL and "#" come before the user name and each group. An
// issuer URL begins with "https://" and has no "#" in it, so no two issuers can name the same user, and no token can
// name a user or group of Kubernetes itself, which begin with "system:".
func userOf(issuer *token.Issuer, claims *token.Claims) (authenticationv1.UserInfo, token.Reason) {
	if claims.Subject == "" {
		return authenticationv1.UserInfo{}, token.ClaimMissing
	}
	prefix := issuer.URL + "#"
	groups := claims.Groups(issuer.GroupsClaim)
	if len(groups) > maxGroups {
		return authenticationv1.UserInfo{}, ClaimsTooLong
	}
	user := authenticationv1.UserInfo{
		Username: prefix + claims.Subject,
		Extra:    map[string]authenticationv1.ExtraValue{},
	}
	for _, group := range groups {
		if group != "" {
			user.Groups = append(user.Groups, prefix+group)
		}
	}
	if claims.ID != "" {
		user.Extra[extraCredentialID] = authenticationv1.ExtraValue{"JTI=" + claims.ID}
	}
	if claims.SessionID != "" {
		user.Extra[extraSessionID] = authenticationv1.ExtraValue{claims.SessionID}
	}
	if claims.ClientID != "" {
		user.Extra[extraClientID] = authenticationv1.ExtraValue{claims.ClientID}
	}
	if len(claims.Scopes) > 0 {
		user.Extra[extraScopes] = slices.Clone(claims.Scopes)
	}
	return user, token.Allowed
}

// intersect keeps the order of the first list.
func intersect(first, second []string) []string {
	var both []string
	for _, value := range first {
		if slices.Contains(second, value) && !slices.Contains(both, value) {
			both = append(both, value)
		}
	}
	return both
}
