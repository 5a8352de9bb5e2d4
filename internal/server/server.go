// Package server is the HTTPS server of every replica: it answers gateways, API servers and verifiers. One file holds
// one protocol; what a token is worth is decided in package token, and what an issuer publishes in package issuers.
package server

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/netutil"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/webhook/authentication"

	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/token"
)

// Defaults of Options.
const (
	DefaultBindAddress     = ":8443"
	DefaultShutdownDelay   = 5 * time.Second
	DefaultShutdownTimeout = 15 * time.Second
	DefaultMaxConnections  = 4096
)

// The limits of one connection and one request.
const (
	// maxHeaderBytes is more than what a gateway lets a client send by default (Envoy: 60 KiB, nginx: 33 KiB), because
	// beyond it net/http answers 431 before any handler runs, and nginx turns that into an error of its own.
	maxHeaderBytes = 64 << 10
	// readHeaderTimeout bounds the TLS handshake as well.
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	// writeTimeout leaves room for one fetch of an external issuer's keys.
	writeTimeout = 20 * time.Second
	// idleTimeout is longer than that of common gateways' connection pools (nginx 60 s, Traefik 90 s, Caddy 120 s), so
	// that they close an idle connection first and never send a request into one that is being closed.
	idleTimeout = 3 * time.Minute
)

// Verifier judges tokens. It is safe for concurrent use and does not change want.
type Verifier interface {
	Verify(raw string, want token.Want) token.Result
}

var _ Verifier = (*token.Verifier)(nil)

// Options say what the server serves, and how.
type Options struct {
	// Verifier judges tokens. Required. It says by the clock below when it began.
	Verifier Verifier
	// Publications are the documents that issuers show the world. Required.
	Publications issuers.Publications
	// Authorities are the issuers with sessions, and Endpoints serve them. Default: there are none.
	Authorities issuers.Authorities
	Endpoints   Endpoints

	// Await is waited for before anything is listened on; false ends Start. A connection that is refused makes a gateway
	// turn to another replica, while an answer by one that knows nothing yet would deny good tokens. Default: nothing.
	Await func(context.Context) bool

	// BindAddress is the TCP address to listen on. Default: DefaultBindAddress.
	BindAddress string
	// Listener is used in place of BindAddress, and closed when serving ends.
	Listener net.Listener
	// TLS says where the certificate comes from.
	TLS TLSOptions
	// MaxConnections bounds the open connections; further ones wait in the backlog. Default: DefaultMaxConnections.
	MaxConnections int
	// TrustedProxies are the peers whose X-Forwarded-* headers are believed. Default: none.
	TrustedProxies []netip.Prefix

	// ShutdownDelay is how long to go on serving after Ready has turned false, so that gateways and endpoint lists
	// can notice. Default: DefaultShutdownDelay; negative for none.
	ShutdownDelay time.Duration
	// ShutdownTimeout bounds the wait for open requests after that. Default: DefaultShutdownTimeout. The manager's
	// graceful shutdown must last longer than both together.
	ShutdownTimeout time.Duration

	// Clock is the time for durations, delays and self-signed certificates. Default: the real one.
	Clock clock.Clock
	// Logger gets mistakes of the configuration, panics, and, at verbosity 1, one line a request.
	Logger logr.Logger
	// Registerer gets the metrics when the server starts. Default: nobody.
	Registerer prometheus.Registerer
}

// Server serves until its context ends. It is an http.Handler and a manager.Runnable.
type Server struct {
	options      Options
	clock        clock.Clock
	log          logr.Logger
	metrics      *metrics
	forwarded    forwarding
	requirements requirements
	tokenReviews *authentication.Webhook

	serving  atomic.Bool
	draining atomic.Bool
	served   chan struct{}
	// mistakeLogged is when the last mistake of a gateway's configuration was logged, in nanoseconds since 1970.
	mistakeLogged atomic.Int64
}

// New returns a server that is not started yet.
func New(options Options) *Server {
	if options.BindAddress == "" {
		options.BindAddress = DefaultBindAddress
	}
	if options.MaxConnections <= 0 {
		options.MaxConnections = DefaultMaxConnections
	}
	if options.ShutdownDelay == 0 {
		options.ShutdownDelay = DefaultShutdownDelay
	}
	if options.ShutdownTimeout <= 0 {
		options.ShutdownTimeout = DefaultShutdownTimeout
	}
	if options.Authorities == nil || options.Endpoints == nil {
		options.Authorities = noAuthorities{}
	}
	if options.Clock == nil {
		options.Clock = clock.RealClock{}
	}
	if options.Logger.GetSink() == nil {
		options.Logger = logr.Discard()
	}
	s := &Server{
		options:   options,
		clock:     options.Clock,
		log:       options.Logger,
		metrics:   newMetrics(),
		forwarded: forwarding{trusted: options.TrustedProxies},
		served:    make(chan struct{}),
	}
	s.tokenReviews = &authentication.Webhook{Handler: authentication.HandlerFunc(s.reviewToken)}
	return s
}

