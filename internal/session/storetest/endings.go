package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/session"
)

func testEnd(t *testing.T, store session.Store) {
	want := create(t, store, NewSession(unique("alice")))
	want = swap(t, store, want, refreshed(want.State))
	want.State = want.Ended(Noon.Add(time.Minute), session.EndLogout)
	// The second end comes too late to change anything.
	for i, reason := range []session.EndReason{session.EndLogout, session.EndReuse} {
		ended, err := store.End(t.Context(), want.Issuer, want.ID, Noon.Add(time.Duration(i+1)*time.Minute), reason)
		if err != nil {
			t.Fatalf("End() number %d: %v", i+1, err)
		}
		expectSame(t, fmt.Sprintf("End() number %d returns", i+1), ended, want)
		expectSame(t, "Get() right after it returns", get(t, store, want), want)
	}
}

// testEndRace ends a session while it is refreshed as fast as can be. The end must neither be lost nor lose a refresh.
func testEndRace(t *testing.T, store session.Store) {
	created := create(t, store, NewSession(unique("alice")))
	var refreshing sync.WaitGroup
	started := make(chan struct{})
	refreshes := uint64(0)
	start := sync.OnceFunc(func() { close(started) })
	refreshing.Go(func() {
		defer start()
		for {
			read, err := store.Get(t.Context(), created.Issuer, created.ID)
			if err != nil {
				t.Errorf("Get() beside End(): %v", err)
				return
			}
			if !read.EndedAt.IsZero() {
				return
			}
			switch _, err = store.CompareAndSwap(t.Context(), read, refreshed(read.State)); {
			case err == nil:
				if refreshes++; refreshes == 3 {
					start()
				}
			case !errors.Is(err, session.ErrConflict):
				t.Errorf("CompareAndSwap() beside End(): %v", err)
				return
			}
		}
	})
	<-started
	_, err := store.End(t.Context(), created.Issuer, created.ID, Noon.Add(time.Minute), session.EndLogout)
	if err != nil {
		t.Fatalf("End() beside refreshes: %v", err)
	}
	refreshing.Wait()
	got := get(t, store, created)
	if got.EndReason != session.EndLogout || got.Generation != refreshes {
		t.Errorf("after %d refreshes and the end, the session has generation %d and ended for %q", refreshes, got.Generation, got.EndReason)
	}
}

func testEndSubject(t *testing.T, store session.Store) {
	subject := unique("alice")
	const count = 25
	var ids []string
	for range count {
		ids = append(ids, create(t, store, NewSession(subject)).ID.String())
	}
	ended, err := store.EndSubject(t.Context(), Issuer, subject, Noon.Add(time.Minute), session.EndLogoutEverywhere)
	if err != nil {
		t.Fatalf("EndSubject(): %v", err)
	}
	if got := idsOf(ended); !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(ids))) {
		t.Errorf("EndSubject() ended %d sessions, want the %d that were just created", len(got), count)
	}
	for _, s := range ended {
		got := get(t, store, s)
		expectSame(t, "Get() right after EndSubject() returns", got, s)
		if !got.EndedAt.Equal(Noon.Add(time.Minute)) || got.EndReason != session.EndLogoutEverywhere {
			t.Errorf("the session ended at %s for %q", got.EndedAt, got.EndReason)
		}
	}
}

func testEndSubjectOnce(t *testing.T, store session.Store) {
	subject := unique("alice")
	first := create(t, store, NewSession(subject))
	if _, err := store.End(t.Context(), Issuer, first.ID, Noon.Add(time.Second), session.EndReuse); err != nil {
		t.Fatal(err)
	}
	second := create(t, store, NewSession(subject))
	for i, want := range [][]string{{second.ID.String()}, nil} {
		ended, err := store.EndSubject(t.Context(), Issuer, subject, Noon.Add(time.Minute), session.EndLogoutEverywhere)
		if got := idsOf(ended); err != nil || !slices.Equal(got, want) {
			t.Errorf("EndSubject() number %d returns %v, %v; want %v", i+1, got, err, want)
		}
	}
	if got := get(t, store, first); got.EndReason != session.EndReuse || !got.EndedAt.Equal(Noon.Add(time.Second)) {
		t.Errorf("the session that was ended before ended at %s for %q now", got.EndedAt, got.EndReason)
	}
}

// testSubjectsApart ends the sessions of one subject beside others that could be taken for it.
func testSubjectsApart(t *testing.T, store session.Store) {
	subject := unique("alice")
	long := strings.Repeat("a", 255-len(subject)) + subject
	var beside []*session.Session
	for _, other := range []string{
		subject + "2", subject[:len(subject)-1], strings.ToUpper(subject), subject + " ", subject + "%", "%", "*",
		subject + "\u0301", "x" + subject, long + "b",
	} {
		beside = append(beside, create(t, store, NewSession(other)))
	}
	for _, issuer := range others[:1] { // The other namespace may not exist.
		foreign := NewSession(subject)
		foreign.Issuer = issuer
		beside = append(beside, create(t, store, foreign))
	}
	for _, named := range []string{subject, long} {
		own := create(t, store, NewSession(named))
		ended, err := store.EndSubject(t.Context(), Issuer, named, Noon.Add(time.Minute), session.EndLogoutEverywhere)
		if err != nil || len(ended) != 1 || ended[0].ID != own.ID {
			t.Errorf("EndSubject(%q) ended %v, %v; want only %s", named, idsOf(ended), err, own.ID)
		}
	}
	for _, other := range beside {
		if got := get(t, store, other); !got.EndedAt.IsZero() {
			t.Errorf("the session of %q at %v was ended with those of %q", got.Subject, got.Issuer, subject)
		}
	}
}

