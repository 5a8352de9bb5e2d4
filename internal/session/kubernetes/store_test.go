package kubernetes_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/session"
	"github.com/keyturn/keyturn/internal/session/kubernetes"
	"github.com/keyturn/keyturn/internal/session/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) session.Store {
		c, _ := newClient(t)
		return kubernetes.New(c)
	})
}

// What a person sees with kubectl, and what the operator finds sessions by.
func TestObject(t *testing.T) {
	c, _ := newClient(t)
	store := kubernetes.New(c)
	s := newSession(newNamespace(t, c), "auth0|Zoë")
	s.Claims = "{ \"a\" : 1.0, \"b\":\"\u2028\" }"
	s.RotatedAt, s.Generation = storetest.Noon.Add(123456*time.Microsecond), 7
	mustCreate(t, store, s)
	got := object(t, c, s)
	if got.Name != s.ID.String() || !slices.Equal(got.Finalizers, []string{v1alpha1.FinalizerSession}) {
		t.Errorf("name %s, finalizers %v", got.Name, got.Finalizers)
	}
	// printf 'auth0|Zoë' | sha256sum | cut -c -32
	want := map[string]string{v1alpha1.LabelIssuer: "shop", v1alpha1.LabelSubject: "8add91cb1a195d7c48ed69aed7d6be5b"}
	if diff := cmp.Diff(want, got.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if got.Spec.Claims != s.Claims || got.Spec.Subject != s.Subject || got.State.Generation != 7 ||
		!got.State.RotatedAt.Time.Equal(s.RotatedAt) || got.State.EndedAt != nil {
		t.Errorf("spec %+v, state %+v", got.Spec, got.State)
	}

	if _, err := store.End(t.Context(), s.Issuer, s.ID, storetest.Noon.Add(time.Hour), session.EndReuse); err != nil {
		t.Fatal(err)
	}
	got = object(t, c, s)
	if got.Labels[v1alpha1.LabelEnded] != "Reuse" || got.State.EndReason != "Reuse" || got.State.Generation != 7 {
		t.Errorf("after the end: labels %v, state %+v", got.Labels, got.State)
	}
	if len(got.ManagedFields) != 0 {
		t.Errorf("half of the object is about who has set which field: %+v", got.ManagedFields)
	}
}

// However the end gets into the store, the label comes with it, by which access tokens are denied.
func TestEndSetsTheLabel(t *testing.T) {
	c, _ := newClient(t)
	store := kubernetes.New(c)
	created := mustCreate(t, store, newSession(newNamespace(t, c), "alice"))
	if _, err := store.CompareAndSwap(t.Context(), created, created.Ended(storetest.Noon, session.EndReuse)); err != nil {
		t.Fatal(err)
	}
	if got := object(t, c, created).Labels[v1alpha1.LabelEnded]; got != "Reuse" {
		t.Errorf("the label is %q", got)
	}
	over := newSession(created.Issuer.Namespace, "alice")
	over.State = over.Ended(storetest.Noon, session.EndRevoked)
	mustCreate(t, store, over)
	if got := object(t, c, over).Labels[v1alpha1.LabelEnded]; got != "Revoked" {
		t.Errorf("of one that had ended before it was stored the label is %q", got)
	}
}

func TestRequests(t *testing.T) {
	c, requests := newClient(t)
	store := kubernetes.New(c)
	created := mustCreate(t, store, newSession(newNamespace(t, c), "alice"))
	next := created.State
	next.Generation++
	end := func() error {
		_, err := store.End(t.Context(), created.Issuer, created.ID, storetest.Noon, session.EndLogout)
		return err
	}
	requests.take()
	for _, step := range []struct {
		name string
		call func() error
		want string
	}{
		{"Get", func() error { _, err := store.Get(t.Context(), created.Issuer, created.ID); return err }, "GET"},
		{"CompareAndSwap", func() error { _, err := store.CompareAndSwap(t.Context(), created, next); return err }, "PATCH"},
		{"ListSubject", func() error {
			_, err := store.ListSubject(t.Context(), created.Issuer, "alice", storetest.Noon, 10)
			return err
		}, "GET"},
		{"End", end, "PATCH"},
		{"End of an ended one", func() error {
			_, err := store.End(t.Context(), created.Issuer, created.ID, storetest.Noon.Add(time.Hour), session.EndReuse)
			return err
		}, "PATCH GET"},
		{"EndSubject with nothing left", func() error {
			_, err := store.EndSubject(t.Context(), created.Issuer, "alice", storetest.Noon, session.EndLogout)
			return err
		}, "GET"},
	} {
		if err := step.call(); err != nil {
			t.Errorf("%s: %v", step.name, err)
		}
		if got := requests.take(); got != step.want {
			t.Errorf("%s sends %q, want %q", step.name, got, step.want)
		}
	}
}

// What a caller must not ask for is refused, and nothing is written.
func TestRefusedSwaps(t *testing.T) {
	c, _ := newClient(t)
	store := kubernetes.New(c)
	namespace := newNamespace(t, c)
	s := newSession(namespace, "alice")
	s.Generation = 5
	created := mustCreate(t, store, s)
	ended := newSession(namespace, "bob")
	ended.State = ended.Ended(storetest.Noon, session.EndLogout)
	ended = mustCreate(t, store, ended)
	foreign := created.Clone()
	foreign.Issuer.Name = "shop-2"
	unread := created.Clone()
	unread.Version = ""
	lower, live := created.State, ended.State
	lower.Generation = 4
	live.EndedAt, live.EndReason = time.Time{}, ""
	live.Generation++
	for name, test := range map[string]struct {
		read *session.Session
		next session.State
		want error
	}{
		"a generation that goes down":           {created, lower, session.ErrConflict},
		"an ended one that lives again":         {ended, live, session.ErrConflict},
		"another issuer's, in its very version": {foreign, created.Ended(storetest.Noon, session.EndLogout), session.ErrNotFound},
		"one without a version":                 {unread, created.Ended(storetest.Noon, session.EndLogout), session.ErrConflict},
		"one with a version that is none":       {withVersion(created, "latest"), created.State, session.ErrUnavailable},
		"one with a version of long ago":        {withVersion(created, "1"), created.State, session.ErrConflict},
	} {
		_, err := store.CompareAndSwap(t.Context(), test.read, test.next)
		wantError(t, name, err, test.want)
	}
	for _, want := range []*session.Session{created, ended} {
		got, err := store.Get(t.Context(), want.Issuer, want.ID)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("after what was refused, error %v (-want +got):\n%s", err, diff)
		}
	}
}

