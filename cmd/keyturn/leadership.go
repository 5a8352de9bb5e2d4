package main

import (
	"context"
	"errors"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/keyturn/keyturn/controllers"
	"github.com/keyturn/keyturn/internal/audit"
	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/keyring"
	"github.com/keyturn/keyturn/internal/replicas"
)

const (
	leaseName = "keyturn.dev"
	// termPause is the pause before this replica stands for election again.
	termPause = 2 * time.Second
	// termTimeout bounds how long the workers of a term that has ended may take to stop.
	termTimeout = 10 * time.Second
)

// leadership runs the controllers while this replica leads, one term after another, beside everything that every replica
// runs. A manager with an election ends its whole process when it loses the Lease, and it loses it whenever the API
// server is away for long enough; but then, of all times, verification has to go on. So each term is a manager of its
// own, which shares the cache and the clients of the one that stays.
type leadership struct {
	manager  manager.Manager
	options  *options
	registry *issuers.Registry
	watcher  *issuers.Watcher
	sessions *sessions
	fleet    *fleet
	audit    *audit.Log
	clock    clock.Clock
	log      logr.Logger
}

// NeedLeaderElection says that every replica stands for election.
func (l *leadership) NeedLeaderElection() bool { return false }

// Start stands for election until the context ends: once this replica knows everything. Before that its controllers could
// do nothing but ask again and again.
func (l *leadership) Start(ctx context.Context) error {
	if !awaitSync(ctx, l.registry, l.clock) {
		return nil
	}
	for {
		err := l.term(ctx)
		if ctx.Err() != nil {
			return err
		}
		l.log.Info("the controllers have stopped; verification goes on", "reason", reasonOf(err), "againIn", termPause.String())
		select {
		case <-ctx.Done():
			return nil
		case <-l.clock.After(termPause):
		}
	}
}

func reasonOf(err error) string {
	if err == nil {
		return "the term is over"
	}
	return err.Error()
}

// term waits to be elected, runs the controllers, and returns when the Lease is lost or the context ends.
func (l *leadership) term(ctx context.Context) error {
	mgr, err := ctrl.NewManager(l.manager.GetConfig(), ctrl.Options{
		Scheme: l.manager.GetScheme(),
		NewCache: func(*rest.Config, cache.Options) (cache.Cache, error) {
			return startedCache{l.manager.GetCache()}, nil
		},
		Controller:                    config.Controller{SkipNameValidation: ptr.To(true)}, // every term has the same ones
		Metrics:                       metricsserver.Options{BindAddress: "0"},
		HealthProbeBindAddress:        "0",
		LeaderElection:                l.options.leaderElect,
		LeaderElectionID:              leaseName,
		LeaderElectionNamespace:       l.options.leaderNamespace,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 ptr.To(l.options.election.leaseDuration),
		RenewDeadline:                 ptr.To(l.options.election.renewDeadline),
		RetryPeriod:                   ptr.To(l.options.election.retryPeriod),
		GracefulShutdownTimeout:       ptr.To(termTimeout),
	})
	if err != nil {
		return err
	}
	if err := l.addControllers(mgr); err != nil {
		return err
	}
	return mgr.Start(ctx)
}

func (l *leadership) addControllers(term manager.Manager) error {
	revocations := &controllers.TokenRevocationReconciler{
		Client:    l.manager.GetClient(),
		Clock:     l.clock,
		Verifiers: l.registry,
		Audit:     l.audit,
	}
	if members := l.fleet.members; members != nil {
		revocations.Replicas = members
		sweeper := &replicas.Sweeper{Leases: l.fleet.leases, Fleet: members, Clock: l.clock, Log: l.log}
		if err := term.Add(sweeper); err != nil {
			return err
		}
	}
	return errors.Join(
		(&controllers.TokenIssuerReconciler{
			Client:    l.manager.GetClient(),
			APIReader: l.manager.GetAPIReader(),
			Recorder:  l.manager.GetEventRecorder("keyturn"),
			Clock:     l.clock,
			Generate:  keyring.Generate,
			External:  l.watcher,
			Audit:     l.audit,
		}).SetupWithManager(term),
		revocations.SetupWithManager(term),
		(&controllers.SessionReconciler{
			Client:     l.manager.GetClient(),
			APIReader:  l.manager.GetAPIReader(),
			Clock:      l.clock,
			Store:      l.sessions.store,
			Deletions:  l.sessions.ended,
			Retention:  l.registry,
			Namespaces: l.options.namespaces,
		}).SetupWithManager(term))
}

// startedCache is a cache that somebody else has started, and stops.
type startedCache struct{ cache.Cache }

// Start returns when the term ends.
func (startedCache) Start(ctx context.Context) error {
	<-ctx.Done()
	return nil
}
