package server

import (
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/keyturn/keyturn/internal/token"
)

// ServeHTTP answers one request, counts it, and logs it at verbosity 1.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{ResponseWriter: w}
	if s.log.V(1).Enabled() {
		x.arrived = s.clock.Now()
	}
	to := s.route(r)
	defer s.finish(x, r, to)
	if s.draining.Load() {
		// Gateways keep connections open. This makes them take another replica's, without a request lost.
		w.Header().Set("Connection", "close")
	}
	switch to.handler {
	case handlerVerify:
		s.verify(x, r, to)
	case handlerTokenReview:
		s.serveTokenReview(x, r)
	case handlerJWKS:
		publish(x, r, to.publication, to.publication.JWKS, "application/jwk-set+json")
	case handlerDiscovery:
		publish(x, r, to.publication, to.publication.Discovery, "application/json")
	default:
		if to.authority != nil {
			s.serveEndpoint(x, r, to)
			return
		}
		fail(x, http.StatusNotFound, "not_found", "No issuer publishes anything at this address, and the service answers "+
			"nothing here. Check the host and the path against the issuerURL of the TokenIssuer, and that it has spec.sessions "+
			"where its endpoints are asked for.")
	}
}

// exchange is one request and its answer, as far as the log and the metrics need them.
type exchange struct {
	http.ResponseWriter
	// code is the status of the answer. 0 before there is one.
	code int
	// issuer and reason are the outcome of a verification. Nil and empty where there was none.
	issuer *token.Issuer
	reason token.Reason
	// arrived is when the request did. Zero unless it is to be logged.
	arrived time.Time
}

// WriteHeader notes the status.
func (x *exchange) WriteHeader(code int) {
	if x.code == 0 {
		x.code = code
	}
	x.ResponseWriter.WriteHeader(code)
}

// Write notes the status that net/http implies.
func (x *exchange) Write(body []byte) (int, error) {
	if x.code == 0 {
		x.code = http.StatusOK
	}
	return x.ResponseWriter.Write(body)
}

// Unwrap lets an http.ResponseController through.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// judged notes the outcome of a verification.
func (x *exchange) judged(issuer *token.Issuer, reason token.Reason) {
	x.issuer, x.reason = issuer, reason
}

// finish is deferred around every request. Paths and queries are not logged: they are the client's, and may hold
// secrets.
func (s *Server) finish(x *exchange, r *http.Request, to destination) {
	if cause := recover(); cause != nil {
		s.recovered(x, to, cause)
	}
	s.metrics.answered(to.handler, x.code)
	if !x.arrived.IsZero() {
		s.log.V(1).Info("request", "handler", to.handler, "code", x.code, "reason", string(x.reason), "issuer",
			issuerName(x.issuer), "client", s.forwarded.client(r).String(), "protocol", r.Proto,
			"duration", s.clock.Since(x.arrived).String())
	}
}

// recovered answers in place of a handler that panicked, which is a fault of ours. A gateway gets a denial, since some
// are set to let requests pass when the service fails, and whoever has found the fault must gain nothing. All others
// get 500.
func (s *Server) recovered(x *exchange, to destination, cause any) {
	s.metrics.panics.Inc()
	// The value of a panic could be, or hold, a part of a token; only the runtime's own cannot.
	err := fmt.Errorf("panic with a value of type %T", cause)
	if fault, ok := cause.(runtime.Error); ok {
		err = fmt.Errorf("panic: %w", fault)
	}
	s.log.Error(err, "a request could not be answered; this is a bug: please report it",
		"handler", to.handler, "stack", string(debug.Stack()))
	if x.code != 0 {
		panic(http.ErrAbortHandler) // a part of the answer is out; net/http ends the connection without a word
	}
	clear(x.Header())
	if to.handler == handlerVerify {
		s.refuse(x, nil, denialOf(InternalError, nil))
		return
	}
	fail(x, http.StatusInternalServerError, "server_error", "The request could not be answered because of a fault in the "+
		"server. See its log.")
}

// failure is the answer to a request that is not about a token's worth.
type failure struct {
	Code        string `json:"error"`
	Description string `json:"error_description"`
}

func fail(w http.ResponseWriter, status int, code, description string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	writeJSON(w, failure{Code: code, Description: description})
}

// methodNotAllowed names the methods that are.
func methodNotAllowed(w http.ResponseWriter, allowed string) {
	w.Header().Set("Allow", allowed)
	fail(w, http.StatusMethodNotAllowed, "invalid_request", "This address answers "+allowed+" only.")
}
