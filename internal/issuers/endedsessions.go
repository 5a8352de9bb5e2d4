package issuers

import (
	"container/heap"
	"context"
	"slices"
	"sync"
	"time"
	"unique"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	metadataclient "k8s.io/client-go/metadata"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	"github.com/keyturn/keyturn/api/v1alpha1"
)

const (
	// sessionPage is how many sessions one request lists: all of them that are in memory at once.
	sessionPage = 500
	// listTimeout bounds one such request.
	listTimeout = 30 * time.Second
	// forgetPeriod is how often rules are dropped that nobody needs any more.
	forgetPeriod = time.Minute
	// forgetBatch is how many sessions at once hold up what a watch brings meanwhile: for a few milliseconds.
	forgetBatch = 500
	// complaintPeriod is how often it is said that sessions cannot be listed.
	complaintPeriod = time.Minute
)

// EndedSessions denies the access tokens of every session that was ended, on every replica, and knows which sessions
// are being deleted. It watches the metadata of all Sessions and keeps nothing of those that are live:
//
//	live ──► ended, or being deleted: denied ──► gone: denied until the last access token has expired ──► forgotten
//	  └────► gone: the same, because nobody knows why it went
//
// A session that is live again after all, because somebody created a copy of it, stays denied for as long.
type EndedSessions struct {
	registry   *Registry
	client     metadataclient.Interface
	namespaces []string
	clock      clock.Clock
	log        logr.Logger

	mu        sync.Mutex
	known     map[types.NamespacedName]endedSession
	gone      departures
	unlisted  int // watches whose first list is not in force yet
	listeners map[*func(types.NamespacedName)]struct{}
	// complainedAt is when it was last said that sessions cannot be listed.
	complainedAt time.Time
}

// endedSession is what is known of a session beside its name and namespace.
type endedSession struct {
	// issuer is the name of its issuer; empty if the Session has no such label, and then it is not denied here.
	issuer string
	// until is when it is forgotten, with a departure that says so too; zero while the Session exists.
	until time.Time
	// deleting is true while the Session waits for its finalizer.
	deleting bool
}

// EndedSessionsOptions are what an EndedSessions needs beside the registry.
type EndedSessionsOptions struct {
	// Client reads metadata. Freshness should listen to its transport.
	Client metadataclient.Interface
	// Namespaces are those that the operator is confined to. Default: all.
	Namespaces []string
	Clock      clock.Clock
	Logger     logr.Logger
}

// NewEndedSessions returns an EndedSessions, for the options of a Watcher, which runs it.
func NewEndedSessions(registry *Registry, options EndedSessionsOptions) *EndedSessions {
	s := &EndedSessions{
		registry: registry, client: options.Client, namespaces: options.Namespaces, clock: options.Clock, log: options.Logger,
		known: map[types.NamespacedName]endedSession{}, listeners: map[*func(types.NamespacedName)]struct{}{},
	}
	if len(s.namespaces) == 0 {
		s.namespaces = []string{metav1.NamespaceAll}
	}
	s.unlisted = len(s.namespaces)
	return s
}

// OnDeletion calls a function for each session that is being deleted and waits for its finalizer: at once for those
// that are known, and until the context ends for the next ones. A session can be named more than once. The watch waits
// for the function to return.
func (s *EndedSessions) OnDeletion(ctx context.Context, tell func(session types.NamespacedName)) {
	s.mu.Lock()
	s.listeners[&tell] = struct{}{}
	var waiting []types.NamespacedName
	for name, session := range s.known {
		if session.deleting {
			waiting = append(waiting, name)
		}
	}
	s.mu.Unlock()
	context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.listeners, &tell)
	})
	for _, name := range waiting {
		tell(name)
	}
}

// hasSynced reports whether every session is denied that had ended before the start.
func (s *EndedSessions) hasSynced() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unlisted == 0
}