func withVersion(s *session.Session, version string) *session.Session {
	s = s.Clone()
	s.Version = version
	return s
}

// A deletion that waits for its finalizer is the end of the session: nobody can do anything with it any more.
func TestDeletedSessionIsGone(t *testing.T) {
	c, _ := newClient(t)
	store := kubernetes.New(c)
	created := mustCreate(t, store, newSession(newNamespace(t, c), "alice"))
	if err := c.Delete(t.Context(), object(t, c, created)); err != nil {
		t.Fatal(err)
	}
	waiting := object(t, c, created)
	if waiting.DeletionTimestamp == nil {
		t.Fatal("the finalizer does not hold the Session")
	}
	listed(t, store, created.Issuer.Namespace, 0) // before the end is written to what is left of it
	_, err := store.Get(t.Context(), created.Issuer, created.ID)
	wantError(t, "Get()", err, session.ErrNotFound)
	_, err = store.CompareAndSwap(t.Context(), created, created.State)
	wantError(t, "CompareAndSwap() of what was read before", err, session.ErrConflict)
	_, err = store.CompareAndSwap(t.Context(), withVersion(created, waiting.ResourceVersion), created.State)
	wantError(t, "CompareAndSwap() in its version", err, session.ErrNotFound)
	_, err = store.End(t.Context(), created.Issuer, created.ID, storetest.Noon, session.EndLogout)
	wantError(t, "End()", err, session.ErrNotFound)
	if ended, err := store.EndSubject(t.Context(), created.Issuer, "alice", storetest.Noon, session.EndLogout); err != nil || len(ended) != 0 {
		t.Errorf("EndSubject() ended %d, %v", len(ended), err)
	}
	if _, err := store.Create(t.Context(), created); !errors.Is(err, session.ErrConflict) {
		t.Errorf("Create() of its id: %v", err)
	}
}

