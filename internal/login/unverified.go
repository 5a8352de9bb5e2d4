package login

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	strict "github.com/go-jose/go-jose/v4/json"
)

// unverified is what a token in the JWS Compact Serialization (RFC 7515 section 7.1) says. Anybody can have written it:
// it is good for finding out whom to ask, and for refusing, and never for anything else.
type unverified struct {
	header, claims claims
}

// claims are the members of a JSON object, with numbers as json.Number.
type claims map[string]any

var errMalformed = errors.New("it is not a JWT")

// readUnverified reads a token of at most so many bytes.
func readUnverified(token string, maxBytes int) (unverified, error) {
	if len(token) > maxBytes {
		return unverified{}, errors.New("it is too long")
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return unverified{}, errMalformed
	}
	header, err := readPart(parts[0])
	if err != nil {
		return unverified{}, err
	}
	payload, err := readPart(parts[1])
	if err != nil {
		return unverified{}, err
	}
	return unverified{header: header, claims: payload}, nil
}

func readPart(part string) (claims, error) {
	document, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil || strings.ContainsAny(part, "\r\n") { // which the decoder skips
		return nil, errMalformed
	}
	return readClaims(document)
}

// readClaims reads a JSON object about which there is no doubt: valid UTF-8 (RFC 8259 section 8.1), no member twice at
// any depth, nothing after it. Two readers of a document with doubts could see two different users.
func readClaims(document []byte) (claims, error) {
	var anything any
	if !utf8.Valid(document) || strict.Unmarshal(document, &anything) != nil {
		return nil, errMalformed
	}
	// The strict reader's numbers would be floats, or of a type of its own that others write as strings.
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.UseNumber()
	var read claims
	if err := decoder.Decode(&read); err != nil || read == nil {
		return nil, errMalformed
	}
	return read, nil
}

// text returns a claim that is a string.
func (c claims) text(name string) (string, bool) {
	text, ok := c[name].(string)
	return text, ok
}

// texts returns a claim that is a string or a list of strings, as "aud" (RFC 7519 section 4.1.3). Nil for anything
// else.
func (c claims) texts(name string) []string {
	switch value := c[name].(type) {
	case string:
		return []string{value}
	case []any:
		texts := make([]string, 0, len(value))
		for _, element := range value {
			text, ok := element.(string)
			if !ok {
				return nil
			}
			texts = append(texts, text)
		}
		return texts
	}
	return nil
}

// maxNumericDate, in seconds, is in the year 5138: far enough, and no arithmetic with times overflows before it.
const maxNumericDate = 1e11

// time returns a claim that is a NumericDate (RFC 7519 section 2), in whole seconds.
func (c claims) time(name string) (time.Time, bool) {
	number, ok := c[name].(json.Number)
	if !ok {
		return time.Time{}, false
	}
	seconds, err := number.Float64()
	if err != nil || seconds < 0 || seconds > maxNumericDate {
		return time.Time{}, false
	}
	return time.Unix(int64(math.Floor(seconds)), 0), true
}

// names reports whether the audience of the token holds one of those.
func (c claims) names(audiences ...string) bool {
	return slices.ContainsFunc(c.texts("aud"), func(audience string) bool { return slices.Contains(audiences, audience) })
}

// expiry returns the claim "exp". The error says that there is none, or that it has come.
func (c claims) expiry(now time.Time) (time.Time, error) {
	expires, ok := c.time("exp")
	if !ok {
		return time.Time{}, errors.New(`it has no claim "exp" with a time`)
	}
	if !now.Before(expires) {
		return time.Time{}, errors.New("it has expired")
	}
	return expires, nil
}
