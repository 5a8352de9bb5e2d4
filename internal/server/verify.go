package server

import (
	"net/http"
	"time"

	"github.com/keyturn/keyturn/internal/token"
)

// mistakeLogInterval is how often a requirement that cannot be understood is logged at most: every request of that
// gateway has it.
const mistakeLogInterval = time.Minute

// verify answers a gateway: 200 without a body and with the identity in headers, or a denial with 401 or 403, and
// never anything else. It serves nginx auth_request, Traefik ForwardAuth, Caddy forward_auth, and Envoy's ext_authz
// over HTTP. Any method will do, because Envoy sends that of its client.
//
//	/verify?<requirement>               the query is the gateway's
//	/verify/<anything>                  what follows the prefix is the client's; the issuer's defaults are required
//	/verify-for/<requirement>/<anything>  one segment is the gateway's, what follows is the client's
//
// What is the client's is not even parsed, so that it cannot change what is required.
func (s *Server) verify(x *exchange, r *http.Request, to destination) {
	if r.ContentLength != 0 && r.ProtoMajor == 1 {
		// A gateway may announce its client's body and not send it. Waiting for it would hold the answer back, and
		// keeping the connection would take the next request for that body.
		x.Header().Set("Connection", "close")
	}
	want, mistake := s.requirements.get(to.requirement)
	if mistake == nil && to.mustRequire && to.requirement == "" {
		mistake = errRequirementMissing
	}
	if mistake != nil {
		s.logMistake(r, mistake)
		// The request is at fault and not the token, so a client that gets this must not fetch another token.
		s.refuse(x, nil, denial{Code: invalidRequest, Reason: RequirementInvalid,
			Description: string(RequirementInvalid) + ": " + mistake.Error()})
		return
	}
	raw, reason := bearerToken(r.Header)
	if reason != token.Allowed {
		s.refuse(x, nil, denialOf(reason, nil))
		return
	}
	result := s.check(raw, want)
	if result.Reason != token.Allowed {
		s.refuse(x, result.Issuer, denialOf(result.Reason, neededScopes(want, result.Issuer)))
		return
	}
	if !setIdentity(x.Header(), result.Issuer, result.Claims) {
		s.refuse(x, result.Issuer, denialOf(ClaimsTooLong, nil))
		return
	}
	x.judged(result.Issuer, token.Allowed)
	s.metrics.verified(result.Issuer, token.Allowed)
	x.Header()["Cache-Control"] = noStore
	x.WriteHeader(http.StatusOK)
}

// noStore keeps every cache from answering in our place: a revocation takes effect at once. It is never changed.
var noStore = []string{"no-store"}

// check asks the verifier and measures it.
func (s *Server) check(raw string, want token.Want) token.Result {
	result := s.options.Verifier.Verify(raw, want)
	s.metrics.duration.Observe(s.clock.Since(result.Begun).Seconds())
	return result
}

// refuse counts and writes a denial. The issuer is nil where it is not known.
func (s *Server) refuse(x *exchange, issuer *token.Issuer, d denial) {
	x.judged(issuer, d.Reason)
	s.metrics.verified(issuer, d.Reason)
	deny(x, d)
}

// neededScopes are the scopes that a token had to have: those of the request, or else the issuer's.
func neededScopes(want token.Want, issuer *token.Issuer) []string {
	if len(want.Scopes) == 0 && issuer != nil {
		return issuer.Scopes
	}
	return want.Scopes
}

// logMistake tells the operator that a gateway is set up wrongly: at once, and then once a minute at most. The
// requirement itself is left out, because a token may have got into it.
func (s *Server) logMistake(r *http.Request, mistake error) {
	now := s.clock.Now().UnixNano()
	last := s.mistakeLogged.Load()
	if last != 0 && now-last < int64(mistakeLogInterval) || !s.mistakeLogged.CompareAndSwap(last, now) {
		return
	}
	s.log.Error(mistake, "a gateway asks for verification with a requirement that cannot be understood; "+
		"its requests are denied", "peer", peer(r).String())
}