// run watches until the context ends.
func (s *EndedSessions) run(ctx context.Context) {
	var running sync.WaitGroup
	for _, namespace := range s.namespaces {
		reflector := toolscache.NewReflectorWithOptions(s.pages(namespace), &metav1.PartialObjectMetadata{},
			&sessionsOf{EndedSessions: s, namespace: namespace}, toolscache.ReflectorOptions{Name: "sessions", TypeDescription: "sessions"})
		reflector.WatchListPageSize = sessionPage
		running.Go(func() { reflector.RunWithContext(ctx) })
	}
	for {
		select {
		case <-ctx.Done():
			running.Wait()
			return
		case <-s.clock.After(forgetPeriod):
			s.forget()
		}
	}
}

// paged lists page by page and watches from there. The streaming list of newer API servers would have the metadata of
// all live sessions in memory at once.
type paged struct{ *toolscache.ListWatch }

// IsWatchListSemanticsUnSupported is how a reflector asks.
func (paged) IsWatchListSemanticsUnSupported() bool { return true }

// pages lists what is ended, as of now rather than as of what an API server has in its cache: a replica that has just
// started must not let pass what others deny.
func (s *EndedSessions) pages(namespace string) toolscache.ListerWatcher {
	sessions := s.client.Resource(v1alpha1.GroupVersion.WithResource("sessions")).Namespace(namespace)
	return paged{&toolscache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			ctx, cancel := context.WithTimeout(ctx, listTimeout)
			defer cancel()
			options.ResourceVersion, options.ResourceVersionMatch = "", ""
			list, err := sessions.List(ctx, options)
			if err != nil {
				s.complain(err)
				return nil, err
			}
			list.Items = slices.Clone(slices.DeleteFunc(list.Items, func(object metav1.PartialObjectMetadata) bool { return live(&object) }))
			return list, nil
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return sessions.Watch(ctx, options)
		},
	}}
}

func live(object *metav1.PartialObjectMetadata) bool {
	_, ended := object.Labels[v1alpha1.LabelEnded]
	return !ended && object.DeletionTimestamp == nil
}

// complain says now and then what keeps sessions from being listed. Before the first list nothing is verified at all.
func (s *EndedSessions) complain(err error) {
	s.mu.Lock()
	due := s.complainedAt.IsZero() || s.clock.Since(s.complainedAt) >= complaintPeriod
	if due {
		s.complainedAt = s.clock.Now()
	}
	verifying := s.unlisted == 0
	s.mu.Unlock()
	if !due {
		return
	}
	remedy := "grant the operator the verbs list and watch on sessions.keyturn.dev if it says forbidden; it is tried again"
	if apierrors.IsNotFound(err) {
		remedy = "install the custom resource sessions.keyturn.dev, which comes with the operator; it is tried again"
	}
	s.log.Error(err, "listing the ended sessions, whose access tokens must be denied", "verifying", verifying, "remedy", remedy)
}

// sessionsOf is what the reflector of one namespace, or of all, fills.
type sessionsOf struct {
	*EndedSessions
	namespace string
	// listed is true once its first list is in force.
	listed bool
}

var _ toolscache.ReflectorStore = (*sessionsOf)(nil)

// Add implements cache.ReflectorStore.
func (o *sessionsOf) Add(object any) error { return o.Update(object) }

// Update implements cache.ReflectorStore. What is live is not kept; what was ended stays so, whatever became of its
// label.
func (o *sessionsOf) Update(object any) error {
	if session := object.(*metav1.PartialObjectMetadata); !live(session) {
		o.deny(session)
	}
	return nil
}

// Delete implements cache.ReflectorStore.
func (o *sessionsOf) Delete(object any) error {
	o.vanished(object.(*metav1.PartialObjectMetadata))
	return nil
}

