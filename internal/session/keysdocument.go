package session

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// ErrUnreadable is returned for a document of keys that cannot be trusted to be understood. It must never be overwritten:
// whatever is wrong with it, it may hold the only copy of keys that sessions depend on.
var ErrUnreadable = errors.New("the document with the keys for refresh tokens cannot be read")

const (
	documentVersion = 1
	// maxDocumentBytes is far more than MaxKeys need, and what is read at most.
	maxDocumentBytes = 64 << 10
)

type keysDocument struct {
	Version  int           `json:"version"`
	Revision int64         `json:"revision"`
	Dropped  []string      `json:"dropped,omitempty"`
	Keys     []keyDocument `json:"keys"`
}

type keyDocument struct {
	ID          string    `json:"id"`
	Secret      string    `json:"secret"`
	CreatedAt   time.Time `json:"createdAt"`
	UsableFrom  time.Time `json:"usableFrom"`
	MaxLifetime string    `json:"maxLifetime"`
}

// EncodeKeys renders the keys as a versioned document, for a Secret. It is secret as a whole.
func EncodeKeys(keys *Keys) ([]byte, error) {
	document := keysDocument{Version: documentVersion, Revision: keys.Revision, Keys: make([]keyDocument, len(keys.list))}
	for i := range keys.list {
		key := &keys.list[i]
		document.Keys[i] = keyDocument{
			ID: key.ID.String(), Secret: base64url.EncodeToString(key.secret().root[:]),
			CreatedAt: key.CreatedAt.UTC(), UsableFrom: key.UsableFrom.UTC(), MaxLifetime: key.MaxLifetime.String(),
		}
	}
	for _, id := range keys.Dropped {
		document.Dropped = append(document.Dropped, id.String())
	}
	encoded, err := json.Marshal(document)
	if err != nil {
		return nil, fmt.Errorf("encoding %d keys for refresh tokens: %w", len(keys.list), err)
	}
	return encoded, nil
}

// DecodeKeys reads what EncodeKeys has written and checks everything that PlanKeys relies on. Every error is an
// ErrUnreadable, and quotes nothing of the document.
func DecodeKeys(encoded []byte) (*Keys, error) {
	if len(encoded) > maxDocumentBytes {
		return nil, unreadable("it is larger than %d bytes", maxDocumentBytes)
	}
	var version struct {
		Version int `json:"version"`
	}
	if json.Unmarshal(encoded, &version) != nil {
		return nil, unreadable("it is not a JSON object with a version: restore it from a backup")
	}
	if version.Version != documentVersion {
		return nil, unreadable("its version is %d and this program knows only version %d: run the version of Keyturn that wrote it",
			version.Version, documentVersion)
	}
	var document keysDocument
	decoder := json.NewDecoder(bytes.NewReader(encoded))
	decoder.DisallowUnknownFields()
	if decoder.Decode(&document) != nil {
		// The decoder's own error can quote what it read, and that can be key material.
		return nil, unreadable("a field is unknown or has the wrong type: restore it from a backup")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, unreadable("something follows the document: restore it from a backup")
	}
	return document.keys()
}

func (d *keysDocument) keys() (*Keys, error) {
	if d.Revision < 1 || len(d.Keys) < 1 || len(d.Keys) > MaxKeys {
		return nil, unreadable("its revision is %d and it has %d keys; there must be a positive revision and 1 to %d keys",
			d.Revision, len(d.Keys), MaxKeys)
	}
	keys := &Keys{Revision: d.Revision, list: make([]Key, 0, len(d.Keys))}
	for i := range d.Keys {
		key, err := d.Keys[i].key()
		if err != nil {
			return nil, err
		}
		if keys.find(key.ID) != nil {
			return nil, unreadable("the key %s is in it twice", key.ID)
		}
		if i > 0 && key.UsableFrom.Before(keys.list[i-1].UsableFrom) {
			return nil, unreadable("the key %s does not stand where its time belongs", key.ID)
		}
		keys.list = append(keys.list, key)
	}
	if len(d.Dropped) > maxDropped {
		return nil, unreadable("it remembers %d dropped keys, more than %d", len(d.Dropped), maxDropped)
	}
	for _, text := range d.Dropped {
		id, ok := ParseKeyID(text)
		if !ok {
			return nil, unreadable("what it remembers of a dropped key is not an id")
		}
		keys.Dropped = append(keys.Dropped, id)
	}
	return keys, nil
}

func (d *keyDocument) key() (Key, error) {
	root, err := base64url.DecodeString(d.Secret)
	if err != nil || len(root) != keySize || base64url.EncodeToString(root) != d.Secret {
		return Key{}, unreadable("the secret of a key is not %d bytes in base64url", keySize)
	}
	key := newKey([keySize]byte(root))
	if key.ID.String() != d.ID {
		return Key{}, unreadable("the id of a key does not follow from its secret")
	}
	lifetime, err := time.ParseDuration(d.MaxLifetime)
	if err != nil || lifetime <= 0 || lifetime > MaxAbsoluteLifetime {
		return Key{}, unreadable("the lifetime of the key %s is not a duration up to %s", key.ID, MaxAbsoluteLifetime)
	}
	if d.CreatedAt.IsZero() || d.UsableFrom.IsZero() {
		return Key{}, unreadable("a time of the key %s is missing", key.ID)
	}
	key.CreatedAt, key.UsableFrom, key.MaxLifetime = d.CreatedAt.UTC(), d.UsableFrom.UTC(), lifetime
	return key, nil
}

func unreadable(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUnreadable, fmt.Sprintf(format, args...))
}
