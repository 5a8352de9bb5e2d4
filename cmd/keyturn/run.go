package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/controllers"
	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/replicas"
	"github.com/keyturn/keyturn/internal/server"
	"github.com/keyturn/keyturn/internal/token"
)

const (
	// The API server's own priority and fairness limits this client; these only keep a mistake from flooding it. They are for
	// each kind of object. Three times as many made a thousand issuers ready no sooner, and revocations later meanwhile.
	requestsPerSecond, requestBurst = 100, 200
	// syncPoll is how often it is looked whether this replica knows everything.
	syncPoll = 10 * time.Millisecond
	// shutdownTimeout must last longer than the HTTPS server's delay and drain together.
	shutdownTimeout = 50 * time.Second
)

// run wires everything and runs until the context ends.
func run(ctx context.Context, o *options) error {
	log, err := logger(o)
	if err != nil {
		return err
	}
	ctrl.SetLogger(log)
	klog.SetLogger(log.WithName("client-go"))

	resolved, err := o.resolve(clock.RealClock{}) //nolint:contextcheck // Writing to the audit log is never cut short.
	if err != nil {
		return err
	}
	config, freshness, err := o.connect(log)
	if err != nil {
		return err
	}
	fleet := newFleet(o)
	mgr, err := newManager(config, o, fleet)
	if err != nil {
		return fmt.Errorf("connecting to the API server %s: %w", config.Host, err)
	}

	if err := addEverything(ctx, mgr, o, resolved, fleet, freshness, log); err != nil {
		return err
	}
	log.Info("starting", "version", version)
	return mgr.Start(ctx)
}

// addEverything adds to the manager what every replica runs.
func addEverything(
	ctx context.Context, mgr manager.Manager, o *options, resolved resolved, fleet *fleet, freshness *issuers.Freshness, log logr.Logger,
) error {
	registry := issuers.NewRegistry()
	verifier := token.NewVerifier(registry, clock.RealClock{}, token.Options{})
	sessions, err := newSessions(sessionOptions{
		config: mgr.GetConfig(), scheme: mgr.GetScheme(), registry: registry, verifier: verifier, namespaces: o.namespaces,
		allowInternal: resolved.allowInternal, audit: resolved.auditLog, log: log,
	})
	if err != nil {
		return err
	}
	https := server.New(server.Options{
		Verifier:       verifier,
		Publications:   registry,
		Authorities:    registry,
		Endpoints:      sessions.endpoints,
		Await:          func(ctx context.Context) bool { return awaitSync(ctx, registry, clock.RealClock{}) },
		BindAddress:    o.bindAddress,
		TLS:            o.tls,
		TrustedProxies: resolved.trustedProxies,
		Logger:         log.WithName("server"),
		Registerer:     metrics.Registry,
	})
	external, err := externalOptions(mgr.GetConfig(), resolved.allowInternal)
	if err != nil {
		return err
	}
	watching := issuers.WatcherOptions{
		External: external,
		Clock:    clock.RealClock{},
		Logger:   log.WithName("issuers"),
		Sessions: sessions.ended,
		Served:   https.Served(),
		Forget: func(namespace, name string) {
			https.ForgetIssuer(namespace, name)
			sessions.endpoints.ForgetIssuer(namespace, name)
		},
	}
	if err := fleet.join(mgr, &watching, log); err != nil {
		return err
	}
	watcher := issuers.NewWatcher(mgr.GetCache(), registry, watching)
	return errors.Join(
		mgr.Add(https),
		mgr.Add(watcher),
		metrics.Registry.Register(issuers.NewCollector(registry, freshness, clock.RealClock{})),
		metrics.Registry.Register(resolved.auditLog.WriteErrors()),
		mgr.AddHealthzCheck("ping", healthz.Ping),
		mgr.AddReadyzCheck("serving", https.Ready),
		mgr.AddReadyzCheck("synced", syncedCheck(registry)),
		controllers.IndexFields(ctx, mgr.GetFieldIndexer()),
		watchSecrets(ctx, mgr.GetCache()),
		mgr.Add(&leadership{
			manager: mgr, options: o, registry: registry, watcher: watcher, sessions: sessions, fleet: fleet,
			audit: resolved.auditLog, clock: clock.RealClock{}, log: log.WithName("leadership"),
		}),
	)
}

