package token

import (
	"encoding/base64"
	"strings"
)

// MaxTokenBytes is the size of the largest token that is looked at, in its compact form.
const MaxTokenBytes = 16 << 10

// maxHeaderBytes is the size of the largest JOSE header, decoded.
const maxHeaderBytes = 4 << 10

// base64url is the encoding of every segment: unpadded, and in the only spelling that its bytes have (RFC 7515
// section 2), so that one signed token has one text.
var base64url = base64.RawURLEncoding.Strict()

// segments are the decoded parts of a compact JWS (RFC 7515 section 3.1). They share one allocation.
type segments struct{ header, payload, signature []byte }

// decode takes a token apart that is at most MaxTokenBytes long. It returns Allowed, or why it cannot.
func decode(raw string) (segments, Reason) {
	header, rest, two := strings.Cut(raw, ".")
	payload, signature, three := strings.Cut(rest, ".")
	if !two || !three || header == "" || payload == "" || signature == "" {
		return segments{}, whyNoToken(raw)
	}
	// The decoder of the standard library skips line breaks.
	if strings.IndexByte(raw, '\n') >= 0 || strings.IndexByte(raw, '\r') >= 0 {
		return segments{}, whyNoToken(raw)
	}
	buffer := make([]byte, 0, base64url.DecodedLen(len(raw)))
	var parts segments
	for _, part := range []struct {
		text string
		into *[]byte
	}{{header, &parts.header}, {payload, &parts.payload}, {signature, &parts.signature}} {
		begin := len(buffer)
		var err error
		if buffer, err = base64url.AppendDecode(buffer, []byte(part.text)); err != nil {
			return segments{}, whyNoToken(raw)
		}
		*part.into = buffer[begin:len(buffer):len(buffer)]
	}
	if len(parts.header) > maxHeaderBytes {
		return segments{}, Malformed
	}
	return parts, Allowed
}

// whyNoToken tells two tokens, as a proxy makes of two headers by joining them with a comma, from a broken one.
func whyNoToken(raw string) Reason {
	pieces, tokens := 0, 0
	for piece := range strings.FieldsFuncSeq(raw, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }) {
		pieces++
		if strings.Count(piece, ".") == 2 {
			tokens++
		}
	}
	switch {
	case pieces == 0:
		return TokenMissing
	case tokens > 1:
		return TokenAmbiguous
	}
	return Malformed
}
