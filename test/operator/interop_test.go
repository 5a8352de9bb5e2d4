package operator

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"golang.org/x/oauth2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/testenv/testoperator"
)

// TestOAuth2ForGo is golang.org/x/oauth2 as its documentation tells to use it: a token source that refreshes by itself.
func TestOAuth2ForGo(t *testing.T) {
	a := testoperator.NewAdministrator(t)
	p := testoperator.Run(a, a.User())
	p.WaitReady()
	issuer := a.NewSessionIssuer(p, "shop", func(spec *v1alpha1.TokenIssuerSpec) {
		// The library takes a token for expired ten seconds early, so each of these is.
		spec.Sessions.AccessLifetime = metav1.Duration{Duration: 10 * time.Second}
		spec.Sessions.IdleLifetime = metav1.Duration{Duration: time.Hour}
	})
	a.WithoutGrace(issuer)
	https := p.Client()
	workload := a.NewWorkload(issuer, "login", v1alpha1.VerbIssue)
	for name, style := range map[string]oauth2.AuthStyle{
		"auto-detected": oauth2.AuthStyleAutoDetect, "in parameters": oauth2.AuthStyleInParams, "in the header": oauth2.AuthStyleInHeader,
	} {
		t.Run(name, func(t *testing.T) {
			opened := open(t, https, issuer, workload, "alice")
			config := oauth2.Config{ClientID: "web", Endpoint: oauth2.Endpoint{TokenURL: issuer.Spec.IssuerURL + "/token", AuthStyle: style}}
			ctx := context.WithValue(t.Context(), oauth2.HTTPClient, https)
			source := config.TokenSource(ctx, &oauth2.Token{RefreshToken: opened.RefreshToken, Expiry: time.Now().Add(-time.Hour)})
			used := opened.RefreshToken
			for range 5 {
				token, err := source.Token()
				if err != nil {
					t.Fatal(err)
				}
				if token.RefreshToken == used || token.TokenType != "Bearer" || token.Expiry.IsZero() {
					t.Fatalf("the token is of type %s, expires at %s, and its refresh token is new: %t", token.TokenType, token.Expiry, token.RefreshToken != used)
				}
				used = token.RefreshToken
				p.WantVerdict(https, token.AccessToken, http.StatusOK)
			}
			thief := config.TokenSource(ctx, &oauth2.Token{RefreshToken: opened.RefreshToken})
			for _, source := range []oauth2.TokenSource{thief, source} {
				_, err := source.Token()
				var refused *oauth2.RetrieveError
				if !errors.As(err, &refused) || refused.ErrorCode != "invalid_grant" {
					t.Errorf("after a used refresh token came back: %v; want invalid_grant", err)
				}
			}
		})
	}
}

// TestOpenIDClientForNode is openid-client from npm, which knows nothing of Keyturn but the URL of an issuer.
func TestOpenIDClientForNode(t *testing.T) {
	node, folder := nodeWithClient(t)
	a := testoperator.NewAdministrator(t)
	p := testoperator.Run(a, a.User(), "--allow-internal-addresses=127.0.0.1")
	p.WaitReady()
	upstream := &v1alpha1.TokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Namespace: a.Namespace, Name: "upstream"},
		Spec: v1alpha1.TokenIssuerSpec{
			IssuerURL: "https://" + p.HTTPS + "/upstream", Audiences: []string{"shop-web"}, Signing: &v1alpha1.Signing{},
		},
	}
	a.Make(upstream)
	a.WaitReady(upstream)
	certificate, err := os.ReadFile(p.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	issuer := a.NewSessionIssuer(p, "shop", func(spec *v1alpha1.TokenIssuerSpec) {
		spec.Sessions.Login.Htpasswd.SubjectPrefix = "local:"
		spec.Sessions.Login.Upstreams = []v1alpha1.UpstreamLogin{{
			IssuerURL: upstream.Spec.IssuerURL, Audiences: []string{"shop-web"}, CABundle: string(certificate), SubjectPrefix: "corp:",
		}}
	})
	a.WithoutGrace(issuer)
	https, workload := p.Client(), a.NewWorkload(issuer, "login", v1alpha1.VerbIssue)

	script := exec.CommandContext(t.Context(), node, "client.mjs")
	script.Dir = folder
	script.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+p.Certificate, "ISSUER="+issuer.Spec.IssuerURL,
		"REFRESH_TOKEN="+open(t, https, issuer, workload, "alice").RefreshToken,
		"REVOKED_LATER="+open(t, https, issuer, workload, "bob").RefreshToken,
		"ID_TOKEN="+idToken(a, upstream), "INTROSPECTOR="+a.NewWorkload(issuer, "gateway", v1alpha1.VerbIntrospect))
	output, err := script.CombinedOutput()
	t.Logf("%s", output)
	if err != nil {
		t.Fatal(err)
	}
	if held := strings.Count(string(output), "held: "); held != 8 {
		t.Errorf("%d things held; want 8", held)
	}
}

// idToken is what an upstream issuer gives to its client shop-web about dora.
func idToken(a *testoperator.Administrator, upstream *v1alpha1.TokenIssuer) string {
	a.Helper()
	mounted := a.Secret(upstream.Namespace, upstream.Name+"-signing-key")
	var key jose.JSONWebKey
	if err := key.UnmarshalJSON(mounted.Data[v1alpha1.DataKeyJWK]); err != nil {
		a.Fatal(err)
	}
	options := (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", key.KeyID)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(key.Algorithm), Key: key.Key}, options)
	if err != nil {
		a.Fatal(err)
	}
	now := time.Now()
	raw, err := jwt.Signed(signer).Claims(map[string]any{
		"iss": upstream.Spec.IssuerURL, "sub": "dora", "aud": "shop-web", "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
	}).Serialize()
	if err != nil {
		a.Fatal(err)
	}
	return raw
}

// oldestNode is the oldest major version of Node.js that openid-client supports.
const oldestNode = 20

// nodeWithClient returns Node.js, and a folder in which openid-client is installed beside the script. Where there is no
// Node.js the test is skipped, and says so.
func nodeWithClient(t *testing.T) (node, folder string) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("SKIPPED: there is no Node.js, so openid-client was not tried: install nodejs and npm")
	}
	version, err := exec.Command(node, "--version").Output()
	if err != nil {
		t.Fatalf("asking Node.js for its version: %v", err)
	}
	major := 0
	if match := regexp.MustCompile(`^v(\d+)\.`).FindSubmatch(version); match != nil {
		major, _ = strconv.Atoi(string(match[1])) // what is no number is too old
	}
	if major < oldestNode {
		t.Skipf("SKIPPED: openid-client needs Node.js %d or later, and this is %s", oldestNode, version)
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Skip("SKIPPED: there is no npm, so openid-client was not tried: install npm")
	}
	folder = t.TempDir()
	if err := os.CopyFS(folder, os.DirFS(filepath.Join("testdata", "openid-client"))); err != nil {
		t.Fatal(err)
	}
	install := exec.CommandContext(t.Context(), npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts")
	install.Dir = folder
	if output, err := install.CombinedOutput(); err != nil {
		t.Fatalf("installing openid-client: %v\n%s", err, output)
	}
	return node, folder
}