// watchSecrets has the cache list the Secrets together with the other kinds, at its start: verification cannot begin without
// them, and who asks for them first would have to wait for the others before.
func watchSecrets(ctx context.Context, informers cache.Cache) error {
	if _, err := informers.GetInformer(ctx, &corev1.Secret{}); err != nil {
		return fmt.Errorf("watching the Secrets: %w", err)
	}
	return nil
}

// connect returns how to reach the API server, and what listens to the watches that verification depends on. Those of the
// serving certificate are not among them.
func (o *options) connect(log logr.Logger) (*rest.Config, *issuers.Freshness, error) {
	config, err := restConfig(o.kubeconfig)
	if err != nil {
		return nil, nil, err
	}
	if o.tls.Source, err = o.servingSecret.source(config, o.tls.Hosts, clock.RealClock{}, log); err != nil {
		return nil, nil, err
	}
	freshness := issuers.NewFreshness(clock.RealClock{})
	config.Wrap(freshness.Wrap)
	return config, freshness, nil
}

// newManager makes the manager of what every replica runs. It elects nobody: see leadership.
func newManager(config *rest.Config, o *options, fleet *fleet) (manager.Manager, error) {
	scheme := runtime.NewScheme()
	// Not all of Kubernetes: every replica would register some fifty groups before it can serve, and use four.
	if err := errors.Join(
		corev1.AddToScheme(scheme), coordinationv1.AddToScheme(scheme), authenticationv1.AddToScheme(scheme),
		authorizationv1.AddToScheme(scheme), v1alpha1.AddToScheme(scheme),
	); err != nil {
		return nil, err
	}
	return ctrl.NewManager(config, ctrl.Options{
		Scheme:                  scheme,
		Cache:                   cacheOptions(o, fleet),
		Metrics:                 metricsserver.Options{BindAddress: o.metricsAddress},
		HealthProbeBindAddress:  o.healthAddress,
		GracefulShutdownTimeout: ptr.To(shutdownTimeout),
	})
}

// cacheOptions keep only what is ours of Secrets, ConfigMaps and Leases in memory.
func cacheOptions(o *options, fleet *fleet) cache.Options {
	component, err := labels.NewRequirement(v1alpha1.LabelComponent, selection.Exists, nil)
	if err != nil {
		panic(err) // a constant label
	}
	ours := cache.ByObject{Label: labels.NewSelector().Add(*component)}
	options := cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}: ours, &corev1.ConfigMap{}: ours,
			&v1alpha1.TokenRevocation{}: {Transform: fleet.received},
			&coordinationv1.Lease{}: {
				Namespaces: map[string]cache.Config{o.leaderNamespace: {LabelSelector: replicas.Selector()}},
			},
		},
	}
	if len(o.namespaces) > 0 {
		options.DefaultNamespaces = map[string]cache.Config{}
		for _, namespace := range o.namespaces {
			options.DefaultNamespaces[namespace] = cache.Config{}
		}
	}
	return options
}

// externalOptions lets fromCluster issuers read the cluster's own keys over the operator's connection.
func externalOptions(config *rest.Config, allowed []netip.Prefix) (issuers.ExternalOptions, error) {
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return issuers.ExternalOptions{}, fmt.Errorf("the address of the API server: %w", err)
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		return issuers.ExternalOptions{}, fmt.Errorf("the connection to the API server: %w", err)
	}
	return issuers.ExternalOptions{AllowedInternal: allowed, ClusterURL: base.String(), ClusterTransport: transport}, nil
}

// awaitSync waits until this replica knows everything; false if the context ends before.
func awaitSync(ctx context.Context, registry *issuers.Registry, clk clock.Clock) bool {
	for !registry.Synced() {
		select {
		case <-ctx.Done():
			return false
		case <-clk.After(syncPoll):
		}
	}
	return true
}

func syncedCheck(registry *issuers.Registry) healthz.Checker {
	return func(*http.Request) error {
		if !registry.Synced() {
			return errors.New("the issuers and revocations have not been read from the API server yet, or the other replicas " +
				"do not know of this one yet: see the log")
		}
		return nil
	}
}

func restConfig(path string) (*rest.Config, error) {
	var config *rest.Config
	var err error
	if path == "" {
		config, err = ctrl.GetConfig()
	} else {
		config, err = clientcmd.BuildConfigFromFlags("", path)
	}
	if err != nil {
		return nil, fmt.Errorf("finding the API server: %w; name a kubeconfig file with --kubeconfig", err)
	}
	config.QPS, config.Burst = requestsPerSecond, requestBurst
	config.UserAgent = "keyturn/" + version
	return config, nil
}