// Somebody edits a Session. The API server lets only the state be edited, and only forward; what is left is to write a
// time as Go's types do not read it. Such a session is nobody's, and is in nobody's way.
func TestEditedSession(t *testing.T) {
	c, _ := newClient(t)
	namespace := newNamespace(t, c)
	store := kubernetes.New(c, kubernetes.InNamespaces(namespace))
	good, bad := mustCreate(t, store, newSession(namespace, "alice")), mustCreate(t, store, newSession(namespace, "alice"))
	past := newSession(namespace, "alice")
	past.ID = session.NewID(storetest.Noon.AddDate(0, 0, -2)) // The day in its id is all that is left to go by.
	past = mustCreate(t, store, past)
	edit := func(s *session.Session, patch string) error {
		named := kubernetes.NewObject()
		named.SetNamespace(namespace)
		named.SetName(s.ID.String())
		return c.Patch(t.Context(), named, client.RawPatch(types.MergePatchType, []byte(patch)))
	}
	for _, patch := range []string{`{"spec":{"subject":"root"}}`, `{"spec":{"claims":"{}"}}`, `{"state":{"endReason":"Logout"}}`} {
		if err := edit(good, patch); !apierrors.IsInvalid(err) {
			t.Errorf("the edit %s: error %v, want that the API server refuses it", patch, err)
		}
	}
	for _, s := range []*session.Session{bad, past} {
		if err := edit(s, `{"state":{"rotatedAt":"2030-01-15T12:00:00Z"}}`); err != nil {
			t.Fatal(err)
		}
	}
	_, err := store.Get(t.Context(), bad.Issuer, bad.ID)
	wantError(t, "Get() of the edited one", err, session.ErrNotFound)
	wantError(t, "Get() of the edited one", err, kubernetes.ErrUnreadable)
	listed, err := store.ListSubject(t.Context(), good.Issuer, "alice", storetest.Noon, 10)
	if err != nil || len(listed) != 1 || listed[0].ID != good.ID {
		t.Errorf("ListSubject() beside the edited ones: %d sessions, %v; want the good one", len(listed), err)
	}
	if deleted, err := store.DeleteExpired(t.Context(), storetest.Noon); err != nil || deleted != 1 {
		t.Errorf("DeleteExpired() deleted %d, %v; want the edited one whose id is over", deleted, err)
	}
	ended, err := store.EndSubject(t.Context(), good.Issuer, "alice", storetest.Noon, session.EndLogout)
	if err != nil || len(ended) != 1 || ended[0].ID != good.ID {
		t.Errorf("EndSubject() beside the edited ones: %d sessions, %v; want the good one", len(ended), err)
	}
}

// Labels find sessions, and decide nothing: those of a neighbor are not ended because somebody gave them the same
// label. The issuer's label, by which access tokens are denied, comes back with the next write.
func TestEditedLabels(t *testing.T) {
	c, _ := newClient(t)
	store := kubernetes.New(c)
	namespace := newNamespace(t, c)
	alice, mallory := mustCreate(t, store, newSession(namespace, "alice")), mustCreate(t, store, newSession(namespace, "mallory"))
	relabel := func(s *session.Session, labels map[string]string) {
		t.Helper()
		edited := object(t, c, s)
		edited.Labels = labels
		if err := c.Update(t.Context(), edited); err != nil {
			t.Fatal(err)
		}
	}
	relabel(mallory, object(t, c, alice).Labels)
	ended, err := store.EndSubject(t.Context(), alice.Issuer, "alice", storetest.Noon, session.EndLogoutEverywhere)
	if err != nil || len(ended) != 1 || ended[0].ID != alice.ID {
		t.Errorf("EndSubject() ended %d sessions, %v; want alice's", len(ended), err)
	}
	relabel(mallory, nil)
	read, err := store.Get(t.Context(), mallory.Issuer, mallory.ID)
	if err != nil || !read.EndedAt.IsZero() {
		t.Fatalf("Get() without labels: %+v, %v", read, err)
	}
	if _, err := store.CompareAndSwap(t.Context(), read, read.State); err != nil {
		t.Fatal(err)
	}
	if got := object(t, c, mallory).Labels[v1alpha1.LabelIssuer]; got != "shop" {
		t.Errorf("after a write the issuer's label is %q", got)
	}
}

// Somebody else ends a session after it was listed: he says so, and EndSubject does not.
func TestEndSubjectBesideAnotherEnd(t *testing.T) {
	c, requests := newClient(t)
	other, _ := newClient(t)
	created := mustCreate(t, kubernetes.New(c), newSession(newNamespace(t, c), "alice"))
	var first error
	requests.fate = func(request *http.Request) (*http.Response, error) {
		if request.Method == http.MethodPatch {
			_, first = kubernetes.New(other).End(request.Context(), created.Issuer, created.ID, storetest.Noon, session.EndReuse)
		}
		return nil, nil
	}
	ended, err := kubernetes.New(c).EndSubject(t.Context(), created.Issuer, "alice", storetest.Noon.Add(time.Hour), session.EndLogoutEverywhere)
	if first != nil || err != nil || len(ended) != 0 {
		t.Errorf("EndSubject() ended %d, %v; the one before: %v", len(ended), err, first)
	}
	if got := object(t, c, created).State.EndReason; got != "Reuse" {
		t.Errorf("the session ended for %s, want what came first", got)
	}
}

