package controllers

import (
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/session"
	"github.com/keyturn/keyturn/internal/session/kubernetes"
	"github.com/keyturn/keyturn/internal/token"
)

// retention is for how long records of sessions are needed here.
const retention = 20 * time.Minute

// knownRetention is what a registry knows: nothing if it is 0.
type knownRetention time.Duration

func (k knownRetention) SessionRetention() (time.Duration, bool) { return time.Duration(k), k != 0 }

// sessionReconciler returns one that the test calls itself.
func (w *world) sessionReconciler() *SessionReconciler {
	return &SessionReconciler{
		Client: w.journal.record(w.WithWatch), APIReader: w.WithWatch, Clock: w.clock,
		Store:     kubernetes.New(w.WithWatch, kubernetes.InNamespaces(w.namespace)),
		Retention: knownRetention(retention), Namespaces: []string{w.namespace},
	}
}

// session opens a session of the issuer, after edits.
func (w *world) session(issuer string, edits ...func(*session.Session)) *session.Session {
	w.Helper()
	now := w.clock.Now().UTC().Truncate(time.Second)
	expires := now.Add(14 * 24 * time.Hour)
	s := &session.Session{
		Facts: session.Facts{
			ID: session.NewID(expires), Issuer: session.IssuerReference{Namespace: w.namespace, Name: issuer},
			IssuerURL: "https://" + w.namespace + ".example/" + issuer, Subject: "alice", ClientID: "web",
			Audiences: []string{"shop-api"}, Source: session.SourceWorkload, Salt: session.NewSalt(), CreatedAt: now, ExpiresAt: expires,
		},
		State: session.State{RotatedAt: now, IdleUntil: now.Add(72 * time.Hour)},
	}
	for _, edit := range edits {
		edit(s)
	}
	created, err := kubernetes.New(w.WithWatch).Create(w.Context(), s)
	if err != nil {
		w.Fatalf("opening a session: %v", err)
	}
	return created
}

// endedAgo says that the session was ended so long ago.
func (w *world) endedAgo(ago time.Duration) func(*session.Session) {
	return func(s *session.Session) { s.State = s.Ended(w.clock.Now().Add(-ago), session.EndLogout) }
}

// sessionObject names the Session of a session, to be deleted or edited.
func sessionObject(s *session.Session) client.Object {
	object := kubernetes.NewObject()
	object.SetNamespace(s.Issuer.Namespace)
	object.SetName(s.ID.String())
	return object
}

func requestFor(s *session.Session) ctrl.Request {
	return ctrl.Request{NamespacedName: client.ObjectKeyFromObject(sessionObject(s))}
}

// patchSession is an edit by hand, which the API server takes.
func (w *world) patchSession(s *session.Session, patch string) {
	w.Helper()
	if err := w.Patch(w.Context(), sessionObject(s), client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		w.Fatalf("editing a Session: %v", err)
	}
}

func (w *world) wantSessionThere(s *session.Session, want bool) {
	w.Helper()
	err := w.Get(w.Context(), client.ObjectKeyFromObject(sessionObject(s)), kubernetes.NewObject())
	if client.IgnoreNotFound(err) != nil || (err == nil) != want {
		w.Errorf("the Session %s: error %v; want it there: %t", s.ID, err, want)
	}
}

// revocations are the names of those in the world's namespace.
func (w *world) revocations() []string {
	w.Helper()
	var list v1alpha1.TokenRevocationList
	if err := w.List(w.Context(), &list, client.InNamespace(w.namespace)); err != nil {
		w.Fatal(err)
	}
	var names []string
	for i := range list.Items {
		names = append(names, list.Items[i].Name)
	}
	return names
}

// A Session that is deleted goes at once, and leaves a revocation of its access tokens where there can be any that are
// good.
func TestDeletedSession(t *testing.T) {
	w := newWorld(t)
	w.create("shop")
	w.create("closing")
	unreadable := func(s *session.Session) { w.patchSession(s, `{"state":{"rotatedAt":"2030-01-15T12:00:00Z"}}`) }
	for name, test := range map[string]struct {
		issuer  string
		ended   time.Duration // how long ago; 0 for a live one
		edit    func(*session.Session)
		unknown bool // for how long tokens live
		revoked bool
	}{
		"a live one":     {revoked: true},
		"ended just now": {ended: time.Second, revoked: true},
		"ended almost as long ago as tokens live": {ended: retention - time.Microsecond, revoked: true},
		"ended longer ago":                        {ended: retention + time.Second},
		"ended, nobody knows how long they live":  {ended: retention + time.Hour, unknown: true, revoked: true},
		"of an issuer that is gone":               {issuer: "nobody"},
		"without labels":                          {edit: func(s *session.Session) { w.patchSession(s, `{"metadata":{"labels":null}}`) }, revoked: true},
		"one that cannot be read":                 {edit: unreadable, revoked: true},
		"revoked before": {edit: func(s *session.Session) {
			w.revoke(RevocationOf(s.ID.String()), "shop", func(spec *v1alpha1.TokenRevocationSpec) { spec.SessionID = s.ID.String() })
		}, revoked: true},
	} {
		t.Run(name, func(t *testing.T) {
			var edits []func(*session.Session)
			if test.ended > 0 {
				edits = append(edits, w.endedAgo(test.ended))
			}
			if test.issuer == "" {
				test.issuer = "shop"
			}
			s := w.session(test.issuer, edits...)
			if test.edit != nil {
				test.edit(s)
			}
			w.remove(sessionObject(s))
			w.wantSessionThere(s, true)
			r := w.sessionReconciler()
			if test.unknown {
				r.Retention = knownRetention(0)
			}
			for range 2 { // The second time there is nothing left to do.
				if result, err := r.Reconcile(t.Context(), requestFor(s)); err != nil || !result.IsZero() {
					t.Fatalf("Reconcile() = %+v, %v", result, err)
				}
			}
			w.wantSessionThere(s, false)
			revoked := slices.Contains(w.revocations(), "session-"+s.ID.String())
			if revoked != test.revoked {
				t.Fatalf("there is a TokenRevocation: %t, want %t", revoked, test.revoked)
			}
			if !revoked {
				return
			}
			spec := w.revocation("session-" + s.ID.String()).Spec
			if spec.SessionID != s.ID.String() || spec.IssuerRef.Name != "shop" || spec.RetainAfterExpiry {
				t.Errorf("it is %+v", spec)
			}
		})
	}
}

