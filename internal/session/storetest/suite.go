// Package storetest asks a session.Store for everything that its contract says.
package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/keyturn/keyturn/internal/session"
)

// Noon is the login of every session that the suite makes.
var Noon = time.Date(2030, 1, 15, 12, 0, 0, 0, time.UTC)

// Issuer is the issuer of every session that the suite makes, unless it says otherwise. A store that needs the namespace
// to exist makes it before Run.
var Issuer = session.IssuerReference{Namespace: "default", Name: "shop"}

// others are two issuers that could be taken for Issuer.
var others = []session.IssuerReference{
	{Namespace: Issuer.Namespace, Name: "shop-2"},
	{Namespace: "default-2", Name: Issuer.Name},
}

// lag bounds how long a list may lag behind. A store whose lists do not lag never waits.
const lag = 30 * time.Second

// Run asks the stores that newStore makes for all that session.Store says. Each test has a store of its own, but it may
// share what is behind it with the others, because no test
// looks at the sessions of another.
func Run(t *testing.T, newStore func(t *testing.T) session.Store) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, store session.Store)
	}{
		{"Create and Get", testCreateAndGet},
		{"Create twice", testCreateTwice},
		{"Get of what is not there", testNotFound},
		{"CompareAndSwap", testSwap},
		{"CompareAndSwap of what was changed", testSwapConflict},
		{"CompareAndSwap leaves the facts", testSwapLeavesFacts},
		{"CompareAndSwap by many at once", testSwapRace},
		{"CompareAndSwap loses no write", testSwapLosesNothing},
		{"End", testEnd},
		{"End beside refreshes", testEndRace},
		{"EndSubject", testEndSubject},
		{"EndSubject ends each session once", testEndSubjectOnce},
		{"subjects are not mixed up", testSubjectsApart},
		{"ListSubject", testListSubject},
		{"ListSubject shows only live sessions", testListLive},
		{"DeleteExpired", testDeleteExpired},
		{"what is given and returned is not shared", testNothingShared},
		{"a canceled context", testCanceled},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, newStore(t)) })
	}
}

// NewSession returns a session of Issuer that nobody has stored yet. It is refreshed until Noon + 3 days, and expires two
// weeks after Noon.
func NewSession(subject string) *session.Session {
	expiresAt := Noon.Add(14 * 24 * time.Hour)
	return &session.Session{
		Facts: session.Facts{
			ID: session.NewID(expiresAt), Issuer: Issuer, IssuerURL: "https://tokens.shop.example/eu",
			Subject: subject, ClientID: "web", Scopes: []string{"orders:read", "orders:write"},
			Audiences: []string{"mail-api", "shop-api"}, Claims: `{"groups":["staff"]}`, Source: session.SourceWorkload,
			Salt: session.NewSalt(), CreatedAt: Noon, ExpiresAt: expiresAt,
		},
		State: session.State{RotatedAt: Noon, IdleUntil: Noon.Add(3 * 24 * time.Hour)},
	}
}

// unique returns a subject that no other test and no earlier run has used.
func unique(name string) string { return name + "-" + session.NewID(Noon).String() }

// refreshed is the state after one more refresh.
func refreshed(s session.State) session.State {
	s.Generation++
	s.RotatedAt = s.RotatedAt.Add(1234567 * time.Microsecond)
	s.IdleUntil = s.IdleUntil.Add(1234567 * time.Microsecond)
	return s
}

func create(t *testing.T, store session.Store, s *session.Session) *session.Session {
	t.Helper()
	created, err := store.Create(t.Context(), s)
	if err != nil {
		t.Fatalf("Create(): %v", err)
	}
	return created
}

func get(t *testing.T, store session.Store, s *session.Session) *session.Session {
	t.Helper()
	got, err := store.Get(t.Context(), s.Issuer, s.ID)
	if err != nil {
		t.Fatalf("Get(): %v", err)
	}
	return got
}

func swap(t *testing.T, store session.Store, s *session.Session, next session.State) *session.Session {
	t.Helper()
	swapped, err := store.CompareAndSwap(t.Context(), s, next)
	if err != nil {
		t.Fatalf("CompareAndSwap(): %v", err)
	}
	return swapped
}

// eventually calls a function until it finds no fault, because lists may lag behind.
func eventually(t *testing.T, fault func(ctx context.Context) string) {
	t.Helper()
	var last string
	if err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, lag, true, func(ctx context.Context) (bool, error) {
		last = fault(ctx)
		return last == "", nil
	}); err != nil {
		t.Errorf("%s; and that did not change for %s", last, lag)
	}
}

// expectSame compares everything but the version.
func expectSame(t *testing.T, what string, got, want *session.Session) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(session.Session{}, "Version")); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func expectError(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: the error is %v, want one that is %q", what, got, want)
	}
}
