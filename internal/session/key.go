package session

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// KeyID selects the key of a refresh token. It follows from the key itself, so a document cannot give one key the name of
// another.
type KeyID [4]byte

// String returns eight lower-case hexadecimal digits.
func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

// ParseKeyID reads what String has written; false for any other text, such as the id of a signing key.
func ParseKeyID(text string) (KeyID, bool) {
	decoded, err := hex.DecodeString(text)
	if err != nil || len(decoded) != len(KeyID{}) || hex.EncodeToString(decoded) != text {
		return KeyID{}, false
	}
	return KeyID(decoded), true
}

// Key makes and checks refresh tokens. A session keeps the key that it was opened with for all its life, so that each of
// its tokens is a function of the session and the generation. Key is immutable.
type Key struct {
	ID KeyID
	// CreatedAt is when the key was made.
	CreatedAt time.Time
	// UsableFrom is when sessions begin to be opened with it: late enough for every replica to know it.
	UsableFrom time.Time
	// MaxLifetime is the longest absolute lifetime of a session that is opened with it.
	MaxLifetime time.Duration

	// secret is a function for the reason that RefreshToken has.
	secret func() *secret
}

// keySize is the size of a key in bytes.
const keySize = 32

type secret struct {
	root [keySize]byte
	// tag is derived from root.
	tag [keySize]byte
}

// Labels keep what is derived from one key for one purpose from being of use for another. They are part of the format.
const (
	labelKeyID = "keyturn refresh token v1: key id"
	labelTag   = "keyturn refresh token v1: tag"
	labelMAC   = "keyturn refresh token v1: mac"
)

// newKey makes a key of its bytes.
func newKey(root [keySize]byte) Key {
	bytes := &secret{root: root, tag: [keySize]byte(derive(root[:], nil, labelTag))}
	return Key{ID: KeyID(derive(root[:], nil, labelKeyID)), secret: func() *secret { return bytes }}
}

// derive is HKDF (RFC 5869) with SHA-256, to 32 bytes.
func derive(root, salt []byte, label string) []byte {
	derived, err := hkdf.Key(sha256.New, root, salt, label, keySize)
	if err != nil {
		// Only a key that is too short for FIPS mode, or an output that is too long for the hash, are errors.
		panic("session: deriving a key of fixed size: " + err.Error())
	}
	return derived
}

// Format implements fmt.Formatter.
func (k Key) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "refresh token key %s %s", k.ID, redacted)
}

// LogValue implements slog.LogValuer.
func (k Key) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(k)) }

// MarshalJSON implements json.Marshaler. The document with the secret is what Encode writes.
func (k Key) MarshalJSON() ([]byte, error) { return json.Marshal(fmt.Sprint(k)) }

// tag authenticates everything else in a token.
func (k *Key) tag(w *wire) [tagSize]byte {
	hash := hmac.New(sha256.New, k.secret().tag[:])
	_, _ = hash.Write(w.key[:])
	_, _ = hash.Write(w.session[:])
	_, _ = hash.Write(binary.BigEndian.AppendUint64(nil, w.generation))
	_, _ = hash.Write(w.mac[:])
	return [tagSize]byte(hash.Sum(nil))
}

// mac authenticates one generation of a session together with the facts of the session. Its key depends on the session's
// salt too: neither the key without the store nor the store without the key is enough to make it.
func (k *Key) mac(facts *Facts, generation uint64) [macSize]byte {
	hash := hmac.New(sha256.New, derive(k.secret().root[:], facts.Salt[:], labelMAC))
	_, _ = hash.Write(facts.canonical(generation))
	return [macSize]byte(hash.Sum(nil))
}

// canonical is what a mac vouches for. Every part has its length in front, so that no two sets of facts have one form.
func (f *Facts) canonical(generation uint64) []byte {
	form := make([]byte, 0, 512+len(f.Claims))
	form = appendText(form, f.IssuerURL)
	form = appendText(form, string(f.ID[:]))
	form = binary.BigEndian.AppendUint64(form, generation)
	form = appendText(form, f.Subject)
	form = appendText(form, f.ClientID)
	form = appendTime(form, f.CreatedAt)
	form = appendTime(form, f.ExpiresAt)
	form = appendText(form, string(f.Source))
	form = appendText(form, f.Claims)
	form = appendTexts(form, f.Scopes)
	return appendTexts(form, f.Audiences)
}

func appendTime(form []byte, t time.Time) []byte {
	return binary.BigEndian.AppendUint64(form, uint64(t.Unix())) //nolint:gosec // All bits of it are kept.
}

func appendText(form []byte, text string) []byte {
	form = appendLength(form, len(text))
	return append(form, text...)
}

func appendTexts(form []byte, texts []string) []byte {
	form = appendLength(form, len(texts))
	for _, text := range texts {
		form = appendText(form, text)
	}
	return form
}

func appendLength(form []byte, length int) []byte {
	return binary.BigEndian.AppendUint32(form, uint32(length)) //nolint:gosec // No fact has 4 GiB.
}

// generateKey reads a key from a source of randomness. The only error is that of the source.
func generateKey(random io.Reader) (Key, error) {
	var root [keySize]byte
	if _, err := io.ReadFull(random, root[:]); err != nil {
		return Key{}, fmt.Errorf("making a key for refresh tokens: reading random bytes: %w", err)
	}
	return newKey(root), nil
}
