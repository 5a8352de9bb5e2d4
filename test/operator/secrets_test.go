package operator

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/testenv/testoperator"
)

// wrongPassword is what somebody mistypes: as good as the right one to whoever reads it.
const wrongPassword = "correct horse battery stable"

// TestNothingSecretIsTold plays the life of sessions with everything that can go wrong with them, and then searches all
// that the operator has told anybody who is not meant to have it: logs, the audit log, metrics, events and objects.
func TestNothingSecretIsTold(t *testing.T) {
	a := testoperator.NewAdministrator(t)
	p := testoperator.Run(a, a.User())
	p.WaitReady()
	issuer := a.NewSessionIssuer(p, "shop", func(*v1alpha1.TokenIssuerSpec) {})
	a.WithoutGrace(issuer)
	https, workload := p.Client(), a.NewWorkload(issuer, "login", v1alpha1.VerbIssue, v1alpha1.VerbIntrospect)
	secrets := []string{testoperator.Password, wrongPassword, workload}
	keep := func(g grant) grant {
		for _, cookie := range (&http.Response{Header: g.header}).Cookies() {
			secrets = append(secrets, cookie.Value)
		}
		for _, token := range []string{g.AccessToken, g.RefreshToken} {
			if token != "" {
				secrets = append(secrets, token)
			}
		}
		return g
	}
	post := func(path, contentType, body string, header map[string]string) grant {
		g, err := ask(t.Context(), https, http.MethodPost, issuer.Spec.IssuerURL+path, contentType, body, header)
		if err != nil {
			t.Error(err)
		}
		return keep(g)
	}

	opened := keep(open(t, https, issuer, workload, "alice"))
	refreshed, err := refresh(t.Context(), https, issuer, opened.RefreshToken)
	if err != nil || keep(refreshed).status != http.StatusOK {
		t.Fatalf("refreshing: %d %s, error %v", refreshed.status, refreshed.Error, err)
	}
	bearer := map[string]string{"Authorization": "Bearer " + workload}
	post("/introspect", "application/x-www-form-urlencoded", "token="+refreshed.AccessToken, bearer)
	post("/introspect", "application/x-www-form-urlencoded", "token="+refreshed.RefreshToken, bearer)
	reused, err := refresh(t.Context(), https, issuer, opened.RefreshToken)
	if err != nil || reused.Error != "invalid_grant" {
		t.Errorf("a used token is answered %d %s, error %v", reused.status, reused.Error, err)
	}
	if g := keep(browser(t, https, issuer, "login", `{"username":"alice","password":"`+testoperator.Password+`"}`)); g.status != http.StatusOK {
		t.Errorf("login: %d %s %s", g.status, g.Error, g.Description)
	}
	if g := browser(t, https, issuer, "login", `{"username":"alice","password":"`+wrongPassword+`"}`); g.status == http.StatusOK {
		t.Error("a wrong password logs in")
	}
	// What goes wrong is where secrets end up in errors: a password for a user name, tokens where they do not belong,
	// broken syntax, and all of it in addresses.
	browser(t, https, issuer, "login", `{"username":"`+testoperator.Password+`","password":"`+wrongPassword+`"}`)
	browser(t, https, issuer, "login", `{"username":"alice","password":"`+testoperator.Password+`"`)
	form := "application/x-www-form-urlencoded"
	post("/token", form, "grant_type="+refreshed.RefreshToken+"&refresh_token="+refreshed.RefreshToken, nil)
	post("/token", form, "grant_type=refresh_token&refresh_token="+refreshed.RefreshToken+"&client_id="+refreshed.RefreshToken, nil)
	post("/token", form, "grant_type=refresh_token&refresh_token="+refreshed.AccessToken+"&scope="+refreshed.AccessToken, nil)
	post("/token?refresh_token="+refreshed.RefreshToken, form, "refresh_token=%zz"+refreshed.RefreshToken, nil)
	post("/revoke", form, "token="+refreshed.RefreshToken+"x", nil)
	post("/sessions", "application/json", `{"subject":"`+refreshed.RefreshToken+`","scope":"`+workload+`"}`, bearer)
	post("/sessions", "application/json", `{"subject":"alice","claims":"`+workload+`"}`, bearer)
	post("/nowhere/"+refreshed.RefreshToken, form, "", bearer)

	secrets = append(secrets, secretsIn(t, []*corev1.Secret{
		a.Secret(a.Namespace, "shop-keyring"), a.Secret(a.Namespace, "shop-signing-key"),
	})...)
	secrets = append(secrets, refreshSecrets(a)...)
	if len(secrets) < 15 {
		t.Fatalf("only %d secrets to search for", len(secrets))
	}
	testoperator.Eventually(t, "the audit log", func() error { return said(p.Log.String(), `"audit":"reuse"`) })
	everything := p.Log.String() + p.Scrape() + told(a)
	for _, expected := range []string{`"audit":"login_failed"`, "keyturn_sessions_opened_total", "KeyCreated", `"generation"`} {
		if err := said(everything, expected); err != nil {
			t.Errorf("what is searched is not everything: %v", err)
		}
	}
	for _, secret := range secrets {
		if len(leaks(everything, []string{secret})) > 0 {
			t.Errorf("a secret of %d characters that begins with %.6s is told", len(secret), secret)
		}
		if planted := everything + "\n{\"x\":\"" + secret + "\"}"; len(leaks(planted, []string{secret})) != 1 {
			t.Error("the search does not find a secret that was planted")
		}
	}
}

// refreshSecrets are the keys for refresh tokens.
func refreshSecrets(a *testoperator.Administrator) []string {
	a.Helper()
	var found []string
	document := a.Secret(a.Namespace, "shop-refresh-keys").Data[v1alpha1.DataRefreshKeys]
	for _, match := range regexp.MustCompile(`"secret":"([^"]+)"`).FindAllSubmatch(document, -1) {
		found = append(found, string(match[1]))
	}
	if len(found) == 0 {
		a.Error("there are no keys for refresh tokens")
	}
	return found
}

// told is all that can be read in the namespace without a right to Secrets.
func told(a *testoperator.Administrator) string {
	a.Helper()
	var text strings.Builder
	for _, list := range []client.ObjectList{
		&v1alpha1.TokenIssuerList{}, &v1alpha1.TokenRevocationList{}, &v1alpha1.SessionList{}, &corev1.ConfigMapList{}, &eventsv1.EventList{},
	} {
		if err := a.List(a.Context(), list, client.InNamespace(a.Namespace)); err != nil {
			a.Fatal(err)
		}
		document, err := json.Marshal(list)
		if err != nil {
			a.Fatal(err)
		}
		text.Write(document)
	}
	return text.String()
}

func said(text, what string) error {
	if strings.Contains(text, what) {
		return nil
	}
	return &silence{what}
}

type silence struct{ about string }

func (s *silence) Error() string { return "nothing is said of " + s.about }
