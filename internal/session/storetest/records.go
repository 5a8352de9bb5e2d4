package storetest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/session"
)

func testCreateAndGet(t *testing.T, store session.Store) {
	for name, change := range map[string]func(*session.Session){
		"plain":                 func(*session.Session) {},
		"nothing but the least": func(s *session.Session) { s.Scopes, s.Claims = nil, "" },
		"claims whose text must not change": func(s *session.Session) {
			s.Claims = "{ \"b\": 1.0,\"a\":1e2 , \"a\": \"\\u00fc<>&\u2028\" }"
		},
		"a subject of many scripts": func(s *session.Session) { s.Subject = "auth0|Zoë O'Hara; 日本 \"x\" \\ /../%2e" },
		"the longest texts": func(s *session.Session) {
			s.Subject, s.ClientID = strings.Repeat("s", 256), strings.Repeat("c", 256)
			s.Claims = `{"a":"` + strings.Repeat("v", 8<<10-8) + `"}`
		},
		"states to the microsecond": func(s *session.Session) {
			s.RotatedAt, s.IdleUntil = Noon.Add(time.Microsecond), Noon.Add(time.Hour-time.Microsecond)
		},
		"a large generation": func(s *session.Session) { s.Generation = session.MaxGeneration + 1 },
		"ended already":      func(s *session.Session) { s.State = s.Ended(Noon.Add(time.Minute), session.EndReuse) },
	} {
		t.Run(name, func(t *testing.T) {
			want := NewSession(unique("alice"))
			change(want)
			created := create(t, store, want)
			expectSame(t, "Create() returns", created, want)
			got := get(t, store, want)
			expectSame(t, "Get() returns", got, want)
			if got.Version == "" || got.Version != created.Version {
				t.Errorf("Get() returns the version %q, Create() %q; they must be the same, and not empty", got.Version, created.Version)
			}
		})
	}
}

func testCreateTwice(t *testing.T, store session.Store) {
	first := create(t, store, NewSession(unique("alice")))
	second := NewSession(unique("mallory"))
	second.ID = first.ID
	_, err := store.Create(t.Context(), second)
	expectError(t, "a second session with one id", err, session.ErrConflict)
	expectSame(t, "the first session", get(t, store, first), first)
}

func testNotFound(t *testing.T, store session.Store) {
	created := create(t, store, NewSession(unique("alice")))
	missing := NewSession(unique("alice"))
	wanted := map[string]*session.Session{"another id": missing}
	for _, other := range others {
		foreign := created.Clone()
		foreign.Issuer = other
		wanted["the issuer "+other.Namespace+"/"+other.Name] = foreign
	}
	for name, s := range wanted {
		_, err := store.Get(t.Context(), s.Issuer, s.ID)
		expectError(t, "Get() of "+name, err, session.ErrNotFound)
		_, err = store.CompareAndSwap(t.Context(), s, refreshed(s.State))
		expectError(t, "CompareAndSwap() of "+name, err, session.ErrNotFound)
		_, err = store.End(t.Context(), s.Issuer, s.ID, Noon, session.EndLogout)
		expectError(t, "End() of "+name, err, session.ErrNotFound)
	}
	expectSame(t, "the session that is there", get(t, store, created), created)
}

func testSwap(t *testing.T, store session.Store) {
	created := create(t, store, NewSession(unique("alice")))
	want := created.Clone()
	last := session.State{
		Generation: session.MaxGeneration + 1, RotatedAt: Noon.Add(time.Microsecond), IdleUntil: Noon.Add(2 * time.Microsecond),
	}
	for _, next := range []session.State{
		refreshed(created.State),
		refreshed(refreshed(created.State)),
		last,
		last.Ended(Noon.Add(time.Second), session.EndRollback),
	} {
		before := want.Version
		want.State = next
		swapped := swap(t, store, want, next)
		expectSame(t, "CompareAndSwap() returns", swapped, want)
		if swapped.Version == before {
			t.Error("CompareAndSwap() does not change the version")
		}
		got := get(t, store, want)
		expectSame(t, "Get() right after it returns", got, want)
		if got.Version != swapped.Version {
			t.Errorf("Get() returns the version %q, CompareAndSwap() %q", got.Version, swapped.Version)
		}
		want.Version = swapped.Version
	}
}

func testSwapConflict(t *testing.T, store session.Store) {
	for name, write := range map[string]func(t *testing.T, s *session.Session) *session.Session{
		"a refresh": func(t *testing.T, s *session.Session) *session.Session {
			return swap(t, store, s, refreshed(s.State))
		},
		"a change and back": func(t *testing.T, s *session.Session) *session.Session {
			next := s.State
			next.IdleUntil = next.IdleUntil.Add(-time.Hour)
			return swap(t, store, swap(t, store, s, next), s.State)
		},
		"the end": func(t *testing.T, s *session.Session) *session.Session {
			ended, err := store.End(t.Context(), s.Issuer, s.ID, Noon, session.EndLogout)
			if err != nil {
				t.Fatal(err)
			}
			return ended
		},
		"the end of all": func(t *testing.T, s *session.Session) *session.Session {
			if _, err := store.EndSubject(t.Context(), s.Issuer, s.Subject, Noon, session.EndLogout); err != nil {
				t.Fatal(err)
			}
			return get(t, store, s)
		},
	} {
		t.Run(name, func(t *testing.T) {
			created := create(t, store, NewSession(unique("alice")))
			written := write(t, created)
			_, err := store.CompareAndSwap(t.Context(), created, refreshed(refreshed(created.State)))
			expectError(t, "CompareAndSwap() of what was read before", err, session.ErrConflict)
			expectSame(t, "the session after it", get(t, store, created), written)
		})
	}
}

