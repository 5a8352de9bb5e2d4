package session

import (
	"crypto/hmac"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
)

// Prefix begins every refresh token, so that scanners for leaked secrets can find them. The digit is the version of the
// format.
const Prefix = "ktr1_"

// TokenLength is the length of every refresh token in characters.
const TokenLength = len(Prefix) + 70

// MaxGeneration is the largest generation that a token can have: any reader of JSON holds it and its successor exactly.
const MaxGeneration = 1<<53 - 2

// redacted is printed in place of what is secret.
const redacted = "[redacted]"

// RefreshToken is a refresh token as a client holds it. It prints as [redacted] however it is printed; only Reveal gives
// the text away. The zero value is no token.
type RefreshToken struct {
	// text is a function, because package fmt prints what a pointer points to when a verb does not suit it, and reaches
	// unexported fields without asking Format.
	text func() string
}

// Reveal returns the text, to be sent to the client and nowhere else. The zero value has none.
func (t RefreshToken) Reveal() string {
	if t.text == nil {
		return ""
	}
	return t.text()
}

// Format implements fmt.Formatter.
func (RefreshToken) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue implements slog.LogValuer.
func (RefreshToken) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements encoding.TextMarshaler.
func (RefreshToken) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Sizes of the parts of a token in bytes.
const (
	tagSize   = 8
	macSize   = 16
	tokenSize = len(KeyID{}) + len(ID{}) + 8 + tagSize + macSize
)

// wire is a token taken apart, with nothing checked:
//
//	key id (4) | session id (16) | generation (8, big endian) | tag (8) | mac (16)
//
// The tag can be checked with the issuer's key alone, and covers all the rest, so that whatever was not made by a replica
// costs no look-up. The mac can be checked only with the record of the session, and vouches for it.
type wire struct {
	key        KeyID
	session    ID
	generation uint64
	tag        [tagSize]byte
	mac        [macSize]byte
}

// base64url is unpadded, and strict: the bits that the last character has too many are zero, so that one token has one
// spelling (RFC 4648 section 3.5).
var base64url = base64.RawURLEncoding.Strict()

// parse takes the text of a token apart.
func parse(text string) (wire, bool) {
	if len(text) != TokenLength || text[:len(Prefix)] != Prefix {
		return wire{}, false
	}
	var raw [tokenSize + 2]byte // the decoder wants room for whole groups
	// It skips line breaks; then fewer bytes come out.
	n, err := base64url.Decode(raw[:], []byte(text[len(Prefix):]))
	if err != nil || n != tokenSize {
		return wire{}, false
	}
	var w wire
	rest := raw[:n]
	rest = rest[copy(w.key[:], rest):]
	rest = rest[copy(w.session[:], rest):]
	w.generation, rest = binary.BigEndian.Uint64(rest), rest[8:]
	rest = rest[copy(w.tag[:], rest):]
	copy(w.mac[:], rest)
	return w, w.generation <= MaxGeneration
}

// text puts a token together.
func (w *wire) text() RefreshToken {
	raw := make([]byte, 0, tokenSize)
	raw = append(raw, w.key[:]...)
	raw = append(raw, w.session[:]...)
	raw = binary.BigEndian.AppendUint64(raw, w.generation)
	raw = append(raw, w.tag[:]...)
	raw = append(raw, w.mac[:]...)
	text := Prefix + base64url.EncodeToString(raw)
	return RefreshToken{text: func() string { return text }}
}

// Presented is a refresh token whose tag is good: a replica of this issuer made it. Whether its session is still what it
// was then, only Classify can say.
type Presented struct {
	// SessionID and Generation are those of the token.
	SessionID  ID
	Generation uint64
	// ClientID is what the request says about the client. Empty if it says nothing.
	ClientID string

	issuerURL string
	key       *Key
	// mac is a function for the reason that RefreshToken has.
	mac func() [macSize]byte
}

// Format implements fmt.Formatter. The mac is a secret as long as the token is good.
func (p Presented) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "generation %d of session %s %s", p.Generation, p.SessionID, redacted)
}

// Read checks the form and the tag of a refresh token of the issuer with this URL. It does no I/O. The reason is Good, or
// why there is nothing to look up.
func (k *Keys) Read(text, issuerURL string) (Presented, Reason) {
	w, ok := parse(text)
	if !ok {
		return Presented{}, Malformed
	}
	key := k.find(w.key)
	if key == nil {
		return Presented{}, KeyUnknown
	}
	if want := key.tag(&w); !hmac.Equal(w.tag[:], want[:]) {
		return Presented{}, TagInvalid
	}
	return Presented{
		SessionID: w.session, Generation: w.generation, issuerURL: issuerURL, key: key,
		mac: func() [macSize]byte { return w.mac },
	}, Good
}

// vouchesFor reports whether the token was made for the session as its record has it now.
func (p *Presented) vouchesFor(s *Session) bool {
	if p.key == nil || s.ID != p.SessionID || s.IssuerURL != p.issuerURL {
		return false
	}
	got, want := p.mac(), p.key.mac(&s.Facts, p.Generation)
	return hmac.Equal(got[:], want[:])
}

// token makes the refresh token of one generation of a session: always the same one.
func (k *Key) token(facts *Facts, generation uint64) RefreshToken {
	w := wire{key: k.ID, session: facts.ID, generation: generation, mac: k.mac(facts, generation)}
	w.tag = k.tag(&w)
	return w.text()
}
