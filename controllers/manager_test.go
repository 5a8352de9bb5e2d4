package controllers

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/keyring"
	"github.com/keyturn/keyturn/internal/session/kubernetes"
	"github.com/keyturn/keyturn/internal/testenv"
	"github.com/keyturn/keyturn/internal/token"
)

// running is a manager with everything that the operator runs in it but its HTTPS server: watches, queues,
// controllers. Its clock is the real one.
type running struct {
	*replica
	stop func() // and wait until every reconciliation has ended

	mu    sync.Mutex
	looks map[string]int // at each object, by the reconcilers
}

// start runs a manager for the world's namespace until the test ends or stop is called. Its writes go through around, if
// that is not nil: see interceptWrites.
func (w *world) start() *running { return w.startWith(nil) }

func (w *world) startWith(around func(verb string, object client.Object, write func() error) error) *running {
	w.Helper()
	m := &running{looks: map[string]int{}}
	manager, err := ctrl.NewManager(testenv.Environment(w).Config, ctrl.Options{
		Scheme: testScheme, Logger: discard, Cache: w.cacheOptions(), NewClient: func(c *rest.Config, o client.Options) (client.Client, error) {
			plain, err := client.NewWithWatch(c, o)
			if err != nil {
				return nil, err
			}
			if around != nil {
				plain = interceptWrites(plain, around)
			}
			return w.journal.record(m.count(plain)), nil
		},
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: ptr.To(true)}, // each test has its own
	})
	if err != nil {
		w.Fatalf("making a manager: %v", err)
	}
	registry := issuers.NewRegistry()
	sessions := w.endedSessions(registry)
	watcher := issuers.NewWatcher(manager.GetCache(), registry, issuers.WatcherOptions{
		Clock: clock.RealClock{}, Logger: discard, Sessions: sessions,
	})
	m.replica = &replica{world: w, registry: registry, verifier: token.NewVerifier(registry, clock.RealClock{}, token.Options{})}
	for _, err := range []error{
		manager.Add(watcher),
		IndexFields(w.Context(), manager.GetFieldIndexer()),
		(&TokenIssuerReconciler{
			Client: manager.GetClient(), APIReader: manager.GetAPIReader(), Recorder: manager.GetEventRecorder("keyturn"),
			Clock: clock.RealClock{}, Generate: keyring.Generate, External: watcher,
		}).SetupWithManager(manager),
		(&TokenRevocationReconciler{Client: manager.GetClient(), Clock: clock.RealClock{}, Verifiers: registry}).SetupWithManager(manager),
		(&SessionReconciler{
			Client: manager.GetClient(), APIReader: manager.GetAPIReader(), Clock: clock.RealClock{},
			Store:     kubernetes.New(w.WithWatch, kubernetes.InNamespaces(w.namespace)),
			Deletions: sessions, Retention: registry, Namespaces: []string{w.namespace},
		}).SetupWithManager(manager),
	} {
		if err != nil {
			w.Fatalf("setting up the manager: %v", err)
		}
	}
	ctx, cancel := context.WithCancel(w.Context())
	ended := make(chan error, 1)
	go func() { ended <- manager.Start(ctx) }()
	m.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			w.Errorf("the manager: %v", err)
		}
	})
	w.Cleanup(m.stop)
	return m
}

// endedSessions is the watch of the world's sessions, for a watcher to run.
func (w *world) endedSessions(registry *issuers.Registry) *issuers.EndedSessions {
	w.Helper()
	metadata, err := metadata.NewForConfig(testenv.Environment(w).Config)
	if err != nil {
		w.Fatalf("making a client for metadata: %v", err)
	}
	return issuers.NewEndedSessions(registry, issuers.EndedSessionsOptions{
		Client: metadata, Namespaces: []string{w.namespace}, Clock: clock.RealClock{}, Logger: discard,
	})
}

// count counts how often each object is read by its name, which a reconciler does once each time that it is called.
func (m *running) count(c client.WithWatch) client.WithWatch {
	return interceptor.NewClient(c, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, name client.ObjectKey, object client.Object, options ...client.GetOption) error {
			m.mu.Lock()
			m.looks[fmt.Sprintf("%T %s", object, name.Name)]++
			m.mu.Unlock()
			return c.Get(ctx, name, object, options...)
		},
	})
}

func (m *running) looked(object client.Object) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.looks[fmt.Sprintf("%T %s", object, object.GetName())]
}

// ready waits until the issuer is ready, and all its objects show the same ring.
func (m *running) ready(name string) *v1alpha1.TokenIssuer {
	m.Helper()
	eventually(m, name+" ready", func() error {
		issuer := m.issuer(name)
		for _, condition := range issuer.Status.Conditions {
			if condition.Type == v1alpha1.ConditionReady && condition.Status == "True" && condition.ObservedGeneration == issuer.Generation {
				return nil
			}
		}
		return fmt.Errorf("conditions %+v", issuer.Status.Conditions)
	})
	return m.issuer(name)
}

// now makes claims and signatures of the world those of the real time.
func (m *running) now() { m.clock.SetTime(time.Now()) }
