// Package authserver is the authorization server (RFC 6749 section 1.1) of the issuers with spec.sessions: its endpoints
// open sessions, refresh and end them, and say what their tokens are worth. One file holds one endpoint or one concern of
// all of them; what becomes of a refresh token is decided in package session, and who somebody is in package login.
//
// Two rules hold everywhere. Nothing is written that cannot be answered: whether an access token can be signed, and what
// it may say, is known before a session is opened or a refresh token is spent. And a failure of ours is never told as a
// fault of the client's: what could not be decided is a 503, upon which a client keeps its token and asks again.
package authserver

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/audit"
	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/login"
	"github.com/keyturn/keyturn/internal/session"
	"github.com/keyturn/keyturn/internal/token"
)

const (
	// requestTimeout bounds the work on one request. It is below the time that the HTTPS server has to write the answer.
	requestTimeout = 15 * time.Second
	// complaintInterval is how often it is logged that requests cannot be decided. When the store is away that is each of
	// them, and the metrics count them.
	complaintInterval = time.Second
)

// Signers say with which key this replica may sign now. Every error is an issuers.ErrCannotSign.
type Signers interface {
	Signer(ctx context.Context, a *issuers.Authority) (*token.Signer, error)
}

// Passwords check user names and passwords. The errors are those of package login.
type Passwords interface {
	Check(ctx context.Context, namespace string, spec *v1alpha1.HtpasswdLogin, user, password string) (login.Identity, error)
	// Knows says whether the user of a subject may still log in.
	Knows(ctx context.Context, namespace string, spec *v1alpha1.HtpasswdLogin, subject string) (bool, error)
}

// Workloads check the tokens of ServiceAccounts, and what RBAC allows them. The errors are those of package login.
type Workloads interface {
	Authorize(ctx context.Context, issuer types.NamespacedName, issuerURL, token, verb string) (login.Workload, error)
}

// Upstreams check ID tokens of other issuers. The errors are those of package login.
type Upstreams interface {
	Authenticate(ctx context.Context, specs []v1alpha1.UpstreamLogin, idToken string) (login.Identity, error)
}

// Verifier judges access tokens.
type Verifier interface {
	Verify(raw string, want token.Want) token.Result
}

// Denier makes the verifier of this replica deny the access tokens of a session from now on. Other replicas hear of the
// session's end by themselves.
type Denier interface {
	DenySession(issuer types.NamespacedName, sessionID string)
}

// Revoker makes every verifier deny what was issued to a subject before a moment, also what has no session.
type Revoker interface {
	RevokeSubject(ctx context.Context, issuer types.NamespacedName, subject string, issuedBefore time.Time) error
}

var (
	_ Signers  = (*issuers.Signers)(nil)
	_ Verifier = (*token.Verifier)(nil)
	_ Revoker  = (*Revocations)(nil)
)

// Options are what the endpoints work with. All of it must be safe for concurrent use.
type Options struct {
	// Store, Signers, Passwords, Workloads, Upstreams, Verifier, Denier and Revoker are required.
	Store     session.Store
	Signers   Signers
	Passwords Passwords
	Workloads Workloads
	Upstreams Upstreams
	Verifier  Verifier
	Denier    Denier
	Revoker   Revoker

	// Audit gets one line for each login, refresh and end of a session. Default: nobody.
	Audit *audit.Log
	// Clock is the time of everything here. Default: the real one.
	Clock clock.Clock
	// Logger gets the reasons for which requests could not be decided. Default: nobody.
	Logger logr.Logger
	// Registerer gets the metrics. Default: nobody.
	Registerer prometheus.Registerer
}

// Server answers at the endpoints of every issuer with sessions. It is safe for concurrent use.
type Server struct {
	options    Options
	metrics    *metrics
	limits     *limits
	fences     fences
	complaints *rate.Limiter
	endpoints  map[string]endpoint
}

// endpoint answers a request, or refuses it.
type endpoint struct {
	serve func(context.Context, *call) (answer, *refusal)
	// browser is true where a cookie counts, so that pages of other origins must be kept out.
	browser bool
	// finishes is true where the work goes on after the client has hung up: somebody who logs out and closes the browser
	// is logged out.
	finishes bool
}

// RequestInfo is what a request says beyond its own bytes.
type RequestInfo struct {
	// Client is the address of whoever made the request. The zero Addr stands for an unknown one.
	Client netip.Addr
	// Host is the host that the client asked for, in lower case and without the default port of https.
	Host string
	// Path is the path of the issuer as the client sees it, without a slash at its end; empty for none. The endpoints are
	// below it.
	Path string
}

// New returns a server. The only error is that its metrics are registered already.
func New(options Options) (*Server, error) {
	if options.Clock == nil {
		options.Clock = clock.RealClock{}
	}
	if options.Logger.GetSink() == nil {
		options.Logger = logr.Discard()
	}
	s := &Server{
		options: options, metrics: newMetrics(), limits: newLimits(),
		complaints: rate.NewLimiter(rate.Every(complaintInterval), 1),
	}
	s.endpoints = map[string]endpoint{
		issuers.PathToken:         {serve: s.serveToken},
		issuers.PathRevoke:        {serve: s.serveRevoke, finishes: true},
		issuers.PathIntrospect:    {serve: s.serveIntrospect},
		issuers.PathSessions:      {serve: s.serveSessions},
		issuers.PathSessionLogin:  {serve: s.serveLogin, browser: true},
		issuers.PathSessionRenew:  {serve: s.serveRenew, browser: true},
		issuers.PathSessionLogout: {serve: s.serveLogout, browser: true, finishes: true},
		issuers.PathSessionEndAll: {serve: s.serveEndAll, browser: true, finishes: true},
	}
	return s, s.metrics.register(options.Registerer)
}

// ForgetIssuer drops what is kept about an issuer that is no more.
func (s *Server) ForgetIssuer(namespace, name string) {
	s.metrics.forgetIssuer(namespace, name)
	s.fences.forget(types.NamespacedName{Namespace: namespace, Name: name})
}

// call is one request to an endpoint of one issuer.
type call struct {
	w         http.ResponseWriter
	r         *http.Request
	authority *issuers.Authority
	info      RequestInfo
}

// ServeEndpoint answers a request to an endpoint of an issuer: one of the paths in package issuers. The authority is a
// snapshot, and what the request does is decided by this one alone.
func (s *Server) ServeEndpoint(w http.ResponseWriter, r *http.Request, a *issuers.Authority, path string, info RequestInfo) {
	// RFC 6749 section 5.1. Errors are no less private: they say what became of a session.
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Pragma", "no-cache")
	c := &call{w: w, r: r, authority: a, info: info}
	to, found := s.endpoints[path]
	if !found {
		refuse(w, &refusal{status: http.StatusNotFound, code: codeNotFound, description: "There is no endpoint at this address."})
		return
	}
	if to.browser {
		if done := s.fence(c); done {
			return
		}
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		refuse(w, &refusal{
			status: http.StatusMethodNotAllowed, code: codeInvalidRequest, description: "This address answers POST only.",
		})
		return
	}
	ctx := r.Context()
	if to.finishes {
		ctx = context.WithoutCancel(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	answer, refused := to.serve(ctx, c)
	if refused != nil {
		refuse(w, refused)
		return
	}
	answer.write(w)
}
