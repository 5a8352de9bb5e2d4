package browser

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/bcrypt"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/examples/browser/app"
	"github.com/keyturn/keyturn/internal/testenv"
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
	*testing.T
	client.Client
	namespace string
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
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	environment := testenv.Environment(t)
	c, err := client.New(environment.Config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	s := &stack{T: t, Client: c, seen: &answers{}}
	s.create(namespace)
	s.namespace = namespace.Name
	s.front = httptest.NewUnstartedServer(nil)
	_, port, err := net.SplitHostPort(s.front.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s.url = "https://localhost:" + port
	operator := startOperator(t, environment.KubeConfig, s.namespace)
	s.addIssuer()
	s.startFront(operator)
	return s
}

// of is the same stack for a subtest.
func (s *stack) of(t *testing.T) *stack {
	own := *s
	own.T = t
	return &own
}

func (s *stack) create(object client.Object) {
	s.Helper()
	if err := s.Create(s.Context(), object); err != nil {
		s.Fatalf("creating %T %s: %v", object, object.GetName(), err)
	}
}

// addIssuer creates the user and the issuer, and waits until the issuer is ready. Its access tokens live as short as is
// possible, and nobody is slowed down.
func (s *stack) addIssuer() {
	s.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		s.Fatal(err)
	}
	s.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "users"},
		StringData: map[string]string{"auth": user + ":" + string(hash) + "\n"},
	})
	issuer := &v1alpha1.TokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "shop"},
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
	s.create(issuer)
	eventually(s.T, "the issuer ready", func() error {
		if err := s.Get(s.Context(), client.ObjectKeyFromObject(issuer), issuer); err != nil {
			return err
		}
		for _, condition := range issuer.Status.Conditions {
			if condition.Type == v1alpha1.ConditionReady && condition.Status == metav1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("conditions %+v", issuer.Status.Conditions)
	})
}

// startFront starts the example, and notes what the issuer's endpoints answer through it.
func (s *stack) startFront(o *operator) {
	s.Helper()
	address, err := url.Parse("https://" + o.https)
	if err != nil {
		s.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: o.trusted(), MinVersion: tls.VersionTLS13}}
	s.Cleanup(transport.CloseIdleConnections)
	handler, err := app.New(app.Options{Keyturn: address, Transport: transport, IssuerPath: issuerPath, Audience: audience})
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
	eventually(s.T, "the operator serving the issuer", func() error {
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
	if err := s.List(s.Context(), &list, client.InNamespace(s.namespace)); err != nil {
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

// built is the operator, as `go build` makes it, built once.
var built builtOperator

type builtOperator struct {
	once   sync.Once
	folder string
	err    error
}

func (b *builtOperator) command(t *testing.T) string {
	t.Helper()
	b.once.Do(func() {
		if b.folder, b.err = os.MkdirTemp("", "keyturn-"); b.err != nil { //nolint:usetesting // It outlives the first test.
			return
		}
		build := exec.Command("go", "build", "-o", filepath.Join(b.folder, "keyturn"), "./cmd/keyturn")
		build.Dir = filepath.Join("..", "..")
		if output, err := build.CombinedOutput(); err != nil {
			b.err = fmt.Errorf("building the operator: %w\n%s", err, output)
		}
	})
	if b.err != nil {
		t.Fatal(b.err)
	}
	return filepath.Join(b.folder, "keyturn")
}

func (b *builtOperator) remove() {
	if b.folder != "" {
		_ = os.RemoveAll(b.folder)
	}
}

// operator is a running operator.
type operator struct {
	*testing.T
	https, certificate string // address and file
}

// startOperator starts the operator and waits until it is ready. It believes the proxy in front of it, which is local.
func startOperator(t *testing.T, kubeconfig []byte, namespace string) *operator {
	t.Helper()
	folder := t.TempDir()
	config := filepath.Join(folder, "kubeconfig")
	if err := os.WriteFile(config, kubeconfig, 0o600); err != nil {
		t.Fatal(err)
	}
	o := &operator{T: t, https: freeAddress(t), certificate: filepath.Join(folder, "tls.crt")}
	health := freeAddress(t)
	command := exec.Command(built.command(t), "--kubeconfig="+config, "--namespaces="+namespace, "--leader-elect=false",
		"--bind-address="+o.https, "--metrics-bind-address=0", "--health-bind-address="+health,
		"--tls-hosts=127.0.0.1", "--tls-self-signed-cert-out="+o.certificate, "--trusted-proxies=127.0.0.1",
		"--audit-log="+filepath.Join(folder, "audit.log"), "--log-level=debug")
	var log bytes.Buffer // read after the end
	command.Stdout, command.Stderr = &log, &log
	if err := command.Start(); err != nil {
		t.Fatalf("starting the operator: %v", err)
	}
	var exit error // after ended
	ended := make(chan struct{})
	go func() {
		exit = command.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = command.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("the operator's log:\n%s", &log)
		}
	})
	eventually(t, "the operator ready", func() error {
		select {
		case <-ended:
			t.Fatalf("the operator has ended: %v", exit)
		default:
		}
		response, err := http.Get("http://" + health + "/readyz")
		if err != nil {
			return err
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("/readyz answers %s", response.Status)
		}
		return nil
	})
	return o
}

// trusted is the certificate of the operator.
func (o *operator) trusted() *x509.CertPool {
	o.Helper()
	pool := x509.NewCertPool()
	certificate, err := os.ReadFile(o.certificate)
	if err != nil || !pool.AppendCertsFromPEM(certificate) {
		o.Fatalf("the certificate of the operator: %v", err)
	}
	return pool
}

// freeAddress is one that nobody listened on a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}
