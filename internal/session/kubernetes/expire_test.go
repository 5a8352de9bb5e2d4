package kubernetes_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/internal/session"
	"github.com/keyturn/keyturn/internal/session/kubernetes"
	"github.com/keyturn/keyturn/internal/session/storetest"
)

// createMany creates sessions at once, because the API server takes its time for each.
func createMany(t testing.TB, store session.Store, sessions ...*session.Session) {
	t.Helper()
	var creating sync.WaitGroup
	var next atomic.Int64
	for range 8 {
		creating.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(sessions)); i = next.Add(1) - 1 {
				if _, err := store.Create(t.Context(), sessions[i]); err != nil {
					t.Errorf("creating session number %d: %v", i, err)
					return
				}
			}
		})
	}
	creating.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// deleteUntil calls DeleteExpired until it has deleted so many in all.
func deleteUntil(t *testing.T, store session.Store, before time.Time, want int) {
	t.Helper()
	deleted := 0
	err := wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		n, err := store.DeleteExpired(ctx, before)
		deleted += n
		return deleted >= want, err
	})
	if err != nil || deleted != want {
		t.Fatalf("DeleteExpired() deleted %d, want %d (%v)", deleted, want, err)
	}
}

func TestDeleteExpired(t *testing.T) {
	c, requests := newClient(t)
	namespace, elsewhere := newNamespace(t, c), newNamespace(t, c)
	store := kubernetes.New(c, kubernetes.InNamespaces(namespace))
	before := storetest.Noon.Add(time.Hour)
	dead := func(namespace string) *session.Session {
		s := newSession(namespace, "alice")
		s.State = s.Ended(before.Add(-time.Microsecond), session.EndLogout)
		return mustCreate(t, kubernetes.New(c), s)
	}
	idle := newSession(namespace, "alice")
	idle.IdleUntil = before.Add(-time.Microsecond)
	gone := []*session.Session{dead(namespace), mustCreate(t, store, idle), dead(namespace)}
	live, foreign := mustCreate(t, store, newSession(namespace, "alice")), dead(elsewhere)
	// One is being deleted, and nobody has taken its finalizer.
	if err := c.Delete(t.Context(), object(t, c, gone[2])); err != nil {
		t.Fatal(err)
	}
	deleteUntil(t, store, before, len(gone))
	for i, s := range gone {
		err := c.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: s.ID.String()}, kubernetes.NewObject())
		if client.IgnoreNotFound(err) != nil || err == nil {
			t.Errorf("session number %d is still there (%v)", i, err)
		}
	}
	object(t, c, live)
	object(t, c, foreign) // The operator may not even list its namespace.

	requests.take()
	dead(namespace)
	requests.take()
	deleteUntil(t, store, before, 1)
	if got := requests.take(); !strings.HasSuffix(got, "GET PATCH DELETE") {
		t.Errorf("deleting one sends %q, want one list and two requests", got)
	}
}

// A session that is written between the list and the deletion stays, whenever exactly that happens.
func TestDeleteExpiredLosesAgainstAWrite(t *testing.T) {
	for _, moment := range []string{http.MethodPatch, http.MethodDelete} {
		t.Run(moment, func(t *testing.T) {
			c, _ := newClient(t)
			namespace := newNamespace(t, c)
			plain := kubernetes.New(c)
			s := newSession(namespace, "alice")
			s.IdleUntil = storetest.Noon.Add(time.Minute)
			mustCreate(t, plain, s)

			racing, requests := newClient(t)
			var wrote error
			written := false
			requests.fate = func(request *http.Request) (*http.Response, error) {
				if request.Method == moment && !written {
					written = true
					var stored *session.Session
					if stored, wrote = plain.Get(t.Context(), s.Issuer, s.ID); wrote == nil {
						next := stored.State
						next.Generation, next.IdleUntil = 1, storetest.Noon.Add(48*time.Hour)
						_, wrote = plain.CompareAndSwap(t.Context(), stored, next)
					}
				}
				return nil, nil
			}
			store := kubernetes.New(racing, kubernetes.InNamespaces(namespace))
			for !written {
				if deleted, err := store.DeleteExpired(t.Context(), storetest.Noon.Add(time.Hour)); err != nil || deleted != 0 {
					t.Fatalf("DeleteExpired() deleted %d, %v; want none", deleted, err)
				}
			}
			got, err := plain.Get(t.Context(), s.Issuer, s.ID)
			if wrote != nil || err != nil || got.Generation != 1 {
				t.Errorf("the session that was refreshed meanwhile: %+v, %v; the refresh: %v", got, err, wrote)
			}
		})
	}
}

