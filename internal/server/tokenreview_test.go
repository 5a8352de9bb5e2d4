package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"

	"github.com/keyturn/keyturn/internal/token"
)

var reviewHeader = http.Header{"Content-Type": {"application/json"}}

// review asks as kube-apiserver does. audiences is JSON.
func review(t *testing.T, s *Server, version, raw, audiences string) authenticationv1.TokenReview {
	t.Helper()
	body := fmt.Sprintf(`{"kind":"TokenReview","apiVersion":"authentication.k8s.io/%s",`+
		`"metadata":{"creationTimestamp":null},"spec":{"token":%q,"audiences":%s},"status":{"user":{}}}`,
		version, raw, audiences)
	answer := serveBody(s, "POST", "/tokenreview", reviewHeader, body)
	if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %s: %s", answer.StatusCode, answer.Header.Get("Content-Type"), answer.body)
	}
	var result authenticationv1.TokenReview
	if err := json.Unmarshal([]byte(answer.body), &result); err != nil {
		t.Fatalf("%s: %v", answer.body, err)
	}
	return result
}

func TestTokenReview(t *testing.T) {
	const url = "https://tokens.example.com/shop"
	alice := authenticationv1.UserInfo{Username: url + "#alice", Extra: map[string]authenticationv1.ExtraValue{
		extraCredentialID: {"JTI=id-1"}, extraSessionID: {"s-1"}, extraClientID: {"web"}, extraScopes: {"orders:read"},
	}}
	for _, test := range []struct {
		name, raw, audiences string
		want                 authenticationv1.TokenReviewStatus
	}{
		{"no audience asked", "good", `null`, authenticationv1.TokenReviewStatus{
			Authenticated: true, User: alice, Audiences: []string{"shop-api"}}},
		{"one asked", "good", `["stock-api"]`, authenticationv1.TokenReviewStatus{
			Authenticated: true, User: alice, Audiences: []string{"stock-api"}}},
		{"the intersection", "good", `["x","stock-api","shop-api","stock-api"]`, authenticationv1.TokenReviewStatus{
			Authenticated: true, User: alice, Audiences: []string{"stock-api", "shop-api"}}},
		{"another audience", "good", `["https://kubernetes.default.svc"]`, authenticationv1.TokenReviewStatus{
			Error: describe(token.AudienceMismatch)}},
		{"revoked", "revoked", `[]`, authenticationv1.TokenReviewStatus{Error: describe(token.Revoked)}},
		{"not synced", "early", `[]`, authenticationv1.TokenReviewStatus{Error: describe(token.NotSynced)}},
		{"somebody else's token", "foreign", `[]`, authenticationv1.TokenReviewStatus{}},
		{"no JWT", "sesame", `[]`, authenticationv1.TokenReviewStatus{}},
	} {
		for _, version := range []string{"v1", "v1beta1"} {
			t.Run(test.name+" "+version, func(t *testing.T) {
				got := review(t, New(testOptions()), version, test.raw, test.audiences)
				if want := "authentication.k8s.io/" + version; got.APIVersion != want || got.Kind != "TokenReview" {
					t.Errorf("answered as %s %s, asked as %s", got.APIVersion, got.Kind, want)
				}
				if diff := cmp.Diff(test.want, got.Status); diff != "" {
					t.Errorf("status (-want +got):\n%s", diff)
				}
				if got.Spec.Token != "" {
					t.Error("the answer repeats the token")
				}
			})
		}
	}
}

// Nothing that a token says can name a user or group of Kubernetes itself.
func TestTokenReviewUsersAreNeverOfTheSystem(t *testing.T) {
	verifier := newFakeVerifier()
	verifier.claims = token.Claims{Subject: "system:admin", Audiences: []string{"shop-api"}}
	options := testOptions()
	options.Verifier = verifier
	got := review(t, New(options), "v1", "good", "[]").Status.User
	if want := shop.URL + "#system:admin"; got.Username != want || got.UID != "" || got.Groups != nil || got.Extra != nil {
		t.Errorf("user %+v, want the name %s and nothing else", got, want)
	}
}

func TestTokenReviewNeedsASubject(t *testing.T) {
	verifier := newFakeVerifier()
	verifier.claims.Subject = ""
	options := testOptions()
	options.Verifier = verifier
	got := review(t, New(options), "v1", "good", "[]").Status
	if got.Authenticated || got.Error != describe(token.ClaimMissing) {
		t.Errorf("status %+v", got)
	}
}

func TestTokenReviewBoundsTheAudiences(t *testing.T) {
	audiences := "[" + strings.TrimSuffix(strings.Repeat(`"shop-api",`, maxReviewAudiences+1), ",") + "]"
	got := review(t, New(testOptions()), "v1", "good", audiences).Status
	if got.Authenticated || !strings.HasPrefix(got.Error, string(RequirementInvalid)) {
		t.Errorf("status %+v", got)
	}
}

// Whatever is sent, the answer is HTTP 200 and says no.
func TestTokenReviewOfGarbage(t *testing.T) {
	verifier := newFakeVerifier()
	options := testOptions()
	options.Verifier = verifier
	s := New(options)
	for _, body := range []string{
		"", " ", "null", "0", "[]", "{}", "good", `"good"`, `{"spec":{"token":"good"}`, `{"kind":"TokenReview"}`,
		`{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1"}`,
		`{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","spec":null}`,
		`{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","spec":{"token":1}}`,
		`{"kind":"TokenRequest","apiVersion":"authentication.k8s.io/v1","spec":{"audiences":["a"]}}`,
		`{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1"}`,
		`{"kind":"Pod","apiVersion":"v1"}`,
		strings.Repeat("[", 10_000),
		`{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","spec":{"token":"good` +
			strings.Repeat(" ", maxReviewBytes) + `"}}`,
	} {
		answer := serveBody(s, "POST", "/tokenreview", reviewHeader, body)
		if answer.StatusCode != http.StatusOK || !strings.Contains(answer.body, `"error":`) ||
			strings.Contains(answer.body, `"authenticated":true`) {
			t.Errorf("%.80q: %d %s", body, answer.StatusCode, answer.body)
		}
	}
	if len(verifier.tokens) != 0 {
		t.Errorf("%d bodies reached the verifier", len(verifier.tokens))
	}
}

func TestTokenReviewIsPosted(t *testing.T) {
	for _, method := range []string{"GET", "HEAD", "PUT", "OPTIONS"} {
		answer := serve(New(testOptions()), method, "/tokenreview", bearer("good"))
		if answer.StatusCode != http.StatusMethodNotAllowed || answer.Header.Get("Allow") != "POST" {
			t.Errorf("%s: %d, Allow %q", method, answer.StatusCode, answer.Header.Get("Allow"))
		}
	}
}

// Where the verifier itself fails, the API server must hear of an outage and not of a user.
func TestTokenReviewOfAFault(t *testing.T) {
	body := `{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","spec":{"token":"panic"}}`
	answer := serveBody(New(testOptions()), "POST", "/tokenreview", reviewHeader, body)
	if answer.StatusCode != http.StatusInternalServerError {
		t.Errorf("status %d, want 500", answer.StatusCode)
	}
}