func testSwapLeavesFacts(t *testing.T, store session.Store) {
	created := create(t, store, NewSession(unique("alice")))
	changed := created.Clone()
	changed.Subject, changed.ClientID, changed.Claims, changed.Scopes = "root", "other", `{"admin":true}`, []string{"admin"}
	changed.ExpiresAt = changed.ExpiresAt.Add(time.Hour)
	swap(t, store, changed, refreshed(created.State))
	created.State = refreshed(created.State)
	expectSame(t, "the session", get(t, store, created), created)
}

func testSwapRace(t *testing.T, store session.Store) {
	created := create(t, store, NewSession(unique("alice")))
	const writers = 20
	errs := make([]error, writers)
	var writing sync.WaitGroup
	for i := range uint64(writers) {
		writing.Go(func() {
			next := refreshed(created.State)
			next.Generation = i + 1
			_, errs[i] = store.CompareAndSwap(t.Context(), created, next)
		})
	}
	writing.Wait()
	winners := 0
	got := get(t, store, created)
	for i := range uint64(writers) {
		switch err := errs[i]; {
		case err == nil:
			winners++
			if got.Generation != i+1 {
				t.Errorf("writer %d was told that it won, and the generation is %d", i, got.Generation)
			}
		case !errors.Is(err, session.ErrConflict):
			t.Errorf("writer %d: %v, want %q", i, err, session.ErrConflict)
		}
	}
	if winners != 1 {
		t.Errorf("%d of %d writers were told that they won, want 1", winners, writers)
	}
}

func testSwapLosesNothing(t *testing.T, store session.Store) {
	created := create(t, store, NewSession(unique("alice")))
	const writers, refreshes = 4, 10
	var writing sync.WaitGroup
	for range writers {
		writing.Go(func() {
			for range refreshes {
				if err := refreshUntilWritten(t.Context(), store, created); err != nil {
					t.Errorf("refreshing beside others: %v", err)
					return
				}
			}
		})
	}
	writing.Wait()
	if got := get(t, store, created).Generation; got != writers*refreshes {
		t.Errorf("after %d refreshes the generation is %d", writers*refreshes, got)
	}
}

func refreshUntilWritten(ctx context.Context, store session.Store, s *session.Session) error {
	for {
		read, err := store.Get(ctx, s.Issuer, s.ID)
		if err != nil {
			return err
		}
		if _, err = store.CompareAndSwap(ctx, read, refreshed(read.State)); !errors.Is(err, session.ErrConflict) {
			return err
		}
	}
}

func testNothingShared(t *testing.T, store session.Store) {
	subject := unique("alice")
	given := NewSession(subject)
	want := given.Clone()
	created := create(t, store, given)
	got := get(t, store, given)
	want.State = refreshed(want.State)
	swapped := swap(t, store, got, want.State)
	spoil(given, created, got, swapped)
	expectSame(t, "the session after the caller changed its copies", get(t, store, want), want)

	want.State = want.Ended(Noon.Add(time.Minute), session.EndLogout)
	ended, err := store.End(t.Context(), want.Issuer, want.ID, Noon.Add(time.Minute), session.EndLogout)
	if err != nil {
		t.Fatal(err)
	}
	spoil(ended)
	expectSame(t, "the session after the caller changed what End() returned", get(t, store, want), want)

	other := create(t, store, NewSession(subject)).Clone()
	other.State = other.Ended(Noon.Add(time.Minute), session.EndLogout)
	all, err := store.EndSubject(t.Context(), want.Issuer, subject, Noon.Add(time.Minute), session.EndLogout)
	if err != nil {
		t.Fatal(err)
	}
	spoil(all...)
	expectSame(t, "the session after the caller changed what EndSubject() returned", get(t, store, other), other)
}

// spoil changes copies of sessions in every way that could reach what a store holds.
func spoil(copies ...*session.Session) {
	for _, s := range copies {
		s.Subject, s.Scopes[0], s.Audiences[0], s.Generation = "root", "admin", "vault", 9
	}
}

func testCanceled(t *testing.T, store session.Store) {
	created := create(t, store, NewSession(unique("alice")))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	added := NewSession(unique("bob"))
	for name, call := range map[string]func() error{
		"Create": func() error { _, err := store.Create(ctx, added); return err },
		"Get":    func() error { _, err := store.Get(ctx, created.Issuer, created.ID); return err },
		"CompareAndSwap": func() error {
			_, err := store.CompareAndSwap(ctx, created, refreshed(created.State))
			return err
		},
		"End": func() error {
			_, err := store.End(ctx, created.Issuer, created.ID, Noon, session.EndLogout)
			return err
		},
		"EndSubject": func() error {
			_, err := store.EndSubject(ctx, created.Issuer, created.Subject, Noon, session.EndLogout)
			return err
		},
		"ListSubject": func() error {
			_, err := store.ListSubject(ctx, created.Issuer, created.Subject, Noon, 1)
			return err
		},
		"DeleteExpired": func() error { _, err := store.DeleteExpired(ctx, Noon); return err },
	} {
		expectError(t, name+"() with a canceled context", call(), session.ErrUnavailable)
	}
	expectSame(t, "the session after them", get(t, store, created), created)
	_, err := store.Get(t.Context(), added.Issuer, added.ID)
	expectError(t, "Get() of what was not created", err, session.ErrNotFound)
}
