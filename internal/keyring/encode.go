package keyring

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// ErrUnreadable is returned for a ring document that cannot be trusted to be understood. It must never be overwritten:
// whatever is wrong with it, it may hold the only copy of keys that are in use.
var ErrUnreadable = errors.New("the ring cannot be read")

// Bounds of a ring document.
const (
	documentVersion = 1
	// maxDocumentBytes is what a Secret can hold.
	maxDocumentBytes = 1 << 20
	// maxDocumentKeys leaves room above MaxKeys for the two keys that a compromise at the bound can add.
	maxDocumentKeys = MaxKeys + 2
)

type document struct {
	Version        int           `json:"version"`
	Revision       int64         `json:"revision"`
	HandledRequest string        `json:"handledRequest,omitempty"`
	MaxAge         duration      `json:"maxAge"`
	FormerMaxAge   duration      `json:"formerMaxAge,omitzero"`
	FormerUntil    time.Time     `json:"formerUntil,omitzero"`
	FormerRevision int64         `json:"formerRevision,omitzero"`
	LostAt         time.Time     `json:"lostAt,omitzero"`
	Dropped        []string      `json:"dropped,omitempty"`
	Keys           []keyDocument `json:"keys"`
}

type keyDocument struct {
	State       State           `json:"state"`
	JWK         jose.JSONWebKey `json:"jwk"`
	CreatedAt   time.Time       `json:"createdAt"`
	PublishedAt time.Time       `json:"publishedAt,omitzero"`
	ActivatedAt time.Time       `json:"activatedAt,omitzero"`
	RetiredAt   time.Time       `json:"retiredAt,omitzero"`
	RemoveAfter time.Time       `json:"removeAfter,omitzero"`
	MaxLifetime duration        `json:"maxLifetime,omitzero"`
	Exception   string          `json:"exception,omitempty"`
}

// Encode renders the ring as the versioned document that the ring Secret holds.
func Encode(ring *Ring) ([]byte, error) {
	doc := document{
		Version: documentVersion, Revision: ring.Revision, HandledRequest: ring.HandledRequest,
		MaxAge: duration(ring.MaxAge), FormerMaxAge: duration(ring.FormerMaxAge), FormerUntil: ring.FormerUntil.UTC(),
		FormerRevision: ring.FormerRevision,
		LostAt:         ring.LostAt.UTC(), Dropped: ring.Dropped, Keys: make([]keyDocument, len(ring.Keys)),
	}
	for i := range ring.Keys {
		key := &ring.Keys[i]
		doc.Keys[i] = keyDocument{
			State: key.State, JWK: key.JWK, CreatedAt: key.CreatedAt.UTC(), PublishedAt: key.PublishedAt.UTC(),
			ActivatedAt: key.ActivatedAt.UTC(), RetiredAt: key.RetiredAt.UTC(), RemoveAfter: key.RemoveAfter.UTC(),
			MaxLifetime: duration(key.MaxLifetime), Exception: key.Exception,
		}
	}
	encoded, err := json.Marshal(doc)
	if err != nil {
		// The error of go-jose can quote key material, so it is not passed on.
		return nil, errors.New("encoding the ring: a key cannot be written as a JWK")
	}
	if len(encoded) > maxDocumentBytes {
		return nil, fmt.Errorf("encoding the ring: %d keys take more than %d bytes", len(ring.Keys), maxDocumentBytes)
	}
	return encoded, nil
}