// Replace implements cache.ReflectorStore. Those of the ended sessions that are not listed are gone.
func (o *sessionsOf) Replace(list []any, _ string) error {
	listed := make(map[types.NamespacedName]bool, len(list))
	for _, object := range list {
		session := object.(*metav1.PartialObjectMetadata)
		listed[types.NamespacedName{Namespace: session.Namespace, Name: session.Name}] = true
		_ = o.Update(session)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for name, session := range o.known {
		if (o.namespace == metav1.NamespaceAll || o.namespace == name.Namespace) && session.until.IsZero() && !listed[name] {
			o.leave(name, session)
		}
	}
	if !o.listed && o.unlisted > 0 {
		o.unlisted--
	}
	o.listed = true
	return nil
}

// Resync implements cache.ReflectorStore.
func (o *sessionsOf) Resync() error { return nil }

// deny brings the rule of a session into force, and tells who waits for deletions.
func (s *EndedSessions) deny(object *metav1.PartialObjectMetadata) {
	s.mu.Lock()
	name, session := s.identify(object)
	session.until, session.deleting = time.Time{}, object.DeletionTimestamp != nil
	s.put(name, session)
	var listeners []func(types.NamespacedName)
	if session.deleting {
		for listener := range s.listeners {
			listeners = append(listeners, *listener)
		}
	}
	s.mu.Unlock()
	for _, tell := range listeners {
		tell(name)
	}
}

// vanished keeps a session denied that is not there any more, ended or not.
func (s *EndedSessions) vanished(object *metav1.PartialObjectMetadata) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leave(s.identify(object))
}

// identify returns what is known of a session already, or what its label says. The caller holds mu.
func (s *EndedSessions) identify(object *metav1.PartialObjectMetadata) (types.NamespacedName, endedSession) {
	name := types.NamespacedName{Namespace: unique.Make(object.Namespace).Value(), Name: object.Name}
	session := s.known[name]
	if session.issuer == "" {
		session.issuer = unique.Make(object.Labels[v1alpha1.LabelIssuer]).Value()
	}
	return name, session
}

// leave denies a session until the last of its access tokens has expired. The caller holds mu.
func (s *EndedSessions) leave(name types.NamespacedName, session endedSession) {
	issuer := types.NamespacedName{Namespace: name.Namespace, Name: session.issuer}
	session.until, session.deleting = s.clock.Now().Add(s.registry.sessionTokensOutlive(issuer)), false
	s.put(name, session)
	heap.Push(&s.gone, departure{until: session.until, name: name})
}

// put keeps a session, with its rule. The caller holds mu.
func (s *EndedSessions) put(name types.NamespacedName, session endedSession) {
	if session.issuer != "" {
		s.registry.putRule(types.NamespacedName{Namespace: name.Namespace, Name: session.issuer}, sessionRule(name.Name))
	}
	s.known[name] = session
}

// forget drops what is over. What DenySession has denied and no watch has confirmed since is over one day too, because
// its Session may have gone unseen.
func (s *EndedSessions) forget() {
	for denied := range slices.Chunk(s.registry.takeDenied(), forgetBatch) {
		s.leaveUnconfirmed(denied)
	}
	for s.forgetSome() {
	}
}

func (s *EndedSessions) leaveUnconfirmed(sessions []deniedSession) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, denied := range sessions {
		if _, confirmed := s.known[denied.name]; !confirmed {
			s.leave(denied.name, endedSession{issuer: denied.issuer})
		}
	}
}

// forgetSome looks at one batch of departures that are due, and reports whether there may be more. It works in proportion
// to those, however many sessions are known.
func (s *EndedSessions) forgetSome() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	for range forgetBatch {
		if len(s.gone) == 0 || now.Before(s.gone[0].until) {
			return false
		}
		due := heap.Pop(&s.gone).(departure)
		session, known := s.known[due.name]
		if !known || !session.until.Equal(due.until) {
			continue // It has come back, and maybe left again later.
		}
		if session.issuer != "" {
			s.registry.deleteRule(types.NamespacedName{Namespace: due.name.Namespace, Name: session.issuer}, sessionRule(due.name.Name))
		}
		delete(s.known, due.name)
	}
	return true
}
