package kubernetes_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/session"
	"github.com/keyturn/keyturn/internal/session/storetest"
	"github.com/keyturn/keyturn/internal/testenv"
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(testenv.Main(m))
}

var testScheme = func() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	return scheme
}()

// requests are those that a client has sent, as the wire sees them.
type requests struct {
	mu   sync.Mutex
	sent []string
	// fate, unless it is nil, is asked in place of the API server; with neither an answer nor an error the request goes
	// on.
	fate func(*http.Request) (*http.Response, error)
}

// take returns the methods of the requests since it was last called, in order: "GET PATCH".
func (r *requests) take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := strings.Join(r.sent, " ")
	r.sent = nil
	return taken
}

func (r *requests) total() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.sent)
}

func (r *requests) count(method string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, sent := range r.sent {
		if sent == method {
			n++
		}
	}
	return n
}

type roundTripper func(*http.Request) (*http.Response, error)

func (t roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return t(request) }

// newClient returns a client of the test's API server without a cache and without a limit of its own, and its requests.
func newClient(t testing.TB) (client.Client, *requests) {
	t.Helper()
	r := &requests{}
	config := rest.CopyConfig(testenv.Environment(t).Config)
	config.QPS = -1
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(request *http.Request) (*http.Response, error) {
			if !strings.Contains(request.URL.Path, "/sessions") {
				return next.RoundTrip(request) // discovery
			}
			r.mu.Lock()
			r.sent = append(r.sent, request.Method)
			fate := r.fate
			r.mu.Unlock()
			if fate != nil {
				if response, err := fate(request); response != nil || err != nil {
					return response, err
				}
			}
			return next.RoundTrip(request)
		})
	})
	c, err := client.New(config, client.Options{Scheme: testScheme})
	if err != nil {
		t.Fatal(err)
	}
	return c, r
}

// newNamespace makes a namespace, so that a test sees no other's sessions.
func newNamespace(t testing.TB, c client.Client) string {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "sessions-"}}
	if err := c.Create(context.Background(), namespace); err != nil {
		t.Fatal(err)
	}
	return namespace.Name
}

// newSession is one of an issuer in the namespace.
func newSession(namespace, subject string) *session.Session {
	s := storetest.NewSession(subject)
	s.Issuer.Namespace = namespace
	return s
}

func mustCreate(t testing.TB, store session.Store, s *session.Session) *session.Session {
	t.Helper()
	created, err := store.Create(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	return created
}

// object reads the Session of a session.
func object(t testing.TB, c client.Client, s *session.Session) *v1alpha1.Session {
	t.Helper()
	read := &v1alpha1.Session{}
	if err := c.Get(context.Background(), client.ObjectKey{Namespace: s.Issuer.Namespace, Name: s.ID.String()}, read); err != nil {
		t.Fatal(err)
	}
	return read
}

func wantError(t testing.TB, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: the error is %v, want one that is %q", what, got, want)
	}
}