// NeedLeaderElection says that every replica serves, not only the leader.
func (s *Server) NeedLeaderElection() bool { return false }

// Ready is a healthz.Checker: nil while new requests are welcome. It turns false before the server stops.
func (s *Server) Ready(_ *http.Request) error {
	switch {
	case s.draining.Load():
		return errors.New("the HTTPS server is shutting down")
	case !s.serving.Load():
		return errors.New("the HTTPS server has not started yet")
	}
	if source := s.options.TLS.Source; source != nil {
		_, err := source.GetCertificate(nil)
		return err
	}
	return nil
}

// Served is closed when Start returns: nobody is served any more.
func (s *Server) Served() <-chan struct{} { return s.served }

// ForgetIssuer deletes the metrics of an issuer that is no more.
func (s *Server) ForgetIssuer(namespace, name string) { s.metrics.forgetIssuer(namespace, name) }

// Start serves until ctx ends, then drains: Ready turns false, requests are served for ShutdownDelay, then those under
// way are waited for. It can be called once.
func (s *Server) Start(ctx context.Context) error {
	defer close(s.served)
	if s.options.Await != nil && !s.options.Await(ctx) {
		return nil
	}
	if err := s.metrics.register(s.options.Registerer); err != nil {
		return err
	}
	certificates, err := loadCertificates(s.options.TLS, s.clock, s.metrics.certificateExpires)
	if err != nil {
		return err
	}
	listener, err := s.listen()
	if err != nil {
		return err
	}
	httpServer := s.httpServer(certificates)

	// The certificate is watched for as long as anybody is served, which is longer than ctx.
	watching, stopWatching := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWatching()
	failed := make(chan error, 2)
	go func() { failed <- httpServer.ServeTLS(listener, "", "") }()
	if certificates.watch != nil {
		go func() { failed <- certificates.watch(watching) }()
	}
	s.serving.Store(true)
	s.log.Info("serving HTTPS", "address", listener.Addr().String())

	select {
	case <-ctx.Done():
	case err := <-failed:
		_ = httpServer.Close()
		return fmt.Errorf("serving HTTPS on %s: %w", listener.Addr(), err)
	}
	return s.drain(httpServer, failed) //nolint:contextcheck // The context has ended: that is why it drains.
}

// listen opens the listener, with the bound on connections. Nothing else than that bound keeps a flood of connections
// from taking all memory, since every TLS connection costs some ten KiB.
func (s *Server) listen() (net.Listener, error) {
	listener := s.options.Listener
	if listener == nil {
		var err error
		if listener, err = net.Listen("tcp", s.options.BindAddress); err != nil {
			return nil, fmt.Errorf("listening on %q for HTTPS: %w; choose another bind address, or stop what has it",
				s.options.BindAddress, err)
		}
	}
	return netutil.LimitListener(listener, s.options.MaxConnections), nil
}

// httpServer is a plain http.Server with the Server itself as its only handler. The webhook server of
// controller-runtime is not used, because it routes with an http.ServeMux, which answers an unclean path, such as one
// with "//" or "/../" in it, with a redirect. A gateway that appends its client's path takes a redirect for an error
// at best, and follows it to another requirement at worst.
func (s *Server) httpServer(certificates certificates) *http.Server {
	limited := Limited(s)
	limited.TLSConfig = certificates.config()
	// Without this net/http answers "OPTIONS *" with 200 by itself, and 200 means "allow" here.
	limited.DisableGeneralOptionsHandler = true
	limited.ErrorLog = log.New(connectionErrors{s.log}, "", 0)
	return limited
}

// Limited returns a server of net/http with the limits of a connection that ours has, for any handler.
func Limited(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
	}
}

// drain is the end of Start.
func (s *Server) drain(httpServer *http.Server, failed <-chan error) error {
	s.draining.Store(true)
	s.log.Info("shutting down the HTTPS server", "delay", s.options.ShutdownDelay.String())
	if s.options.ShutdownDelay > 0 {
		timer := s.clock.NewTimer(s.options.ShutdownDelay)
		defer timer.Stop()
		select {
		case <-timer.C():
		case err := <-failed:
			_ = httpServer.Close()
			return fmt.Errorf("serving HTTPS while shutting down: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.options.ShutdownTimeout)
	defer cancel()
	if err := httpServer.Shutdown(ctx); err != nil {
		_ = httpServer.Close()
		return fmt.Errorf("waiting %s for open HTTPS requests at shutdown: %w", s.options.ShutdownTimeout, err)
	}
	return nil
}

// connectionErrors passes on what net/http has to say about connections, such as failed TLS handshakes. It is noise
// that any port scan makes, so it is logged at verbosity 1.
type connectionErrors struct{ log logr.Logger }

func (e connectionErrors) Write(line []byte) (int, error) {
	e.log.V(1).Info("connection error", "detail", strings.TrimSpace(string(line)))
	return len(line), nil
}
