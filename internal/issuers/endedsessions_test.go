package issuers

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/remotejwks"
	"github.com/keyturn/keyturn/internal/session"
	"github.com/keyturn/keyturn/internal/testenv"
)

func TestEndedSessionsAreDenied(t *testing.T) {
	w := newSessionWatch(t)
	before := w.open(t, ended)
	liveBefore := w.open(t)
	w.start(t)
	if !w.denied(before) {
		t.Error("one that had ended before the start is not denied once the watch has synced")
	}
	logout, reused, live := w.open(t), w.open(t), w.open(t)
	w.edit(t, logout, ended)
	w.edit(t, reused, func(s *v1alpha1.Session) { s.Labels[v1alpha1.LabelEnded] = "Reuse" })
	deleted := w.open(t)
	w.remove(t, deleted)
	w.settle(t)
	for name, object := range map[string]*v1alpha1.Session{"an ended one": logout, "another": reused, "one that is being deleted": deleted} {
		if !w.denied(object) {
			t.Errorf("%s is not denied", name)
		}
	}
	for name, object := range map[string]*v1alpha1.Session{"a live one": live, "one that was live before": liveBefore} {
		if w.denied(object) {
			t.Errorf("%s is denied", name)
		}
	}
	if deniedBy(w.registry, types.NamespacedName{Namespace: w.namespace, Name: "other"}, logout.Name) ||
		deniedBy(w.registry, types.NamespacedName{Namespace: "other", Name: "shop"}, logout.Name) {
		t.Error("the session of another issuer is denied with it")
	}
	// The end is final, whatever somebody does to the label.
	w.edit(t, logout, func(s *v1alpha1.Session) { delete(s.Labels, v1alpha1.LabelEnded) })
	w.settle(t)
	if !w.denied(logout) {
		t.Error("an ended one is not denied any more when somebody takes its label away")
	}
}

// Whatever becomes of a Session, its access tokens are denied until the last has expired; and then nothing is left of
// it.
func TestSessionsThatAreGoneAreForgotten(t *testing.T) {
	w := newSessionWatch(t)
	issuer := newIssuer("shop", "https://shop.example", 0)
	issuer.Namespace = w.namespace
	add(t, w.registry, issuer, newRing(t, issuer))
	w.registry.markSynced()
	endedOne, stripped, unseen, liveUnseen := w.open(t, ended), w.open(t), w.open(t, ended), w.open(t)
	w.start(t)
	for _, object := range []*v1alpha1.Session{endedOne, stripped} {
		w.edit(t, object, withoutFinalizer)
		w.remove(t, object)
	}
	w.settle(t)
	// And two go while nobody looks.
	w.stop()
	for _, object := range []*v1alpha1.Session{unseen, liveUnseen} {
		w.edit(t, object, withoutFinalizer)
		w.remove(t, object)
	}
	w.start(t)
	eventually(t, "the list after the pause", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return !w.known[types.NamespacedName{Namespace: w.namespace, Name: unseen.Name}].until.IsZero()
	})
	gone := map[string]*v1alpha1.Session{"an ended one": endedOne, "a live one": stripped, "one that went unseen": unseen}
	longest := defaultMaxLifetime + 30*time.Second + 2*session.DefaultClockError
	w.clock.SetTime(epoch.Add(longest - time.Nanosecond))
	w.forget()
	for name, object := range gone {
		if !w.denied(object) {
			t.Errorf("%s is forgotten while its tokens can be good", name)
		}
	}
	if w.denied(liveUnseen) {
		t.Error("a live one that went unseen is denied: who told?")
	}
	w.clock.SetTime(epoch.Add(longest))
	w.forget()
	for name, object := range gone {
		if w.denied(object) {
			t.Errorf("%s is denied forever", name)
		}
	}
	if got := w.entries(); got != 1 { // The one that settle has left.
		t.Errorf("%d sessions are kept, want 1", got)
	}
}

// The replica that ends a session denies it at once, before its watch has told it.
func TestDenySession(t *testing.T) {
	w := newSessionWatch(t)
	object, lost := w.open(t), w.open(t)
	shop := types.NamespacedName{Namespace: w.namespace, Name: "shop"}
	for _, o := range []*v1alpha1.Session{object, lost} {
		w.registry.DenySession(shop, o.Name)
		if !w.denied(o) {
			t.Fatal("it is not denied when DenySession returns")
		}
	}
	w.start(t)
	w.edit(t, object, ended)
	w.settle(t)
	w.forget()
	w.clock.SetTime(epoch.Add(unknownOutlive))
	w.forget()
	if !w.denied(object) {
		t.Error("it is forgotten although it exists and was ended")
	}
	if w.denied(lost) {
		t.Error("one that no watch ever confirmed is denied forever")
	}
}

