package operator

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/testenv/testoperator"
)

// grant is the answer to a login or a refresh, or its error.
type grant struct {
	status       int
	header       http.Header
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int    `json:"expires_in"`
	Scope        string `json:"scope"`
	SessionID    string `json:"session_id"`
	Error        string `json:"error"`
	Description  string `json:"error_description"`
}

// ask sends one request and reads the answer as JSON.
func ask(ctx context.Context, c *http.Client, method, address, contentType, body string, header map[string]string) (grant, error) {
	request, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		return grant{}, err
	}
	request.Header.Set("Content-Type", contentType)
	for name, value := range header {
		request.Header.Set(name, value)
	}
	response, err := c.Do(request)
	if err != nil {
		return grant{}, err
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	g := grant{status: response.StatusCode, header: response.Header}
	if len(bytes.TrimSpace(content)) > 0 && err == nil {
		err = json.Unmarshal(content, &g)
	}
	return g, err
}

// open opens a session for a subject, as the workload that has authenticated it.
func open(t testing.TB, c *http.Client, issuer *v1alpha1.TokenIssuer, workload, subject string) grant {
	t.Helper()
	body := fmt.Sprintf(`{"subject":%q,"client_id":"web","scope":"orders:read orders:write","audience":["shop-api"]}`, subject)
	g, err := ask(t.Context(), c, http.MethodPost, issuer.Spec.IssuerURL+"/sessions", "application/json", body,
		map[string]string{"Authorization": "Bearer " + workload})
	if err != nil || g.status != http.StatusCreated {
		t.Fatalf("opening a session: %d %s %s, error %v", g.status, g.Error, g.Description, err)
	}
	return g
}

func refresh(ctx context.Context, c *http.Client, issuer *v1alpha1.TokenIssuer, token string) (grant, error) {
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "client_id": {"web"}}
	return ask(ctx, c, http.MethodPost, issuer.Spec.IssuerURL+"/token", "application/x-www-form-urlencoded", form.Encode(), nil)
}

// browser posts to an endpoint for browsers, from a page of the issuer's own origin.
func browser(t *testing.T, c *http.Client, issuer *v1alpha1.TokenIssuer, endpoint, body string) grant {
	t.Helper()
	origin, err := url.Parse(issuer.Spec.IssuerURL)
	if err != nil {
		t.Fatal(err)
	}
	g, err := ask(t.Context(), c, http.MethodPost, issuer.Spec.IssuerURL+"/session/"+endpoint, "application/json", body,
		map[string]string{"X-CSRF": "1", "Origin": "https://" + origin.Host})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func session(a *testoperator.Administrator, id string) *v1alpha1.Session {
	a.Helper()
	session := &v1alpha1.Session{}
	if err := a.Get(a.Context(), client.ObjectKey{Namespace: a.Namespace, Name: id}, session); err != nil {
		a.Fatal(err)
	}
	return session
}

// TestHundredRefreshesAtOnce is the promise that one token has one successor, at the cost of one write.
func TestHundredRefreshesAtOnce(t *testing.T) {
	a := testoperator.NewAdministrator(t)
	p := testoperator.Run(a, a.User())
	p.WaitReady()
	issuer := a.NewSessionIssuer(p, "shop", func(*v1alpha1.TokenIssuerSpec) {})
	https := p.Client()
	opened := open(t, https, issuer, a.NewWorkload(issuer, "login", v1alpha1.VerbIssue), "alice")
	before := session(a, opened.SessionID)

	const clients = 100
	answers := make(chan grant, clients)
	failed := make(chan error, clients)
	for range clients {
		go func() {
			g, err := refresh(t.Context(), https, issuer, opened.RefreshToken)
			answers <- g
			failed <- err
		}()
	}
	successors := map[string]int{}
	for range clients {
		if err := <-failed; err != nil {
			t.Error(err)
		}
		g := <-answers
		if g.status != http.StatusOK {
			t.Errorf("answered %d %s %s", g.status, g.Error, g.Description)
		}
		successors[g.RefreshToken]++
	}
	if len(successors) != 1 {
		t.Errorf("%d successors; want one", len(successors))
	}
	after := session(a, opened.SessionID)
	if after.State.Generation != before.State.Generation+1 {
		t.Errorf("the generation went from %d to %d", before.State.Generation, after.State.Generation)
	}
	// The API server counts the writes of an object's spec and other fields outside of its metadata.
	if after.Generation != before.Generation+1 {
		t.Errorf("the object was written %d times; want once", after.Generation-before.Generation)
	}
}

// TestEveryReplicaDeniesAnEndedSession runs two replicas, of which one ends sessions that the other one has opened.
func TestEveryReplicaDeniesAnEndedSession(t *testing.T) {
	a := testoperator.NewAdministrator(t)
	kubeconfig := a.User()
	first, second := testoperator.Run(a, kubeconfig), testoperator.Run(a, kubeconfig)
	first.WaitReady()
	second.WaitReady()
	issuer := a.NewSessionIssuer(first, "shop", func(*v1alpha1.TokenIssuerSpec) {})
	workload := a.NewWorkload(issuer, "login", v1alpha1.VerbIssue)
	here, there := first.Client(), second.Client()
	for name, end := range map[string]func(grant){
		"revoked": func(g grant) {
			form := url.Values{"token": {g.RefreshToken}}
			answered, err := ask(t.Context(), here, http.MethodPost, issuer.Spec.IssuerURL+"/revoke",
				"application/x-www-form-urlencoded", form.Encode(), nil)
			if err != nil || answered.status != http.StatusOK {
				t.Errorf("revocation: %d, error %v", answered.status, err)
			}
		},
		"deleted": func(g grant) {
			if err := a.Delete(t.Context(), session(a, g.SessionID)); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			opened := open(t, here, issuer, workload, "alice")
			first.WantVerdict(here, opened.AccessToken, http.StatusOK)
			second.WantVerdict(there, opened.AccessToken, http.StatusOK)
			end(opened)
			started := time.Now()
			second.WantVerdict(there, opened.AccessToken, http.StatusUnauthorized)
			t.Logf("the other replica denied after %s", time.Since(started))
			first.WantVerdict(here, opened.AccessToken, http.StatusUnauthorized)
			if g, err := refresh(t.Context(), here, issuer, opened.RefreshToken); err != nil || g.Error != "invalid_grant" {
				t.Errorf("its refresh token is answered %d %s, error %v", g.status, g.Error, err)
			}
			third := testoperator.Run(a, kubeconfig)
			third.WaitReady()
			third.WantVerdict(third.Client(), opened.AccessToken, http.StatusUnauthorized)
		})
	}
}
