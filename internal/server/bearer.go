package server

import (
	"net/http"
	"strings"

	"github.com/keyturn/keyturn/internal/token"
)

// bearerToken takes the token out of the one header that may carry it (RFC 6750 section 2.1). The query and the body
// are never looked at: they end up in logs. Any reason but token.Allowed means that there is no token to verify.
func bearerToken(header http.Header) (string, token.Reason) {
	lines := header["Authorization"]
	switch len(lines) {
	case 0:
		return "", token.TokenMissing
	case 1:
	default:
		// Which of them the application would take is anybody's guess, so none of them is good.
		return "", token.TokenAmbiguous
	}
	scheme, credentials, _ := strings.Cut(lines[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		// A comma cannot be part of a token (RFC 6750 section 2.1, b64token), but proxies join repeated headers with it.
		if _, second, found := strings.Cut(lines[0], ","); found && startsWithBearer(second) {
			return "", token.TokenAmbiguous
		}
		return "", token.TokenMissing
	}
	credentials = strings.TrimLeft(credentials, " ")
	switch {
	case credentials == "":
		return "", token.TokenMissing
	case strings.IndexByte(credentials, ',') >= 0:
		return "", token.TokenAmbiguous
	}
	return credentials, token.Allowed
}

// startsWithBearer says whether a bearer token is among the values that a proxy has joined.
func startsWithBearer(joined string) bool {
	for value := range strings.SplitSeq(joined, ",") {
		scheme, _, _ := strings.Cut(strings.TrimLeft(value, " \t"), " ")
		if strings.EqualFold(scheme, "Bearer") {
			return true
		}
	}
	return false
}
