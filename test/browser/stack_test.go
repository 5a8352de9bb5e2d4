package browser

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/bcrypt"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/examples/browser/app"
	"github.com/keyturn/keyturn/internal/testenv/testoperator"
)

// The issuer of the tests, and its user.
const (
	issuerPath = "/shop"
	audience   = "shop-api"
	user       = "alice"
	password   = "bicycle bell"
)

// stack is everything that a user of the example has: a control plane, the operator, an issuer with a user, and the
// example in front of them.
type stack struct {
	*testoperator.Administrator
	// front is the example. Its URL has the host localhost, so that 127.0.0.1 is another site.
	front *httptest.Server
	url   string
	seen  *answers
}

// answers are what browsers got from the example.
type answers struct {
	mu   sync.Mutex
	list []endpointAnswer
}

// endpointAnswer is one of them, and what had come with the request.
type endpointAnswer struct {
	path   string
	cookie bool
	site   string // Sec-Fetch-Site
	status int
}

func newStack(t *testing.T) *stack {
	t.Helper()
	s := &stack{Administrator: testoperator.NewAdministrator(t), front: httptest.NewUnstartedServer(nil), seen: &answers{}}
	_, port, err := net.SplitHostPort(s.front.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s.url = "https://localhost:" + port
	// The operator believes the example, which is in front of it.
	process := testoperator.Run(s.Administrator, s.User(s.Namespace),
		"--namespaces="+s.Namespace, "--trusted-proxies=127.0.0.1")
	process.WaitReady()
	s.addIssuer()
	s.startFront(process)
	return s
}

// of is the same stack for a subtest.
func (s *stack) of(t *testing.T) *stack {
	administrator := *s.Administrator
	administrator.TB = t
	own := *s
	own.Administrator = &administrator
	return &own
}

// addIssuer creates the user and the issuer, and waits until the issuer is ready. Its access tokens live as short as is
// possible, and nobody is slowed down.
func (s *stack) addIssuer() {
	s.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		s.Fatal(err)
	}
	s.Make(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: "users"},
		StringData: map[string]string{"auth": user + ":" + string(hash) + "\n"},
	})
	issuer := &v1alpha1.TokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: "shop"},
		Spec: v1alpha1.TokenIssuerSpec{
			IssuerURL: s.url + issuerPath, Audiences: []string{audience}, Signing: &v1alpha1.Signing{},
			Sessions: &v1alpha1.SessionPolicy{
				Login: v1alpha1.LoginSources{
					Htpasswd: &v1alpha1.HtpasswdLogin{SecretRef: v1alpha1.SecretReference{Name: "users"}},
				},
				AccessLifetime: metav1.Duration{Duration: accessLifetime}, MaxPerSubject: 100,
				RateLimits: v1alpha1.RateLimits{LoginPerAddress: 6000, LoginPerUser: 6000, RefreshPerSession: 6000},
			},
		},
	}
	s.Make(issuer)
	s.WaitReady(issuer)
}

// startFront starts the example, and notes what the issuer's endpoints answer through it.
func (s *stack) startFront(process *testoperator.Process) {
	s.Helper()
	address, err := url.Parse("https://" + process.HTTPS)
	if err != nil {
		s.Fatal(err)
	}
	handler, err := app.New(app.Options{
		Keyturn: address, Transport: process.Client().Transport, IssuerPath: issuerPath, Audience: audience,
	})
	if err != nil {
		s.Fatal(err)
	}
	s.front.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		handler.ServeHTTP(status, r)
		_, noCookie := r.Cookie(cookieName)
		s.seen.mu.Lock()
		defer s.seen.mu.Unlock()
		s.seen.list = append(s.seen.list,
			endpointAnswer{r.URL.Path, noCookie == nil, r.Header.Get("Sec-Fetch-Site"), status.status})
	})
	s.front.EnableHTTP2 = true
	s.front.StartTLS()
	s.Cleanup(s.front.Close)
	testoperator.Eventually(s.TB, "the operator serving the issuer", func() error {
		request, err := http.NewRequest(http.MethodGet, s.front.URL+issuerPath+"/.well-known/openid-configuration", http.NoBody)
		if err != nil {
			return err
		}
		request.Host = strings.TrimPrefix(s.url, "https://")
		response, err := s.front.Client().Do(request)
		if err != nil {
			return err
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("discovery answers %s", response.Status)
		}
		return nil
	})
}

// since returns the answers after the first n.
func (s *stack) since(n int) []endpointAnswer {
	s.seen.mu.Lock()
	defer s.seen.mu.Unlock()
	return s.seen.list[n:len(s.seen.list):len(s.seen.list)]
}

// sessions returns those that there are.
func (s *stack) sessions() []v1alpha1.Session {
	s.Helper()
	var list v1alpha1.SessionList
	if err := s.List(s.Context(), &list, client.InNamespace(s.Namespace)); err != nil {
		s.Fatal(err)
	}
	return list.Items
}

// statusWriter notes the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
