package operator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/testenv/testoperator"
)

// sign makes a good token with what a workload mounts.
func sign(t testing.TB, mounted *corev1.Secret, subject string) string {
	t.Helper()
	return testoperator.Sign(t, mounted, subject)[0]
}

// The whole of it, with the rights of the manifests and no others.
func TestOperatorWithLeastPrivilege(t *testing.T) {
	a := testoperator.NewAdministrator(t)
	p := testoperator.Run(a, a.User())
	p.WaitReady()
	issuer := a.NewIssuer(a.Namespace, "shop")
	a.WaitReady(issuer)
	mounted := a.Secret(a.Namespace, "shop-signing-key")
	alice, bob := sign(t, mounted, "alice"), sign(t, mounted, "bob")
	https := p.Client()

	header := p.WantVerdict(https, alice, http.StatusOK)
	if got := header.Get("X-Auth-Subject"); got != "alice" {
		t.Errorf("X-Auth-Subject = %q, want alice", got)
	}
	p.WantVerdict(https, bob, http.StatusOK)
	p.WantVerdict(https, "no.good.token", http.StatusUnauthorized)
	reviewed(t, p, https, issuer, bob)

	revocation := &v1alpha1.TokenRevocation{
		ObjectMeta: metav1.ObjectMeta{Namespace: a.Namespace, Name: "alice"},
		Spec:       v1alpha1.TokenRevocationSpec{IssuerRef: v1alpha1.IssuerReference{Name: "shop"}, TokenID: "token-of-alice"},
	}
	a.Make(revocation)
	denied := p.WantVerdict(https, alice, http.StatusUnauthorized)
	if challenge := denied.Get("WWW-Authenticate"); !strings.Contains(challenge, `error="invalid_token"`) || !strings.Contains(challenge, "Revoked") {
		t.Errorf("WWW-Authenticate = %q, want invalid_token and the reason", challenge)
	}
	p.WantVerdict(https, bob, http.StatusOK)

	revoked := &v1alpha1.TokenRevocation{
		ObjectMeta: metav1.ObjectMeta{Namespace: a.Namespace, Name: "leak"},
		Spec: v1alpha1.TokenRevocationSpec{
			IssuerRef: v1alpha1.IssuerReference{Name: "shop"}, KeyID: string(mounted.Data[v1alpha1.DataKeyID]),
		},
	}
	a.Make(revoked)
	p.WantVerdict(https, bob, http.StatusUnauthorized)
	testoperator.Eventually(t, "another mounted key", func() error {
		if bytes.Equal(a.Secret(a.Namespace, "shop-signing-key").Data[v1alpha1.DataKeyID], mounted.Data[v1alpha1.DataKeyID]) {
			return fmt.Errorf("the revoked one is still mounted")
		}
		return nil
	})
	next := a.Secret(a.Namespace, "shop-signing-key")
	carol := sign(t, next, "carol")
	p.WantVerdict(https, carol, http.StatusOK)
	a.WaitReady(issuer)

	wantMetrics(t, p.Scrape(), a.Namespace)
	ring := a.Secret(a.Namespace, "shop-keyring")
	wantNoRefusal(t, p.Log.String())
	wantNothingSecret(t, p, []*corev1.Secret{mounted, next, ring}, []string{alice, bob, carol})
}

// reviewed asks as a kube-apiserver does.
func reviewed(t *testing.T, p *testoperator.Process, c *http.Client, issuer *v1alpha1.TokenIssuer, raw string) {
	t.Helper()
	review := authenticationv1.TokenReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "authentication.k8s.io/v1", Kind: "TokenReview"},
		Spec:     authenticationv1.TokenReviewSpec{Token: raw},
	}
	body, err := json.Marshal(review)
	if err != nil {
		t.Fatal(err)
	}
	response, err := c.Post("https://"+p.HTTPS+"/tokenreview", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var answer authenticationv1.TokenReview
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	if want := issuer.Spec.IssuerURL + "#bob"; !answer.Status.Authenticated || answer.Status.User.Username != want {
		t.Errorf("TokenReview: %+v, want the user %s", answer.Status, want)
	}
}

