package gateways

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/testenv/testoperator"
)

// serviceName is the host of Keyturn in docs/gateways.md.
const serviceName = "keyturn-webhook.keyturn-system.svc"

// stack is Keyturn with one ready issuer, and the application that a gateway stands in front of.
type stack struct {
	*testoperator.Administrator
	keyturn *testoperator.Process
	issuer  *v1alpha1.TokenIssuer
	mounted *corev1.Secret
	// stranger is what a workload of another namespace mounts, whose issuer says that it is for the same audience.
	stranger *corev1.Secret
	upstream *upstream
}

func newStack(t *testing.T) *stack {
	t.Helper()
	a := testoperator.NewAdministrator(t)
	p := testoperator.Run(a, a.User(), "--tls-hosts="+serviceName)
	p.WaitReady()
	issuer := &v1alpha1.TokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Namespace: a.Namespace, Name: "shop"},
		Spec: v1alpha1.TokenIssuerSpec{
			// The second is good unless the gateway requires the first.
			IssuerURL: "https://" + a.Namespace + ".example/shop", Audiences: []string{"shop-api", "billing-api"}, Signing: &v1alpha1.Signing{},
		},
	}
	a.Make(issuer)
	a.WaitReady(issuer)
	elsewhere := a.NewNamespace()
	a.WaitReady(a.NewIssuer(elsewhere, "shop"))
	s := &stack{
		Administrator: a, keyturn: p, issuer: issuer, upstream: newUpstream(t),
		mounted: a.Secret(a.Namespace, "shop-signing-key"), stranger: a.Secret(elsewhere, "shop-signing-key"),
	}
	p.WantVerdict(p.Client(), s.token(nil), http.StatusOK)
	p.WantVerdict(p.Client(), sign(t, s.stranger, nil), http.StatusOK) // without a requirement
	return s
}

func (s *stack) token(different claims) string {
	s.Helper()
	return sign(s.TB, s.mounted, different)
}

// certificate is what a gateway trusts Keyturn by, where every user can read it: a gateway may give its rights up first.
func (s *stack) certificate() string {
	s.Helper()
	certificate, err := os.ReadFile(s.keyturn.Certificate)
	if err != nil {
		s.Fatal(err)
	}
	return written(s.TB, "keyturn-ca.crt", string(certificate))
}

// gateway is a running gateway.
type gateway struct {
	*stack
	address string
}

// answer is what a gateway says to its client.
type answer struct {
	status int
	header http.Header
	body   string
}

// ask sends a request exactly as it stands here, so that no client library mends it on the way. With a token it carries
// it as a bearer token.
func (g *gateway) ask(method, target, token string, header []string, body string) answer {
	g.Helper()
	connection, err := net.Dial("tcp", g.address)
	if err != nil {
		g.Fatal(err)
	}
	defer func() { _ = connection.Close() }()
	if err := connection.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		g.Fatal(err)
	}
	lines := []string{method + " " + target + " HTTP/1.1", "Host: shop.example"}
	if token != "" {
		lines = append(lines, "Authorization: Bearer "+token)
	}
	if body != "" {
		lines = append(lines, "Content-Length: "+strconv.Itoa(len(body)))
	}
	lines = append(append(lines, header...), "", body)
	// A gateway may answer before it has read the whole of it, and then there is no use in the rest.
	_, writeErr := io.WriteString(connection, strings.Join(lines, "\r\n"))
	response, err := http.ReadResponse(bufio.NewReader(connection), &http.Request{Method: method})
	if err != nil {
		g.Fatalf("%s %s: reading the answer: %v (sending it: %v)", method, target, err, writeErr)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil && response.StatusCode == http.StatusOK {
		g.Fatalf("%s %s: reading the body of the answer: %v", method, target, err)
	}
	return answer{status: response.StatusCode, header: response.Header, body: string(text)}
}
