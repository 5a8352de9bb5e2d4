package session

import (
	"context"
	"errors"
	"time"
)

// Errors of a Store, to be found with errors.Is.
var (
	// ErrNotFound says that there is no such session. It may have been ended and deleted since.
	ErrNotFound = errors.New("there is no such session")
	// ErrConflict says that the record was written by somebody else, or that the id is taken. Nothing was written.
	ErrConflict = errors.New("the session was changed by somebody else")
	// ErrUnavailable says that the store did not answer in time or not at all. A write may have happened, or may happen yet.
	ErrUnavailable = errors.New("the store of sessions is not available")
)

// Store keeps the records of sessions. It is safe for concurrent use, by any number of replicas at once. Every error is
// one of the three above, wrapped; a canceled or expired context is an ErrUnavailable. What a Store returns is the
// caller's own, and what it is given it does not keep.
//
// What it must be able to do is little, so that a Kubernetes API server can (a resourceVersion per object, lists that may
// lag behind when they come from a watch) as well as a database that is sharded by key (statements about one row on the
// hot path, expiry by dropping what one day holds). Package storetest asks any Store for all that is said here.
type Store interface {
	// Create adds a session and returns it with its Version. ErrConflict if the issuer has one with this id.
	Create(ctx context.Context, session *Session) (*Session, error)

	// Get returns the session of the issuer with this id. It sees every write that any replica was told of before: a
	// stale answer could refresh a session that was ended. ErrNotFound if the issuer has none.
	Get(ctx context.Context, issuer IssuerReference, id ID) (*Session, error)

	// CompareAndSwap replaces the State of a session if it has not been written since the session was read, which its
	// Version tells, and returns it with the new one. The facts are neither written nor compared. It is the only write of a
	// refresh, and about one record. ErrConflict if it has been written since, ErrNotFound if it is gone. Callers neither
	// lower the generation nor take back an end, and a store may refuse both.
	CompareAndSwap(ctx context.Context, session *Session, next State) (*Session, error)

	// End ends one session and returns it. One that is ended already keeps its time and reason, and is returned as it is.
	// No other part of the state changes, whatever is written at the same moment. ErrNotFound if there is none.
	End(ctx context.Context, issuer IssuerReference, id ID, at time.Time, reason EndReason) (*Session, error)

	// EndSubject ends every session of a subject that is not ended yet, and returns those that it ended. It misses none
	// whose Create has returned before. With an error the sessions that were ended by then are returned beside it; calling
	// again ends the rest.
	EndSubject(ctx context.Context, issuer IssuerReference, subject string, at time.Time, reason EndReason) ([]*Session, error)

	// ListSubject returns the sessions of a subject that are live at the moment, at most limit of them, the oldest first
	// (by CreatedAt, then by ID). It may lag behind writes by seconds.
	ListSubject(ctx context.Context, issuer IssuerReference, subject string, now time.Time, limit int) ([]*Session, error)

	// DeleteExpired deletes records of all issuers that nobody needs. It deletes none that was live at the moment before or
	// later (see Session.DeadSince), and all whose whole ExpiryDay was over by then; what lies between is the store's
	// choice. It returns how many it deleted, or -1 if it cannot tell. With an error, calling again deletes the rest.
	DeleteExpired(ctx context.Context, before time.Time) (int, error)
}
