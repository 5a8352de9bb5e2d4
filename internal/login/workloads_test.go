package login

import (
	"cmp"
	"errors"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestAuthorize(t *testing.T) {
	s := newShop(t)
	token := s.token(t, s.account, issuerURL)
	several := s.token(t, s.account, "https://other.example", issuerURL)
	other := s.token(t, s.newAccount(t, "frontend"), issuerURL)
	tests := map[string]struct {
		token string
		// verb is issue where it is empty, and issuer is tokens.
		verb, issuer string
		// known is the account that is authenticated, whether it may or not.
		known string
		want  error
	}{
		"granted":                       {token: token, known: "backend"},
		"one audience among several":    {token: several, known: "backend"},
		"another verb":                  {token: token, verb: "introspect", known: "backend", want: ErrForbidden},
		"another issuer":                {token: token, issuer: "others", known: "backend", want: ErrForbidden},
		"another ServiceAccount":        {token: other, known: "frontend", want: ErrForbidden},
		"a signature that is not right": {token: forged(token), want: ErrRefused},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			verb, issuer := cmp.Or(test.verb, "issue"), s.issuer(cmp.Or(test.issuer, "tokens"))
			workload, err := s.Authorize(t.Context(), issuer, issuerURL, test.token, verb)
			if !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
			want := Workload{}
			if test.known != "" {
				want.Name = s.userName(test.known)
			}
			if workload != want {
				t.Errorf("workload %+v, want %+v", workload, want)
			}
			wantNoPartOf(t, err, test.token)
			if errors.Is(test.want, ErrForbidden) && !strings.Contains(err.Error(), `grant it the verb "`+verb+`"`) {
				t.Errorf("error %v, want it to say what to grant", err)
			}
		})
	}
}

func TestAuthorizeNamesThePod(t *testing.T) {
	s := newShop(t)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "backend-0"},
		Spec: corev1.PodSpec{
			ServiceAccountName: "backend", Containers: []corev1.Container{{Name: "backend", Image: "backend"}},
		},
	}
	s.server.create(t, pod)
	to := &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID}
	token := s.boundToken(t, s.account, to, issuerURL)
	workload, err := s.authorize(t, token)
	if want := (Workload{Name: s.userName("backend"), Pod: "backend-0"}); workload != want || err != nil {
		t.Errorf("workload %+v, error %v; want %+v", workload, err, want)
	}
}

// TestImplausibleTokensCostNothing: what cannot be good by its own words reaches nobody.
func TestImplausibleTokensCostNothing(t *testing.T) {
	s := newShop(t)
	token := s.token(t, s.account, issuerURL)
	parts := strings.Split(token, ".")
	tests := map[string]struct {
		token string
		// later is how long after the token was made it is sent.
		later time.Duration
	}{
		"nothing":                        {},
		"garbage":                        {token: "garbage"},
		"dots":                           {token: ".."},
		"two parts":                      {token: parts[0] + "." + parts[1]},
		"four parts":                     {token: token + "."},
		"a payload that is not JSON":     {token: parts[0] + ".Z2FyYmFnZQ." + parts[2]},
		"a payload that is no object":    {token: parts[0] + ".bnVsbA." + parts[2]},
		"a line break in the payload":    {token: parts[0] + "." + parts[1][:8] + "\n" + parts[1][8:] + "." + parts[2]},
		"another audience":               {token: s.token(t, s.account, "https://other.example")},
		"an audience that only contains": {token: s.token(t, s.account, issuerURL+"/realms")},
		"the API server's own audience":  {token: s.token(t, s.account)},
		"expired":                        {token: token, later: (tokenSeconds + 1) * time.Second},
		"too long":                       {token: token + strings.Repeat("A", maxWorkloadTokenBytes-len(token)+1)},
	}
	start := s.clock.Now()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s.clock.SetTime(start.Add(test.later))
			if _, err := s.authorize(t, test.token); !errors.Is(err, ErrRefused) {
				t.Errorf("error %v, want ErrRefused", err)
			} else if len(test.token) > 10 {
				wantNoPartOf(t, err, test.token)
			}
		})
	}
	s.wantCalls(t, 0, 0)
	s.clock.SetTime(start)
	if _, err := s.authorize(t, token); err != nil {
		t.Errorf("the token that the others were made of: %v", err)
	}
	s.wantCalls(t, 1, 1)
}

// TestDeletedServiceAccount tries one token after the other, because kube-apiserver takes a moment to hear of the
// deletion, and remembers each token that it has found good.
func TestDeletedServiceAccount(t *testing.T) {
	s := newShop(t)
	tokens := make([]string, 100)
	for i := range tokens {
		tokens[i] = s.token(t, s.account, issuerURL)
	}
	if err := s.server.Delete(t.Context(), s.account); err != nil {
		t.Fatal(err)
	}
	tried := 0
	eventually(t, "the ServiceAccount to be unknown", func() bool {
		if tried == len(tokens) {
			t.Fatalf("%d tokens of a deleted ServiceAccount were accepted", tried)
		}
		tried++
		_, err := s.authorize(t, tokens[tried-1])
		if err != nil && !errors.Is(err, ErrRefused) {
			t.Fatalf("error %v, want ErrRefused", err)
		}
		return err != nil
	})
}