func testListSubject(t *testing.T, store session.Store) {
	subject := unique("alice")
	var want []string
	for i := range 5 {
		s := NewSession(subject)
		s.CreatedAt = Noon.Add(-time.Duration(i) * time.Second) // so that the order of creation is not that of the list
		want = append(want, create(t, store, s).ID.String())
	}
	slices.Reverse(want)
	create(t, store, NewSession(subject+"2"))
	for _, limit := range []int{100, 5, 4, 1} {
		expected := want[:min(limit, len(want))]
		eventually(t, func(ctx context.Context) string {
			listed, err := store.ListSubject(ctx, Issuer, subject, Noon, limit)
			if got := idsOf(listed); err != nil || !slices.Equal(got, expected) {
				return fmt.Sprintf("ListSubject() with the limit %d returns %v, %v; want the oldest %v", limit, got, err, expected)
			}
			return ""
		})
	}
	listed, err := store.ListSubject(t.Context(), Issuer, unique("nobody"), Noon, 10)
	if err != nil || len(listed) != 0 {
		t.Errorf("ListSubject() of nobody returns %d sessions, %v", len(listed), err)
	}
}

func testListLive(t *testing.T, store session.Store) {
	subject := unique("alice")
	now := Noon.Add(time.Hour)
	add := func(change func(*session.Session)) string {
		s := NewSession(subject)
		change(s)
		return create(t, store, s).ID.String()
	}
	add(func(s *session.Session) { s.IdleUntil = now })
	add(func(s *session.Session) { s.State = s.Ended(Noon, session.EndLogout) })
	live := add(func(s *session.Session) { s.IdleUntil = now.Add(time.Microsecond); s.CreatedAt = Noon.Add(time.Second) })
	eventually(t, func(ctx context.Context) string {
		// What is not live must not use up the limit.
		listed, err := store.ListSubject(ctx, Issuer, subject, now, 1)
		if got := idsOf(listed); err != nil || !slices.Equal(got, []string{live}) {
			return fmt.Sprintf("ListSubject() returns %v, %v; want the one that is live, %s", got, err, live)
		}
		return ""
	})
}

func testDeleteExpired(t *testing.T, store session.Store) {
	const day = 24 * time.Hour
	before := Noon
	made := func(change func(*session.Session)) *session.Session {
		s := NewSession(unique("alice"))
		s.CreatedAt, s.RotatedAt = Noon.Add(-100*day), Noon.Add(-100*day)
		change(s)
		s.ID = session.NewID(s.ExpiresAt)
		return create(t, store, s)
	}
	expires := func(at time.Time) func(*session.Session) {
		return func(s *session.Session) { s.ExpiresAt, s.IdleUntil = at, at }
	}
	kept := map[string]*session.Session{
		"a live one":               made(func(*session.Session) {}),
		"one that expires then":    made(expires(before)),
		"one that is idle then":    made(func(s *session.Session) { s.IdleUntil = before }),
		"one that was ended then":  made(func(s *session.Session) { s.State = s.Ended(before, session.EndReuse) }),
		"one that was ended after": made(func(s *session.Session) { s.State = s.Ended(before.Add(time.Second), session.EndReuse) }),
	}
	gone := map[string]*session.Session{
		"one that expired the day before": made(expires(before.Add(-day))),
		"one that expired long ago":       made(expires(before.Add(-90 * day))),
		"an ended one that expired": made(func(s *session.Session) {
			expires(before.Add(-2 * day))(s)
			s.State = s.Ended(before.Add(-10*day), session.EndLogout)
		}),
	}
	for range 2 {
		if _, err := store.DeleteExpired(t.Context(), before); err != nil {
			t.Fatalf("DeleteExpired(): %v", err)
		}
	}
	for name, s := range kept {
		expectSame(t, name+" is kept", get(t, store, s), s)
	}
	for name, s := range gone {
		eventually(t, func(ctx context.Context) string {
			if _, err := store.DeleteExpired(ctx, before); err != nil {
				return fmt.Sprintf("DeleteExpired(): %v", err)
			}
			if _, err := store.Get(ctx, s.Issuer, s.ID); !errors.Is(err, session.ErrNotFound) {
				return fmt.Sprintf("%s is still there (%v)", name, err)
			}
			return ""
		})
		_, err := store.CompareAndSwap(t.Context(), s, refreshed(s.State))
		expectError(t, "CompareAndSwap() of "+name, err, session.ErrNotFound)
	}
}

func idsOf(sessions []*session.Session) []string {
	var ids []string
	for _, s := range sessions {
		ids = append(ids, s.ID.String())
	}
	return ids
}