// A new leader is told of what waits for it, and of what comes.
func TestOnDeletion(t *testing.T) {
	w := newSessionWatch(t)
	first, second, third := w.open(t), w.open(t), w.open(t)
	w.start(t)
	w.remove(t, first)
	w.open(t, ended)
	w.settle(t)
	told := make(chan string, 100)
	ctx, endTerm := context.WithCancel(t.Context())
	w.OnDeletion(ctx, func(name types.NamespacedName) { told <- name.Name })
	if got := len(told); got != 1 || <-told != first.Name {
		t.Fatalf("at the begin of a term %d sessions are named, want the one that is being deleted", got)
	}
	w.remove(t, second)
	if got := <-told; got != second.Name {
		t.Errorf("the next one to be named is %s, want %s", got, second.Name)
	}
	endTerm()
	eventually(t, "the end of the term", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.listeners) == 0
	})
	w.remove(t, third)
	w.edit(t, first, withoutFinalizer)
	w.settle(t)
	if got := len(told); got != 0 {
		t.Errorf("after the term %d more sessions are named", got)
	}
	var pending []string
	w.OnDeletion(t.Context(), func(name types.NamespacedName) { pending = append(pending, name.Name) })
	slices.Sort(pending)
	want := []string{second.Name, third.Name}
	slices.Sort(want)
	if !slices.Equal(pending, want) {
		t.Errorf("the next term is told of %v, want %v", pending, want)
	}
}

// Nothing is kept of what is live, over more than one page, and none of the ended ones between them is missed.
func TestLiveSessionsAreNotKept(t *testing.T) {
	const page, count = sessionPage, sessionPage + 20
	w := newSessionWatch(t)
	var last *v1alpha1.Session
	for i := range count {
		if i%100 == 99 || i == count-1 {
			last = w.open(t, ended)
		} else {
			w.open(t)
		}
	}
	w.start(t)
	if got, want := w.entries(), count/100+1; got != want || !w.denied(last) {
		t.Errorf("of %d sessions, in pages of %d, %d are kept, want the %d that have ended", count, page, got, want)
	}
	for range 20 {
		w.open(t)
	}
	w.settle(t)
	if got, want := w.entries(), count/100+2; got != want {
		t.Errorf("after more live ones %d are kept, want %d", got, want)
	}
}

// Without word about ended sessions nothing is verified; that is said, but not all the time, and it is tried again.
func TestSessionsCannotBeListed(t *testing.T) {
	w := newSessionWatch(t)
	object := w.open(t, ended)
	w.broken.Store(true)
	stop := startSessions(t, w.EndedSessions)
	defer stop()
	eventually(t, "a complaint", func() bool { return w.logged.Load() > 0 })
	w.complain(errors.New("again"))
	w.clock.SetTime(epoch.Add(complaintPeriod - time.Nanosecond))
	w.complain(errors.New("and again"))
	if got := w.logged.Load(); got != 1 || w.hasSynced() {
		t.Errorf("%d complaints within a minute, want 1; synced: %v", got, w.hasSynced())
	}
	w.clock.SetTime(epoch.Add(complaintPeriod))
	w.complain(apierrors.NewNotFound(v1alpha1.GroupVersion.WithResource("sessions").GroupResource(), ""))
	if got := w.logged.Load(); got != 2 {
		t.Errorf("%d complaints after a minute, want 2", got)
	}
	if said := w.said.Load().(string); !strings.Contains(said, "install the custom resource sessions.keyturn.dev") || !strings.Contains(said, `"verifying"=false`) {
		t.Errorf("without the custom resource it says %s", said)
	}
	w.broken.Store(false)
	eventually(t, "the first list", w.hasSynced)
	if !w.denied(object) {
		t.Error("it has synced, and the session is not denied")
	}
}

// A Session without the label of its issuer cannot be denied by name. It is told of when it is deleted.
func TestSessionWithoutLabels(t *testing.T) {
	w := newSessionWatch(t)
	object := w.open(t, func(s *v1alpha1.Session) { s.Labels = nil })
	w.start(t)
	w.remove(t, object)
	w.settle(t)
	var told []string
	w.OnDeletion(t.Context(), func(name types.NamespacedName) { told = append(told, name.Name) })
	if !slices.Equal(told, []string{object.Name}) {
		t.Errorf("told of %v, want %s", told, object.Name)
	}
	w.edit(t, object, withoutFinalizer)
	w.settle(t)
	w.clock.SetTime(epoch.Add(unknownOutlive))
	w.forget()
	if got := w.entries(); got != 2 {
		t.Errorf("%d sessions are kept, want the 2 of settle", got)
	}
}

