// Package memory keeps sessions in the memory of one process. It is for tests: every session is gone when the process
// ends, and no other replica sees any of them, so it cannot be selected in production.
package memory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/keyturn/keyturn/internal/session"
)

// Store is a session.Store. The zero value is not usable; use New.
type Store struct {
	mu      sync.Mutex
	records map[key]*session.Session
	writes  uint64
}

type key struct {
	issuer session.IssuerReference
	id     session.ID
}

var _ session.Store = (*Store)(nil)

// New returns a store without sessions.
func New() *Store { return &Store{records: map[key]*session.Session{}} }

// Len returns the number of records.
func (s *Store) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.records)
}

// Snapshot returns a function that sets the store back to what it holds now, as the failover to a replica that lags does.
func (s *Store) Snapshot() (restore func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := make(map[key]*session.Session, len(s.records))
	for k, record := range s.records {
		kept[k] = record.Clone()
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		clear(s.records)
		for k, record := range kept {
			restored := record.Clone()
			s.stamp(restored) // Versions are never used again, or a writer from before could win.
			s.records[k] = restored
		}
	}
}

// Create implements session.Store.
func (s *Store) Create(ctx context.Context, created *session.Session) (*session.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := available(ctx); err != nil {
		return nil, err
	}
	k := key{created.Issuer, created.ID}
	if s.records[k] != nil {
		return nil, fmt.Errorf("creating session %s: %w", created.ID, session.ErrConflict)
	}
	record := created.Clone()
	s.stamp(record)
	s.records[k] = record
	return record.Clone(), nil
}

// Get implements session.Store.
func (s *Store) Get(ctx context.Context, issuer session.IssuerReference, id session.ID) (*session.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	record, err := s.find(ctx, issuer, id)
	if err != nil {
		return nil, err
	}
	return record.Clone(), nil
}

// CompareAndSwap implements session.Store.
func (s *Store) CompareAndSwap(ctx context.Context, read *session.Session, next session.State) (*session.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	record, err := s.find(ctx, read.Issuer, read.ID)
	if err != nil {
		return nil, err
	}
	if record.Version != read.Version {
		return nil, fmt.Errorf("writing session %s: %w", read.ID, session.ErrConflict)
	}
	record.State = next
	s.stamp(record)
	return record.Clone(), nil
}

// End implements session.Store.
func (s *Store) End(ctx context.Context, issuer session.IssuerReference, id session.ID, at time.Time, reason session.EndReason) (*session.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	record, err := s.find(ctx, issuer, id)
	if err != nil {
		return nil, err
	}
	s.end(record, at, reason)
	return record.Clone(), nil
}

// EndSubject implements session.Store.
func (s *Store) EndSubject(ctx context.Context, issuer session.IssuerReference, subject string, at time.Time, reason session.EndReason) ([]*session.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := available(ctx); err != nil {
		return nil, err
	}
	var ended []*session.Session
	for _, record := range s.ofSubject(issuer, subject) {
		if s.end(record, at, reason) {
			ended = append(ended, record.Clone())
		}
	}
	return ended, nil
}

// ListSubject implements session.Store.
func (s *Store) ListSubject(ctx context.Context, issuer session.IssuerReference, subject string, now time.Time, limit int) ([]*session.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := available(ctx); err != nil {
		return nil, err
	}
	var live []*session.Session
	for _, record := range s.ofSubject(issuer, subject) {
		if record.Live(now) && len(live) < limit {
			live = append(live, record.Clone())
		}
	}
	return live, nil
}

// DeleteExpired implements session.Store.
func (s *Store) DeleteExpired(ctx context.Context, before time.Time) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := available(ctx); err != nil {
		return 0, err
	}
	deleted := 0
	for k, record := range s.records {
		if record.DeadSince().Before(before) {
			delete(s.records, k)
			deleted++
		}
	}
	return deleted, nil
}

func available(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", session.ErrUnavailable, err)
	}
	return nil
}

// find returns the record itself. The caller holds mu.
func (s *Store) find(ctx context.Context, issuer session.IssuerReference, id session.ID) (*session.Session, error) {
	if err := available(ctx); err != nil {
		return nil, err
	}
	record := s.records[key{issuer, id}]
	if record == nil {
		return nil, fmt.Errorf("looking for session %s of %s/%s: %w", id, issuer.Namespace, issuer.Name, session.ErrNotFound)
	}
	return record, nil
}

// end reports whether the record was not ended before. The caller holds mu.
func (s *Store) end(record *session.Session, at time.Time, reason session.EndReason) bool {
	if !record.EndedAt.IsZero() {
		return false
	}
	record.State = record.Ended(at, reason)
	s.stamp(record)
	return true
}

// ofSubject returns the records themselves, the oldest first. The caller holds mu.
func (s *Store) ofSubject(issuer session.IssuerReference, subject string) []*session.Session {
	var found []*session.Session
	for k, record := range s.records {
		if k.issuer == issuer && record.Subject == subject {
			found = append(found, record)
		}
	}
	slices.SortFunc(found, func(a, b *session.Session) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), slices.Compare(a.ID[:], b.ID[:]))
	})
	return found
}

// stamp gives the record a version that no record ever had. The caller holds mu.
func (s *Store) stamp(record *session.Session) {
	s.writes++
	record.Version = strconv.FormatUint(s.writes, 10)
}
