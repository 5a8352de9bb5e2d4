package authserver

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/session"
)

// The values of "error". Where a comment names no other place they are of RFC 6749 section 5.2.
const (
	codeInvalidRequest       = "invalid_request"
	codeInvalidClient        = "invalid_client"
	codeInvalidGrant         = session.ErrorInvalidGrant
	codeInvalidScope         = "invalid_scope"
	codeUnsupportedGrantType = "unsupported_grant_type"
	codeInvalidTarget        = "invalid_target"         // RFC 8707 section 2
	codeUnsupportedTokenType = "unsupported_token_type" // RFC 7009 section 2.2.1
	codeInvalidToken         = "invalid_token"          // RFC 6750 section 3.1
	codeAccessDenied         = "access_denied"          // RFC 6749 section 4.1.2.1, used with the status 403
	codeSlowDown             = "slow_down"              // RFC 8628 section 3.5, used with the status 429
	codeUnavailable          = session.ErrorTemporarilyUnavailable
	codeServerError          = "server_error" // RFC 6749 section 4.1.2.1, used with the status 500
	codeNotFound             = "not_found"    // as the HTTPS server answers where nothing is
)

// retryAfter is when to ask again after a 503: long enough for a replica to be replaced by another.
const retryAfter = 2 * time.Second

// refusal is the answer to a request that is not granted (RFC 6749 section 5.2). It is an error, so that it can pass
// through code that knows nothing of HTTP.
type refusal struct {
	status int
	// code is the value of "error", and description that of "error_description": printable ASCII without quotes and
	// backslashes, which says what is wrong and what to do, and repeats nothing of the request.
	code, description string
	// retryAfter is when to ask again, rounded up to seconds. 0: no word about it.
	retryAfter time.Duration
	// challenge is the value of WWW-Authenticate, which goes with 401 (RFC 9110 section 11.6.1).
	challenge string
}

func (r *refusal) Error() string { return r.code + ": " + r.description }

// definite reports whether asking again with the same token is of no use, so that a browser may drop it.
func (r *refusal) definite() bool { return r.code == codeInvalidGrant }

func invalidRequest(description string) *refusal {
	return &refusal{status: http.StatusBadRequest, code: codeInvalidRequest, description: description}
}

func invalidGrant(description string) *refusal {
	return &refusal{status: http.StatusBadRequest, code: codeInvalidGrant, description: description}
}

// refuse writes a refusal.
func refuse(w http.ResponseWriter, r *refusal) {
	if r.retryAfter > 0 {
		seconds := (r.retryAfter + time.Second - 1) / time.Second
		w.Header().Set("Retry-After", strconv.FormatInt(int64(seconds), 10))
	}
	if r.challenge != "" {
		w.Header().Set("WWW-Authenticate", r.challenge)
	}
	writeJSON(w, r.status, struct {
		Code        string `json:"error"`
		Description string `json:"error_description,omitempty"`
	}{r.code, r.description})
}

// answer is the answer to a request that was granted.
type answer struct {
	// status is 200 where it is 0.
	status int
	// body is written as JSON. Nil: there is none.
	body any
}

func (a answer) write(w http.ResponseWriter) {
	status := a.status
	if status == 0 {
		status = http.StatusOK
	}
	if a.body == nil {
		w.WriteHeader(status)
		return
	}
	writeJSON(w, status, a.body)
}

// writeJSON writes a body that can be nothing but JSON. That the client has gone is nothing to do something about.
func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// tokenResponse is a successful answer (RFC 6749 section 5.1).
type tokenResponse struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	// ExpiresIn is in seconds.
	ExpiresIn int64 `json:"expires_in"`
	// RefreshToken is empty where it is in a cookie.
	RefreshToken string `json:"refresh_token,omitempty"`
	Scope        string `json:"scope,omitempty"`
	// IssuedTokenType is for a token exchange (RFC 8693 section 2.2.1).
	IssuedTokenType string `json:"issued_token_type,omitempty"`
	// SessionID and Subject are the claims "sid" and "sub", for a caller that would otherwise have to parse the token.
	SessionID string `json:"session_id,omitempty"`
	Subject   string `json:"sub,omitempty"`
}

const bearer = "Bearer"

func joined(scopes []string) string { return strings.Join(scopes, " ") }