func TestNamespaceMissing(t *testing.T) {
	c, _ := newClient(t)
	store := kubernetes.New(c)
	_, err := store.Create(t.Context(), newSession("nowhere", "alice"))
	wantError(t, "Create()", err, session.ErrUnavailable)
	if errors.Is(err, session.ErrNotFound) || errors.Is(err, session.ErrConflict) {
		t.Errorf("Create(): %v", err)
	}
}

// An API server that fails, hangs or does not know Sessions at all says nothing about any session.
func TestUnavailable(t *testing.T) {
	answer := func(status int, body string) func(*http.Request) (*http.Response, error) {
		return func(request *http.Request) (*http.Response, error) {
			return &http.Response{
				StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Request: request,
				Body: io.NopCloser(strings.NewReader(body)),
			}, nil
		}
	}
	for name, fate := range map[string]func(*http.Request) (*http.Response, error){
		"no connection":     func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") },
		"an internal error": answer(http.StatusInternalServerError, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":500}`),
		"no such resource":  answer(http.StatusNotFound, "404 page not found\n"),
		"no namespace": answer(http.StatusNotFound, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404,
			"details":{"kind":"namespaces","name":"default"}}`),
		"no right":           answer(http.StatusForbidden, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403}`),
		"not what was asked": answer(http.StatusOK, "<html>"),
		"no answer": func(request *http.Request) (*http.Response, error) {
			<-request.Context().Done()
			return nil, request.Context().Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, requests := newClient(t)
			s := newSession("default", "alice")
			created := mustCreate(t, kubernetes.New(c), s)
			requests.mu.Lock()
			requests.fate = fate
			requests.mu.Unlock()
			store := kubernetes.New(c, kubernetes.WithTimeout(50*time.Millisecond))
			for call, do := range map[string]func(context.Context) error{
				"Create":         func(ctx context.Context) error { _, err := store.Create(ctx, newSession("default", "bob")); return err },
				"Get":            func(ctx context.Context) error { _, err := store.Get(ctx, s.Issuer, s.ID); return err },
				"CompareAndSwap": func(ctx context.Context) error { _, err := store.CompareAndSwap(ctx, created, s.State); return err },
				"End": func(ctx context.Context) error {
					_, err := store.End(ctx, s.Issuer, s.ID, storetest.Noon, session.EndLogout)
					return err
				},
				"EndSubject": func(ctx context.Context) error {
					_, err := store.EndSubject(ctx, s.Issuer, "alice", storetest.Noon, session.EndLogout)
					return err
				},
				"ListSubject": func(ctx context.Context) error {
					_, err := store.ListSubject(ctx, s.Issuer, "alice", storetest.Noon, 1)
					return err
				},
				"DeleteExpired": func(ctx context.Context) error { _, err := store.DeleteExpired(ctx, storetest.Noon); return err },
			} {
				err := do(t.Context())
				wantError(t, call+"()", err, session.ErrUnavailable)
				if errors.Is(err, session.ErrNotFound) || errors.Is(err, session.ErrConflict) {
					t.Errorf("%s() says two things: %v", call, err)
				}
			}
		})
	}
}

// Every fact comes back as it was, and is the caller's own.
func TestRoundTrip(t *testing.T) {
	c, _ := newClient(t)
	store := kubernetes.New(c)
	s := newSession(newNamespace(t, c), "alice")
	s.Source, s.Claims = session.SourceUpstream, `{"b":1.0,"a":[1e2,"ü"]}`
	s.Scopes, s.Audiences = []string{"a", "b"}, []string{"https://x.example/ü"}
	s.IdleUntil = storetest.Noon.Add(time.Hour + time.Microsecond)
	created := mustCreate(t, store, s)
	got, err := store.Get(t.Context(), s.Issuer, s.ID)
	if err != nil {
		t.Fatal(err)
	}
	for name, one := range map[string]*session.Session{"Create()": created, "Get()": got} {
		if diff := cmp.Diff(s, one, cmpopts.IgnoreFields(session.Session{}, "Version")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if one.CreatedAt.Location() != time.UTC || one.RotatedAt.Location() != time.UTC {
			t.Errorf("%s returns times that are not UTC", name)
		}
	}
}
