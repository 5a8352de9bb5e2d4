package main

import (
	"fmt"
	"net/netip"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/keyturn/keyturn/internal/audit"
	"github.com/keyturn/keyturn/internal/authserver"
	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/login"
	"github.com/keyturn/keyturn/internal/session"
	"github.com/keyturn/keyturn/internal/session/kubernetes"
)

// sessions are what the issuers with spec.sessions need on every replica.
type sessions struct {
	store     session.Store
	ended     *issuers.EndedSessions
	endpoints *authserver.Server
}

// sessionOptions are what newSessions works with.
type sessionOptions struct {
	config        *rest.Config
	scheme        *runtime.Scheme
	registry      *issuers.Registry
	verifier      authserver.Verifier
	namespaces    []string
	allowInternal []netip.Prefix
	audit         *audit.Log
	log           logr.Logger
}

// newSessions makes them with a client of their own, which reads past the cache and is not limited here: people wait for
// its answers, and the API server's own priority and fairness is what bounds it.
func newSessions(o sessionOptions) (*sessions, error) {
	config := rest.CopyConfig(o.config)
	config.QPS = -1
	direct, err := client.New(config, client.Options{Scheme: o.scheme})
	if err != nil {
		return nil, fmt.Errorf("connecting to the API server for sessions: %w", err)
	}
	watching, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connecting to the API server to watch sessions: %w", err)
	}
	s := &sessions{
		store: kubernetes.New(direct, kubernetes.InNamespaces(o.namespaces...)),
		ended: issuers.NewEndedSessions(o.registry, issuers.EndedSessionsOptions{
			Client: watching, Namespaces: o.namespaces, Clock: clock.RealClock{}, Logger: o.log.WithName("sessions"),
		}),
	}
	s.endpoints, err = authserver.New(authserver.Options{
		Store:      s.store,
		Signers:    issuers.NewSigners(direct, clock.RealClock{}),
		Passwords:  login.NewPasswords(direct, clock.RealClock{}),
		Workloads:  login.NewWorkloads(direct, clock.RealClock{}),
		Upstreams:  login.NewUpstreams(login.UpstreamOptions{AllowedInternal: o.allowInternal}),
		Verifier:   o.verifier,
		Denier:     o.registry,
		Revoker:    authserver.NewRevocations(direct),
		Audit:      o.audit,
		Logger:     o.log.WithName("authserver"),
		Registerer: metrics.Registry,
	})
	return s, err
}