// wantMetrics looks for the names that dashboards and alerts rely on.
func wantMetrics(t *testing.T, scraped, namespace string) {
	t.Helper()
	issuer := `issuer="` + namespace + `/shop"`
	for _, want := range []string{
		`keyturn_verify_total\{` + issuer + `,reason="ok",result="allow"\} [1-9]`,
		`keyturn_verify_total\{` + issuer + `,reason="Revoked",result="deny"\} [1-9]`,
		`keyturn_verify_total\{` + issuer + `,reason="KeyRevoked",result="deny"\} [1-9]`,
		`keyturn_keys\{` + issuer + `,state="Active"\} 1`,
		`keyturn_keys\{` + issuer + `,state="Next"\} 1`,
		`keyturn_next_rotation_seconds\{` + issuer + `\} 2\.[0-9]*e\+06`,
		`keyturn_rotation_overdue\{` + issuer + `\} 0`,
		`keyturn_revocations\{` + issuer + `\} 2`,
		`keyturn_sync_age_seconds [0-9]`,
		`keyturn_synced 1`,
	} {
		if !regexp.MustCompile(`(?m)^` + want).MatchString(scraped) {
			t.Errorf("no metric matches %s", want)
		}
	}
}

// wantNoRefusal holds the log against the rights: what the API server refuses is logged by somebody.
func wantNoRefusal(t *testing.T, log string) {
	t.Helper()
	for line := range strings.Lines(log) {
		if strings.Contains(strings.ToLower(line), "forbidden") {
			t.Errorf("the operator lacks a right: %s", line)
		}
	}
}

// wantNothingSecret searches all that the process has logged and measured.
func wantNothingSecret(t *testing.T, p *testoperator.Process, secrets []*corev1.Secret, tokens []string) {
	t.Helper()
	needles := append(slices.Clone(tokens), secretsIn(t, secrets)...)
	if len(needles) < 10 {
		t.Fatalf("only %d secrets to search for", len(needles))
	}
	said := p.Log.String() + p.Scrape()
	if found := leaks(said, needles); len(found) > 0 {
		t.Errorf("%d secrets are in the log or the metrics", len(found))
	}
	// A search that finds nothing anywhere proves nothing.
	for _, needle := range needles {
		if len(leaks(said+"\n"+fmt.Sprintf("%q", "x"+needle+"x"), []string{needle})) != 1 {
			t.Error("the search does not find a secret that was planted")
		}
	}
}

// privateMembers are the members of a JWK that must stay secret (RFC 7518 sections 6.2.2, 6.3.2 and 6.4.1).
var privateMembers = regexp.MustCompile(`"(?:d|p|q|dp|dq|qi|k)":"([^"]+)"`)

func secretsIn(t *testing.T, secrets []*corev1.Secret) []string {
	t.Helper()
	var found []string
	for _, secret := range secrets {
		for _, content := range secret.Data {
			for _, match := range privateMembers.FindAllSubmatch(content, -1) {
				found = append(found, string(match[1]))
			}
			for line := range strings.Lines(string(content)) {
				if line = strings.TrimSpace(line); len(line) == 64 && !strings.Contains(line, "-----") {
					found = append(found, line) // of the PEM
				}
			}
		}
	}
	return found
}

// leaks returns the secrets that are in the text. Of a token its signature is enough, and half of a key.
func leaks(text string, secrets []string) []string {
	return slices.DeleteFunc(slices.Clone(secrets), func(secret string) bool {
		tail := secret[strings.LastIndexByte(secret, '.')+1:]
		return !strings.Contains(text, tail[:len(tail)/2]) && !strings.Contains(text, tail[len(tail)/2:])
	})
}
