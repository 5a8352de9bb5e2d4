package session

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"time"
)

const day = 24 * time.Hour

// ID names a session: 14 random bytes, and then the UTC day on which it expires at the latest, counted from 1970-01-01,
// in two bytes (big endian, good until the year 2149). The day lets a store that keeps sessions by day look in one place
// only. It comes last so that the ids of one day do not crowd together in a store that is sharded by key.
type ID [16]byte

// ErrBadID says that a text is not the id of a session.
var ErrBadID = errors.New("a session id is 32 lower-case hexadecimal digits")

// NewID makes the id of a session that expires at this time.
func NewID(expiresAt time.Time) ID {
	var id ID
	_, _ = rand.Read(id[:14])                                                            // It never fails: it ends the program instead.
	binary.BigEndian.PutUint16(id[14:], uint16(expiresAt.Unix()/int64(day/time.Second))) //nolint:gosec // It fits until 2149.
	return id
}

// ParseID reads what String has written, and nothing else.
func ParseID(text string) (ID, error) {
	var id ID
	if len(text) != hex.EncodedLen(len(id)) {
		return ID{}, ErrBadID
	}
	if _, err := hex.Decode(id[:], []byte(text)); err != nil || id.String() != text {
		return ID{}, ErrBadID
	}
	return id, nil
}

// String returns 32 lower-case hexadecimal digits: fit for the claim "sid" and for the name of a Kubernetes object.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// ExpiryDay returns the beginning of the UTC day on which the session expires at the latest.
func (id ID) ExpiryDay() time.Time {
	return time.Unix(int64(binary.BigEndian.Uint16(id[14:]))*int64(day/time.Second), 0).UTC()
}

// Salt is 16 random bytes.
type Salt [16]byte

// NewSalt makes a salt.
func NewSalt() Salt {
	var salt Salt
	_, _ = rand.Read(salt[:])
	return salt
}
