package issuers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	metadataclient "k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/revocation"
	"github.com/keyturn/keyturn/internal/session"
	"github.com/keyturn/keyturn/internal/testenv"
)

var metadataOfSession = metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Session"}

// sessionWatch is an EndedSessions against the real API server, in a namespace of its own, with a clock that a test
// turns.
type sessionWatch struct {
	*EndedSessions
	client    client.Client
	namespace string
	clock     *clocktesting.FakeClock
	// broken, while it is true, keeps every list and watch from the API server.
	broken atomic.Bool
	logged atomic.Int64
	said   atomic.Value // the last line
	stop   func()
}

func newSessionWatch(t *testing.T) *sessionWatch {
	t.Helper()
	env := testenv.Environment(t)
	if err := v1alpha1.AddToScheme(scheme.Scheme); err != nil {
		t.Fatal(err)
	}
	w := &sessionWatch{clock: clocktesting.NewFakeClock(epoch), stop: func() {}}
	var err error
	if w.client, err = client.New(env.Config, client.Options{Scheme: scheme.Scheme}); err != nil {
		t.Fatal(err)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "ended-"}}
	if err := w.client.Create(context.Background(), namespace); err != nil {
		t.Fatal(err)
	}
	w.namespace = namespace.Name
	w.EndedSessions = w.replica(t, NewRegistry())
	return w
}

// replica is an EndedSessions of the same namespace, which nobody runs yet.
func (w *sessionWatch) replica(t *testing.T, registry *Registry) *EndedSessions {
	t.Helper()
	config := rest.CopyConfig(testenv.Environment(t).Config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(request *http.Request) (*http.Response, error) {
			if w.broken.Load() {
				return nil, errors.New("the network is down")
			}
			return next.RoundTrip(request)
		})
	})
	metadata, err := metadataclient.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	log := funcr.New(func(_, line string) { w.said.Store(line); w.logged.Add(1) }, funcr.Options{})
	return NewEndedSessions(registry, EndedSessionsOptions{
		Client: metadata, Namespaces: []string{w.namespace}, Clock: w.clock, Logger: log,
	})
}

// start runs the watch until stop is called or the test ends, and waits for its first list.
func (w *sessionWatch) start(t *testing.T) {
	t.Helper()
	w.stop = startSessions(t, w.EndedSessions)
	eventually(t, "the first list of sessions", w.hasSynced)
}

func startSessions(t *testing.T, s *EndedSessions) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); s.run(ctx) }()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// open creates a Session of the issuer shop, after edits, and returns its name.
func (w *sessionWatch) open(t *testing.T, edits ...func(*v1alpha1.Session)) *v1alpha1.Session {
	t.Helper()
	expires := epoch.Add(24 * time.Hour)
	object := &v1alpha1.Session{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: w.namespace, Name: session.NewID(expires).String(), Finalizers: []string{v1alpha1.FinalizerSession},
			Labels: map[string]string{v1alpha1.LabelIssuer: "shop"},
		},
		Spec: v1alpha1.SessionSpec{
			IssuerRef: v1alpha1.IssuerReference{Name: "shop"}, IssuerURL: "https://shop.example", Subject: "alice", ClientID: "web",
			Audiences: []string{"api"}, Source: v1alpha1.SessionFromWorkload, Salt: "AAECAwQFBgcICQoLDA0ODw",
			CreatedAt: metav1.NewTime(epoch), ExpiresAt: metav1.NewTime(expires),
		},
		State: v1alpha1.SessionState{RotatedAt: metav1.NewMicroTime(epoch), IdleUntil: metav1.NewMicroTime(expires)},
	}
	for _, edit := range edits {
		edit(object)
	}
	if err := w.client.Create(context.Background(), object); err != nil {
		t.Fatal(err)
	}
	return object
}

func ended(object *v1alpha1.Session) { object.Labels[v1alpha1.LabelEnded] = "Logout" }

// edit changes a Session.
func (w *sessionWatch) edit(t *testing.T, object *v1alpha1.Session, change func(*v1alpha1.Session)) {
	t.Helper()
	before := object.DeepCopy()
	change(object)
	if err := w.client.Patch(context.Background(), object, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
}

func (w *sessionWatch) remove(t *testing.T, object *v1alpha1.Session) {
	t.Helper()
	if err := w.client.Delete(context.Background(), object); err != nil {
		t.Fatal(err)
	}
}

func withoutFinalizer(object *v1alpha1.Session) { object.Finalizers = nil }

// denied reports whether the access tokens of a session are denied by the registry.
func (s *EndedSessions) denied(object *v1alpha1.Session) bool {
	return deniedBy(s.registry, types.NamespacedName{Namespace: object.Namespace, Name: "shop"}, object.Name)
}

func deniedBy(r *Registry, issuer types.NamespacedName, sessionID string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.entries[issuer]
	if e == nil {
		return false
	}
	_, denied := e.rules.Match(&revocation.Facts{SessionID: sessionID, TokenID: "some", IssuedAt: epoch.Add(time.Hour)})
	return denied
}

func (s *EndedSessions) entries() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.known)
}

// settle waits until the watch has seen everything that was written before.
func (w *sessionWatch) settle(t *testing.T) {
	t.Helper()
	last := w.open(t, ended)
	eventually(t, "the last event", func() bool { return w.denied(last) })
}

// BenchmarkSessionMemory is what sessions keep in the memory of a replica.
func BenchmarkSessionMemory(b *testing.B) {
	const count = 10_000
	for _, state := range []struct {
		name   string
		labels map[string]string
		bring  func(*sessionsOf, any) error
		kept   int
	}{
		{"live", nil, (*sessionsOf).Add, 0},
		{"ended", map[string]string{v1alpha1.LabelEnded: "Logout"}, (*sessionsOf).Add, count},
		{"gone", map[string]string{v1alpha1.LabelEnded: "Logout"}, (*sessionsOf).Delete, count},
	} {
		b.Run(state.name, func(b *testing.B) {
			for b.Loop() {
				s := NewEndedSessions(NewRegistry(), EndedSessionsOptions{Clock: clocktesting.NewFakeClock(epoch)})
				watch := &sessionsOf{EndedSessions: s}
				before := heapInUse()
				for i := range count {
					object := &metav1.PartialObjectMetadata{TypeMeta: metadataOfSession, ObjectMeta: metav1.ObjectMeta{
						Namespace: strings.Clone("shop"), Name: fmt.Sprintf("%032x", i),
						Labels: map[string]string{v1alpha1.LabelIssuer: strings.Clone("tokens")},
					}}
					maps.Copy(object.Labels, state.labels)
					if err := state.bring(watch, object); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(heapInUse()-before)/count, "bytes/session")
				if s.entries() != state.kept {
					b.Errorf("%d sessions are kept", s.entries())
				}
			}
		})
	}
}

// heapInUse returns the bytes in use, after everything that nobody needs was collected.
func heapInUse() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