func TestSessionRetention(t *testing.T) {
	r := NewRegistry()
	if _, known := r.SessionRetention(); known {
		t.Error("before the first sync it is known for how long tokens live")
	}
	r.markSynced()
	if got, known := r.SessionRetention(); !known || got != 2*session.DefaultClockError {
		t.Errorf("without issuers it is %s, %v", got, known)
	}
	short, long := newIssuer("short", "https://short.example", 0), newIssuer("long", "https://long.example", 0)
	long.Spec.Tokens.MaxLifetime = &metav1.Duration{Duration: 2 * time.Hour}
	add(t, r, long, newRing(t, long))
	add(t, r, short, newRing(t, short))
	if got, _ := r.SessionRetention(); got != 2*time.Hour+30*time.Second+2*session.DefaultClockError {
		t.Errorf("it is %s, want the lifetime of the longest tokens, their leeway, and 4s for clocks", got)
	}
	external := newIssuer("external", "https://external.example", 0)
	external.Spec.Signing, external.Spec.External = nil, &v1alpha1.External{}
	if err := r.setIssuer(external, func(e *entry) {
		e.keySet = func() (*remotejwks.Set, bool) { return &remotejwks.Set{}, false }
	}); err != nil {
		t.Fatal(err)
	}
	if got, _ := r.SessionRetention(); got > 3*time.Hour {
		t.Errorf("it is %s, although the tokens of an external issuer are of no session of ours", got)
	}
	add(t, r, newIssuer("keyless", "https://keyless.example", 0), nil)
	if got, _ := r.SessionRetention(); got != unknownOutlive {
		t.Errorf("with an issuer whose keys nobody knows it is %s, want %s", got, unknownOutlive)
	}
}

// A replica verifies nothing before it knows which sessions have ended.
func TestWatcherWaitsForEndedSessions(t *testing.T) {
	w := newSessionWatch(t)
	object := w.open(t, ended)
	w.broken.Store(true)
	informers, err := cache.New(testenv.Environment(t).Config, cache.Options{
		Scheme: scheme.Scheme, DefaultNamespaces: map[string]cache.Config{w.namespace: {}},
	})
	if err != nil {
		t.Fatal(err)
	}
	watcher := NewWatcher(informers, w.registry, WatcherOptions{Clock: clock.RealClock{}, Sessions: w.EndedSessions})
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan error, 2)
	go func() { stopped <- informers.Start(ctx) }()
	go func() { stopped <- watcher.Start(ctx) }()
	eventually(t, "the attempt to list sessions", func() bool { return w.logged.Load() > 0 })
	for _, object := range []client.Object{&v1alpha1.TokenIssuer{}, &v1alpha1.TokenRevocation{}, &corev1.Secret{}} {
		informer, err := informers.GetInformer(ctx, object)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "everything else", informer.HasSynced)
	}
	if w.registry.Synced() {
		t.Error("the replica says that it knows everything, and has not heard of ended sessions")
	}
	w.broken.Store(false)
	eventually(t, "the first sync", w.registry.Synced)
	if !w.denied(object) {
		t.Error("it has synced, and an ended session is not denied")
	}
	stop()
	for range cap(stopped) {
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	}
}

// Each namespace that the operator is confined to has a watch of its own. The list of one says nothing about another.
func TestNamespacesOfSessionsApart(t *testing.T) {
	s := NewEndedSessions(NewRegistry(), EndedSessionsOptions{Namespaces: []string{"a", "b"}, Clock: clocktesting.NewFakeClock(epoch)})
	endedIn := func(namespace string) *metav1.PartialObjectMetadata {
		return &metav1.PartialObjectMetadata{TypeMeta: metadataOfSession, ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: "00112233445566778899aabbccddeeff",
			Labels: map[string]string{v1alpha1.LabelIssuer: "shop", v1alpha1.LabelEnded: "Logout"},
		}}
	}
	a, b := &sessionsOf{EndedSessions: s, namespace: "a"}, &sessionsOf{EndedSessions: s, namespace: "b"}
	replace := func(o *sessionsOf, list ...any) {
		t.Helper()
		if err := o.Replace(list, "1"); err != nil {
			t.Fatal(err)
		}
	}
	replace(a, endedIn("a"))
	replace(a, endedIn("a"))
	if s.hasSynced() {
		t.Error("it has synced after two lists of one of two namespaces")
	}
	replace(b, endedIn("b"))
	replace(b)
	if !s.hasSynced() {
		t.Error("it has not synced after both lists")
	}
	for namespace, gone := range map[string]bool{"a": false, "b": true} {
		session := s.known[types.NamespacedName{Namespace: namespace, Name: "00112233445566778899aabbccddeeff"}]
		if session.until.IsZero() == gone {
			t.Errorf("in namespace %s it is gone: %t, want %t", namespace, !gone, gone)
		}
	}
}
