package login

import (
	"context"
	"os"
	"sync/atomic"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/internal/testenv"
)

// deadline bounds waiting for what the API server does by itself. It is wide, because other packages may compile
// meanwhile.
const deadline = time.Minute

func TestMain(m *testing.M) {
	os.Exit(testenv.Main(m))
}

// apiServer is a client of the real API server that counts the requests that pass through it, and that can be cut off.
type apiServer struct {
	client.Client
	reads, reviews, accessReviews atomic.Int64
	// cut makes requests go to where nobody listens.
	cut  atomic.Bool
	away client.Client
	// afterCreate, where it is set, edits what the API server has answered.
	afterCreate func(client.Object)
}

func newAPIServer(t testing.TB) *apiServer {
	t.Helper()
	options := client.Options{}
	c, err := client.New(testenv.Environment(t).Config, options)
	if err != nil {
		t.Fatal(err)
	}
	options.Mapper, options.Scheme = c.RESTMapper(), c.Scheme()
	away, err := client.New(&rest.Config{Host: "http://127.0.0.1:1"}, options)
	if err != nil {
		t.Fatal(err)
	}
	return &apiServer{Client: c, away: away}
}

func (s *apiServer) target() client.Client {
	if s.cut.Load() {
		return s.away
	}
	return s.Client
}

func (s *apiServer) Get(
	ctx context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption,
) error {
	s.reads.Add(1)
	return s.target().Get(ctx, key, object, options...)
}

func (s *apiServer) Create(ctx context.Context, object client.Object, options ...client.CreateOption) error {
	counted := &s.reviews
	if isAccessReview(object) {
		counted = &s.accessReviews
	}
	counted.Add(1)
	if err := s.target().Create(ctx, object, options...); err != nil {
		return err
	}
	if s.afterCreate != nil {
		s.afterCreate(object)
	}
	return nil
}

// newNamespace makes a namespace, past the counters.
func (s *apiServer) newNamespace(t testing.TB) string {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "login-"}}
	s.create(t, namespace)
	return namespace.Name
}

// create makes an object, past the counters.
func (s *apiServer) create(t testing.TB, object client.Object) {
	t.Helper()
	if err := s.Client.Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
}

// eventually polls until check is true.
func eventually(t testing.TB, what string, check func() bool) {
	t.Helper()
	checked := func(context.Context) (bool, error) { return check(), nil }
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, deadline, true, checked)
	if err != nil {
		t.Fatalf("waiting for %s: %v", what, err)
	}
}

// impersonated returns a client with the rights of a user, who has none unless a test grants some.
func impersonated(t testing.TB, user string) client.Client {
	t.Helper()
	config := rest.CopyConfig(testenv.Environment(t).Config)
	config.Impersonate.UserName = user
	c, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func isAccessReview(object client.Object) bool {
	_, ok := object.(*authorizationv1.SubjectAccessReview)
	return ok
}
