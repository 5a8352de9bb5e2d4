package server

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/keyturn/keyturn/internal/token"
)

// The reasons that only the server can have, beside those of package token.
const (
	// RequirementInvalid is the reason when the gateway's requirement cannot be understood.
	RequirementInvalid token.Reason = "RequirementInvalid"
	// ClaimsTooLong is the reason when a good token says more than the answer has room for.
	ClaimsTooLong token.Reason = "ClaimsTooLong"
	// InternalError is the reason when the verification itself has failed.
	InternalError token.Reason = "InternalError"
)

// The error codes of RFC 6750 section 3.1.
const (
	invalidRequest    = "invalid_request"
	invalidToken      = "invalid_token"
	insufficientScope = "insufficient_scope"
)

// denial is the answer to a request that may not pass. Its status is 401 or 403, whatever the cause, because nginx and
// others take every other status for a failure of the server.
type denial struct {
	// Code is an error code of RFC 6750 section 3.1. Empty where the request has no token: the RFC asks for a bare
	// challenge then.
	Code string `json:"error,omitempty"`
	// Description is the reason and its sentence.
	Description string `json:"error_description"`
	// Reason is the stable word.
	Reason token.Reason `json:"reason"`
	// Scopes are those that would have been needed, where the scope is the cause.
	Scopes []string `json:"-"`
}

// denialOf is the denial for a reason of package token.
func denialOf(reason token.Reason, needed []string) denial {
	d := denial{Code: invalidToken, Reason: reason, Description: describe(reason)}
	switch reason {
	case token.TokenMissing:
		d.Code = ""
	case token.ScopeInsufficient:
		d.Code, d.Scopes = insufficientScope, needed
	}
	return d
}

// describe is what people read: the stable word and the sentence.
func describe(reason token.Reason) string {
	switch reason {
	case ClaimsTooLong:
		return string(reason) + ": The subject, session, scopes, issuer and client of the token, or its groups, are too " +
			"long to be passed on. Ask the issuer for a token with less in it."
	case InternalError:
		return string(reason) + ": The token could not be verified because of a fault in the server. See its log."
	}
	return string(reason) + ": " + reason.Sentence()
}

// deny writes a denial.
func deny(w http.ResponseWriter, d denial) {
	header := w.Header()
	header.Set("WWW-Authenticate", d.challenge())
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	if d.Reason == token.NotSynced {
		// The one denial that time alone heals: seconds after the start of a replica.
		header.Set("Retry-After", "1")
	}
	status := http.StatusUnauthorized
	if d.Code == insufficientScope {
		status = http.StatusForbidden
	}
	w.WriteHeader(status)
	writeJSON(w, d)
}

// challenge is the value of WWW-Authenticate (RFC 6750 section 3).
func (d denial) challenge() string {
	if d.Code == "" {
		return "Bearer"
	}
	challenge := `Bearer error="` + d.Code + `", error_description="` + quotable(d.Description) + `"`
	if len(d.Scopes) > 0 {
		challenge += `, scope="` + quotable(strings.Join(d.Scopes, " ")) + `"`
	}
	return challenge
}

// quotable keeps to the characters that RFC 6750 section 3 allows in error_description and scope. Every sentence of
// ours does; this is against one that some day does not.
func quotable(text string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return '?'
		}
		return c
	}, text)
}

// writeJSON writes a small document. An error means that the client has gone, and there is nobody left to tell.
func writeJSON(w http.ResponseWriter, document any) {
	body, err := json.Marshal(document)
	if err != nil {
		return
	}
	_, _ = w.Write(append(body, '\n'))
}