// Decode reads a ring document and checks everything that Plan relies on. Every error is an ErrUnreadable.
func Decode(encoded []byte) (*Ring, error) {
	if len(encoded) > maxDocumentBytes {
		return nil, unreadable("it is larger than %d bytes", maxDocumentBytes)
	}
	var version struct {
		Version int `json:"version"`
	}
	if json.Unmarshal(encoded, &version) != nil {
		return nil, unreadable("it is not a JSON object with a version")
	}
	if version.Version != documentVersion {
		return nil, unreadable("its version is %d and this program knows only version %d: run the version of Keyturn that wrote it", version.Version, documentVersion)
	}
	var doc document
	decoder := json.NewDecoder(bytes.NewReader(encoded))
	decoder.DisallowUnknownFields()
	if decoder.Decode(&doc) != nil || decoder.More() {
		// The decoder's own error can quote what it read, and that can be key material.
		return nil, unreadable("a field is unknown or has the wrong type, or a key is not a JWK")
	}
	ring := &Ring{
		Revision: doc.Revision, HandledRequest: doc.HandledRequest, MaxAge: time.Duration(doc.MaxAge),
		FormerMaxAge: time.Duration(doc.FormerMaxAge), FormerUntil: doc.FormerUntil, FormerRevision: doc.FormerRevision,
		LostAt: doc.LostAt, Dropped: doc.Dropped, Keys: make([]Key, len(doc.Keys)),
	}
	for i := range doc.Keys {
		key, err := doc.Keys[i].key()
		if err != nil {
			return nil, err
		}
		ring.Keys[i] = key
	}
	if err := ring.validate(); err != nil {
		return nil, err
	}
	return ring, nil
}

func (d *keyDocument) key() (Key, error) {
	key := Key{
		ID: d.JWK.KeyID, Algorithm: jose.SignatureAlgorithm(d.JWK.Algorithm), State: d.State, JWK: d.JWK,
		CreatedAt: d.CreatedAt, PublishedAt: d.PublishedAt, ActivatedAt: d.ActivatedAt, RetiredAt: d.RetiredAt,
		RemoveAfter: d.RemoveAfter, MaxLifetime: time.Duration(d.MaxLifetime), Exception: d.Exception,
	}
	// The library calls no symmetric key valid; for those the length that fits asks for is all there is to know.
	if !key.Symmetric() && !d.JWK.Valid() || !fits(key.Algorithm, d.JWK.Key) {
		return Key{}, unreadable("the key material of a key does not fit its algorithm")
	}
	if id, err := thumbprint(&d.JWK); err != nil || id != key.ID {
		return Key{}, unreadable("the id of a key is not its RFC 7638 thumbprint")
	}
	key.Size = sizeOf(d.JWK.Key)
	return key, nil
}

// validate checks what holds of every ring that was ever written.
func (r *Ring) validate() error {
	count := map[State]int{}
	seen := map[string]bool{}
	for i := range r.Keys {
		key := &r.Keys[i]
		count[key.State]++
		if seen[key.ID] {
			return unreadable("the key %s is in it twice", key.ID)
		}
		seen[key.ID] = true
		if key.State != Active && key.State != Next && key.State != Retiring {
			return unreadable("the state of a key is unknown")
		}
		if key.State != Retiring && !key.Symmetric() && key.JWK.IsPublic() {
			return unreadable("the private half of the %s key %s is missing", key.State, key.ID)
		}
		if key.MaxLifetime < 0 || key.State != Next && key.ActivatedAt.IsZero() {
			return unreadable("the times of the key %s contradict its state", key.ID)
		}
	}
	switch {
	case count[Active] != 1 || count[Next] != 1:
		return unreadable("it must have one Active and one Next key, and has %d and %d", count[Active], count[Next])
	case len(r.Keys) > maxDocumentKeys:
		return unreadable("it has %d keys, more than %d", len(r.Keys), maxDocumentKeys)
	case len(r.Dropped) > maxDropped:
		return unreadable("it remembers %d dropped keys, more than %d", len(r.Dropped), maxDropped)
	case r.Revision < 1 || r.MaxAge <= 0 || r.FormerMaxAge < 0:
		return unreadable("its revision or a duration is out of bounds")
	}
	return nil
}

func unreadable(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUnreadable, fmt.Sprintf(format, args...))
}

// duration is a time.Duration that reads and writes as text, such as "15m0s".
type duration time.Duration

func (d duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

func (d *duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = duration(parsed)
	return err
}
