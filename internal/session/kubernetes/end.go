package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/keyturn/keyturn/internal/session"
)

// End implements session.Store. It is one request, and a second one for a session that was ended before. It reads
// nothing and compares no version: it writes the end and nothing else, which no refresh can get in the way of, and the
// API server refuses to change an end that is there. A session that is being deleted is not found, because its deletion
// has ended it.
func (s *Store) End(ctx context.Context, issuer session.IssuerReference, id session.ID, at time.Time, reason session.EndReason) (*session.Session, error) {
	ended, _, err := s.end(ctx, issuer, id, at, reason)
	return ended, err
}

// end reports also whether it was this call that ended the session.
func (s *Store) end(ctx context.Context, issuer session.IssuerReference, id session.ID, at time.Time, reason session.EndReason) (*session.Session, bool, error) {
	patched, err := s.patch(ctx, issuer, id, "", endOf(session.State{}.Ended(at, reason)))
	switch {
	case apierrors.IsInvalid(err):
		stored, missing := s.Get(ctx, issuer, id)
		if missing != nil {
			return nil, false, missing
		}
		if stored.EndedAt.IsZero() {
			return nil, false, unavailable("ending", id, err)
		}
		return stored, false, nil
	case err != nil:
		return nil, false, failed("ending", id, err)
	}
	ended, err := s.result("ending", issuer, id, patched)
	return ended, err == nil, err
}

// EndSubject implements session.Store. It is one request for each 500 sessions of the subject, ended ones among them,
// and one for each that is live. Sessions are found by their label: one that somebody took it from is not.
func (s *Store) EndSubject(ctx context.Context, issuer session.IssuerReference, subject string, at time.Time, reason session.EndReason) ([]*session.Session, error) {
	found, err := s.ofSubject(ctx, issuer, subject, consistent)
	if err != nil {
		return nil, err
	}
	var ended []*session.Session
	for _, candidate := range found {
		if !candidate.EndedAt.IsZero() {
			continue
		}
		done, now, err := s.end(ctx, issuer, candidate.ID, at, reason)
		switch {
		case errors.Is(err, session.ErrNotFound): // Deleted since it was listed.
		case err != nil:
			return ended, fmt.Errorf("ending the sessions of a subject: %w", err)
		case now:
			ended = append(ended, done)
		}
	}
	return ended, nil
}
