package server

import (
	"net/http"
	"strings"

	"github.com/keyturn/keyturn/internal/token"
)

// The headers that tell the application behind a gateway whose token has passed. Their names are in the canonical
// form of net/http.
const (
	headerSubject = "X-Auth-Subject"
	headerSession = "X-Auth-Session"
	headerScopes  = "X-Auth-Scopes"
	headerIssuer  = "X-Auth-Issuer"
	headerClient  = "X-Auth-Client"
)

// maxIdentityBytes bounds the five values together. nginx reads the head of an answer into 4 KiB by default
// (proxy_buffer_size) and fails if it is longer, so what does not fit is denied here, where the reason can be told.
// Cutting a value off could make one subject look like another.
const maxIdentityBytes = 3072

// setIdentity sets the five headers, and says whether they fit. All are always set, empty where the token says nothing,
// because a gateway copies those it finds over those of its client: one that were missing would let the client's own
// through.
//
// A value is its UTF-8 bytes with everything but printable ASCII percent-encoded, and space and "%" too, so that
// percent-decoding gives back exactly what the token says. Scopes are separated by one space.
func setIdentity(header http.Header, issuer *token.Issuer, claims *token.Claims) bool {
	values := []string{
		encodeValue(claims.Subject),
		encodeValue(claims.SessionID),
		encodeScopes(claims.Scopes),
		encodeValue(issuer.URL),
		encodeValue(claims.ClientID),
	}
	length := 0
	for _, value := range values {
		length += len(value)
	}
	if length > maxIdentityBytes {
		return false
	}
	// Slices of one array: the caller is the hot path, and this is one allocation for five.
	header[headerSubject] = values[0:1:1]
	header[headerSession] = values[1:2:2]
	header[headerScopes] = values[2:3:3]
	header[headerIssuer] = values[3:4:4]
	header[headerClient] = values[4:5:5]
	return true
}

func encodeScopes(scopes []string) string {
	if len(scopes) == 1 {
		return encodeValue(scopes[0])
	}
	var b strings.Builder
	length := len(scopes)
	for _, scope := range scopes {
		length += len(scope)
	}
	b.Grow(length)
	for i, scope := range scopes {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(encodeValue(scope))
	}
	return b.String()
}

// encodeValue percent-encodes what cannot stand in a header, or would not come back from percent-decoding.
func encodeValue(value string) string {
	unsafe := 0
	for i := range len(value) {
		if mustEncode(value[i]) {
			unsafe++
		}
	}
	if unsafe == 0 {
		return value
	}
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	b.Grow(len(value) + 2*unsafe)
	for i := range len(value) {
		if c := value[i]; mustEncode(c) {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func mustEncode(c byte) bool { return c <= ' ' || c > '~' || c == '%' }