// Something is in the way of one: the others are deleted, and the error says so. Of an API server that refuses
// everything, not every session is asked for.
func TestDeleteExpiredGoesOn(t *testing.T) {
	c, requests := newClient(t)
	namespace := newNamespace(t, c)
	store := kubernetes.New(c, kubernetes.InNamespaces(namespace))
	const count = 40
	var sessions []*session.Session
	for range count {
		s := newSession(namespace, "alice")
		s.IdleUntil = storetest.Noon.Add(time.Minute)
		sessions = append(sessions, s)
	}
	createMany(t, store, sessions...)
	stuck := sessions[0].ID.String()
	refuse := func(path string) {
		requests.mu.Lock()
		defer requests.mu.Unlock()
		requests.fate = func(request *http.Request) (*http.Response, error) {
			if request.Method != http.MethodGet && strings.Contains(request.URL.Path, path) {
				return nil, errors.New("refused")
			}
			return nil, nil
		}
	}
	refuse("/sessions/")
	listed(t, store, namespace, count)
	requests.take()
	deleted, err := store.DeleteExpired(t.Context(), storetest.Noon.Add(time.Hour))
	wantError(t, "DeleteExpired() of which every one fails", err, session.ErrUnavailable)
	if attempts := requests.count(http.MethodPatch); deleted != 0 || attempts != 10 {
		t.Errorf("it deleted %d in %d attempts, want 0 in 10", deleted, attempts)
	}
	refuse(stuck)
	deleted, err = store.DeleteExpired(t.Context(), storetest.Noon.Add(time.Hour))
	wantError(t, "DeleteExpired() of which one fails", err, session.ErrUnavailable)
	if deleted != count-1 {
		t.Errorf("it deleted %d, want the other %d", deleted, count-1)
	}
}

// listed waits until the lists of the API server have caught up with so many live sessions.
func listed(t *testing.T, store session.Store, namespace string, want int) {
	t.Helper()
	issuer := newSession(namespace, "alice").Issuer
	err := wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		live, err := store.ListSubject(ctx, issuer, "alice", storetest.Noon, want+1)
		return len(live) == want, err
	})
	if err != nil {
		t.Fatalf("waiting for %d sessions to be listed: %v", want, err)
	}
}

// More sessions than one page has: every one is listed, ended and deleted.
func TestPages(t *testing.T) {
	c, _ := newClient(t)
	namespace := newNamespace(t, c)
	store := kubernetes.New(c, kubernetes.InNamespaces(namespace))
	const count = 510
	var sessions []*session.Session
	for i := range count {
		s := newSession(namespace, "alice")
		s.CreatedAt = storetest.Noon.Add(-time.Duration(i) * time.Second)
		sessions = append(sessions, s)
	}
	createMany(t, store, sessions...)
	ended, err := store.EndSubject(t.Context(), sessions[0].Issuer, "alice", storetest.Noon, session.EndLogoutEverywhere)
	if err != nil || len(ended) != count {
		t.Fatalf("EndSubject() ended %d, %v; want %d", len(ended), err, count)
	}
	deleteUntil(t, store, storetest.Noon.Add(time.Hour), count)
	ids := map[session.ID]bool{}
	for _, s := range ended {
		ids[s.ID] = true
	}
	if missing := slices.IndexFunc(sessions, func(s *session.Session) bool { return !ids[s.ID] }); missing >= 0 {
		t.Errorf("session number %d was not ended", missing)
	}
}