// While the revocation cannot be created the Session stays, or its access tokens would be good again after a restart.
func TestDeletedSessionStaysUntilItIsRevoked(t *testing.T) {
	w := newWorld(t)
	w.create("shop")
	s := w.session("shop")
	w.remove(sessionObject(s))
	r := w.sessionReconciler()
	healthy := r.Client
	r.Client = interceptWrites(w.WithWatch, func(verb string, _ client.Object, write func() error) error {
		if verb == "create" {
			return errStopped
		}
		return write()
	})
	if _, err := r.Reconcile(t.Context(), requestFor(s)); err == nil {
		t.Error("no error, although the revocation could not be created")
	}
	w.wantSessionThere(s, true)
	r.Client = healthy
	if _, err := r.Reconcile(t.Context(), requestFor(s)); err != nil {
		t.Error(err)
	}
	w.wantSessionThere(s, false)
}

// A write between reading the Session and letting go of it costs another look, and nothing else.
func TestDeletedSessionIsWrittenMeanwhile(t *testing.T) {
	w := newWorld(t)
	w.create("shop")
	s := w.session("shop")
	w.remove(sessionObject(s))
	r := w.sessionReconciler()
	raced := false
	r.Client = interceptWrites(w.WithWatch, func(verb string, _ client.Object, write func() error) error {
		if verb == "patch" && !raced {
			raced = true
			w.patchSession(s, `{"metadata":{"labels":{"somebody":"else"}}}`)
		}
		return write()
	})
	result, err := r.Reconcile(t.Context(), requestFor(s))
	if err != nil || result.RequeueAfter != raceRetry {
		t.Errorf("Reconcile() = %+v, %v; want another look", result, err)
	}
	if _, err := r.Reconcile(t.Context(), requestFor(s)); err != nil {
		t.Error(err)
	}
	w.wantSessionThere(s, false)
}

// A Session that nobody deletes is not touched, and neither is one that waits for somebody else's finalizer only.
func TestSessionThatIsNotOurs(t *testing.T) {
	w := newWorld(t)
	w.create("shop")
	live, waiting := w.session("shop"), w.session("shop")
	w.patchSession(waiting, `{"metadata":{"finalizers":["example.com/somebody"]}}`)
	w.remove(sessionObject(waiting))
	for _, s := range []*session.Session{live, waiting} {
		if _, err := w.sessionReconciler().Reconcile(t.Context(), requestFor(s)); err != nil {
			t.Error(err)
		}
		w.wantSessionThere(s, true)
	}
	if got := w.journal.take(); len(got) > 0 {
		t.Errorf("it wrote %v", got)
	}
	w.patchSession(waiting, `{"metadata":{"finalizers":null}}`)
}

// In a namespace that is being deleted nothing can be created, and the Session must not keep it.
func TestSessionOfATerminatingNamespace(t *testing.T) {
	w := newWorld(t)
	w.create("shop")
	s := w.session("shop")
	w.remove(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}})
	w.remove(sessionObject(s))
	eventually(w, "the namespace to be terminating", func() error {
		probe := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, GenerateName: "probe-"}}
		if err := w.Create(t.Context(), probe, client.DryRunAll); !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
			return fmt.Errorf("creating something in it: %w", err)
		}
		return nil
	})
	if _, err := w.sessionReconciler().Reconcile(t.Context(), requestFor(s)); err != nil {
		t.Error(err)
	}
	w.wantSessionThere(s, false)
}

// kubectl delete session: it returns at once, and from then on no replica takes an access token of the session, however
// late it starts.
func TestDeletionIsALogout(t *testing.T) {
	w := newWorld(t)
	waiting := w.session("shop")
	w.remove(sessionObject(waiting)) // while nobody leads
	m := w.start()
	m.now()
	issuer := w.create("shop")
	m.ready("shop")
	eventually(w, "what was deleted before the term", func() error { return m.sessionGone(waiting) })

	s := m.session("shop")
	claims := m.claims(issuer)
	claims["sid"] = s.ID.String()
	raw := signWith(m, m.mounted("shop").Data, claims)
	m.wantSoon(raw, token.Allowed)
	started := time.Now()
	m.remove(sessionObject(s))
	m.wantSoon(raw, token.Revoked)
	denied := time.Since(started)
	eventually(w, "the deletion", func() error { return m.sessionGone(s) })
	t.Logf("denied after %s, gone after %s", denied, time.Since(started))
	m.wantSoon(raw, token.Revoked)
	w.replica().wantSoon(raw, token.Revoked)
}

func (w *world) sessionGone(s *session.Session) error {
	err := w.Get(w.Context(), client.ObjectKeyFromObject(sessionObject(s)), kubernetes.NewObject())
	if !apierrors.IsNotFound(err) {
		return fmt.Errorf("the session is still there: %w", err)
	}
	return nil
}