// TestAnswersThatAreNotEnough edits what the API server has said into what other authenticators and authorizers can
// say.
func TestAnswersThatAreNotEnough(t *testing.T) {
	tests := map[string]struct {
		edit func(*authenticationv1.TokenReviewStatus, *authorizationv1.SubjectAccessReviewStatus)
		want error
	}{
		"an authenticator that does not know the token": {
			edit: func(r *authenticationv1.TokenReviewStatus, _ *authorizationv1.SubjectAccessReviewStatus) {
				r.Authenticated = false
			},
			want: ErrRefused,
		},
		"an authenticator that ignores audiences": {
			edit: func(r *authenticationv1.TokenReviewStatus, _ *authorizationv1.SubjectAccessReviewStatus) {
				r.Audiences = nil
			},
			want: ErrRefused,
		},
		"one that confirms another audience": {
			edit: func(r *authenticationv1.TokenReviewStatus, _ *authorizationv1.SubjectAccessReviewStatus) {
				r.Audiences = []string{"https://kubernetes.default.svc"}
			},
			want: ErrRefused,
		},
		"a person": {
			edit: func(r *authenticationv1.TokenReviewStatus, _ *authorizationv1.SubjectAccessReviewStatus) {
				r.User.Username = "alice"
			},
			want: ErrRefused,
		},
		"an authorizer that is of two minds": {
			edit: func(_ *authenticationv1.TokenReviewStatus, a *authorizationv1.SubjectAccessReviewStatus) {
				a.Denied = true
			},
			want: ErrForbidden,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := newShop(t)
			s.server.afterCreate = func(object client.Object) {
				var review authenticationv1.TokenReview
				var access authorizationv1.SubjectAccessReview
				switch object := object.(type) {
				case *authenticationv1.TokenReview:
					test.edit(&object.Status, &access.Status)
				case *authorizationv1.SubjectAccessReview:
					test.edit(&review.Status, &object.Status)
				}
			}
			if _, err := s.authorize(t, s.token(t, s.account, issuerURL)); !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
		})
	}
}

func TestAuthorizeTellsTheWholeUser(t *testing.T) {
	s := newShop(t)
	var asked authorizationv1.SubjectAccessReviewSpec
	s.server.afterCreate = func(object client.Object) {
		if review, ok := object.(*authorizationv1.SubjectAccessReview); ok {
			asked = review.Spec
		}
	}
	if _, err := s.authorize(t, s.token(t, s.account, issuerURL)); err != nil {
		t.Fatal(err)
	}
	if asked.UID != string(s.account.UID) || len(asked.Extra) == 0 {
		t.Errorf("uid %q and extra %v, want those of the ServiceAccount and its token", asked.UID, asked.Extra)
	}
	want := []string{"system:serviceaccounts", "system:serviceaccounts:" + s.namespace, "system:authenticated"}
	if strings.Join(asked.Groups, " ") != strings.Join(want, " ") {
		t.Errorf("groups %v, want %v", asked.Groups, want)
	}
}

func TestAuthorizeWithoutTheAPIServer(t *testing.T) {
	s := newShop(t)
	known, unknown := s.token(t, s.account, issuerURL), s.token(t, s.account, issuerURL)
	if _, err := s.authorize(t, known); err != nil {
		t.Fatal(err)
	}
	s.server.cut.Store(true)
	if _, err := s.authorize(t, known); err != nil {
		t.Errorf("a right that is remembered: %v", err)
	}
	_, err := s.authorize(t, unknown)
	if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrRefused) {
		t.Errorf("error %v, want ErrUnavailable", err)
	}
	wantNoPartOf(t, err, unknown)
	s.server.cut.Store(false)
	if _, err := s.authorize(t, unknown); err != nil {
		t.Errorf("as soon as it is back: %v", err)
	}
}

func TestAuthorizeWithoutRightsOfItsOwn(t *testing.T) {
	s := newShop(t)
	s.client = impersonated(t, "nobody")
	_, err := s.authorize(t, s.token(t, s.account, issuerURL))
	const lacks = "may not create tokenreviews.authentication.k8s.io"
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), lacks) {
		t.Errorf("error %v, want ErrUnavailable that says what the operator lacks", err)
	}
}

func TestIsServiceAccount(t *testing.T) {
	for user, want := range map[string]bool{
		"system:serviceaccount:shop:backend":       true,
		"system:serviceaccount:shop:backend:admin": false,
		"system:serviceaccount:shop:":              false,
		"system:serviceaccount::backend":           false,
		"system:serviceaccount:shop":               false,
		"system:node:shop":                         false,
		"shop:backend":                             false,
		"":                                         false,
	} {
		if isServiceAccount(user) != want {
			t.Errorf("%q is a ServiceAccount: %t, want %t", user, !want, want)
		}
	}
}
