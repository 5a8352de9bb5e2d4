package issuers

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/keyring"
	"github.com/keyturn/keyturn/internal/remotejwks"
	"github.com/keyturn/keyturn/internal/revocation"
	"github.com/keyturn/keyturn/internal/session"
)

// Watcher feeds the registry of this replica from the API server: TokenIssuers, ring Secrets, TokenRevocations and ended
// Sessions. It runs on every replica, leader or not. An event is in force when its handler returns; there is no queue in
// between.
type Watcher struct {
	cache     cache.Cache
	registry  *Registry
	externals *externals
	log       logr.Logger
	// sessions is nil where no sessions are watched.
	sessions *EndedSessions
	progress Progress
	served   <-chan struct{}

	// forget is told of every issuer that is gone.
	forget func(namespace, name string)
}

// WatcherOptions are what a Watcher needs beside the cache and the registry.
type WatcherOptions struct {
	External ExternalOptions
	Clock    clock.Clock
	Logger   logr.Logger
	// Sessions is run too, and must have synced before anything is verified. Default: no session is ever denied by itself.
	Sessions *EndedSessions
	// Progress is told of each revocation that is in force. Default: nobody.
	Progress Progress
	// Served is closed when nobody is served any more: until then, also while the manager stops, ended sessions come into
	// force like everything else. Default: the end of Start's context.
	Served <-chan struct{}
	// Forget is called when an issuer has been deleted, to drop what is kept for it elsewhere. Default: nothing.
	Forget func(namespace, name string)
}

// Progress is told how far the revocations are in force.
type Progress interface {
	// Applied tells that this version of a TokenRevocation is in force. It is awaited while the API does not say yet
	// that the revocation is enforced.
	Applied(revocation types.NamespacedName, resourceVersion string, awaited bool)
	// Deleted tells that there is no such TokenRevocation any more.
	Deleted(revocation types.NamespacedName)
	// Synced tells that everything is in force that existed at the start, and returns when tokens may be let pass; false
	// if the context ends before.
	Synced(ctx context.Context) bool
}

type noProgress struct{}

func (noProgress) Applied(types.NamespacedName, string, bool) {}
func (noProgress) Deleted(types.NamespacedName)               {}
func (noProgress) Synced(context.Context) bool                { return true }

// NewWatcher returns a watcher for the registry, to be added to a manager.
func NewWatcher(informers cache.Cache, registry *Registry, options WatcherOptions) *Watcher {
	if options.Forget == nil {
		options.Forget = func(string, string) {}
	}
	if options.Progress == nil {
		options.Progress = noProgress{}
	}
	return &Watcher{
		cache: informers, registry: registry, log: options.Logger, forget: options.Forget, sessions: options.Sessions,
		progress: options.Progress, served: options.Served,
		externals: &externals{
			options: options.External, clock: options.Clock, log: options.Logger, registry: registry,
			fetchers: map[types.NamespacedName]*running{},
		},
	}
}

// NeedLeaderElection says that every replica watches, not only the leader.
func (w *Watcher) NeedLeaderElection() bool { return false }

// ExternalStatus returns what is known of the fetching of an external issuer's keys; false if there is no fetcher yet.
func (w *Watcher) ExternalStatus(issuer types.NamespacedName) (remotejwks.Status, bool) {
	fetcher := w.externals.fetcher(issuer)
	if fetcher == nil {
		return remotejwks.Status{}, false
	}
	return fetcher.Status(), true
}

// Start watches until the context ends. The registry is synced once all that existed at the start has been applied.
func (w *Watcher) Start(ctx context.Context) error {
	subscriptions := []struct {
		object  client.Object
		handler toolscache.ResourceEventHandler
	}{
		{&v1alpha1.TokenIssuer{}, handler(
			func(issuer *v1alpha1.TokenIssuer) { w.issuerChanged(ctx, issuer) },
			w.issuerDeleted)},
		{&corev1.Secret{}, handler(w.secretChanged, w.secretDeleted)},
		{&v1alpha1.TokenRevocation{}, handler(w.revocationChanged, w.revocationDeleted)},
	}
	var synced []toolscache.InformerSynced
	for _, s := range subscriptions {
		informer, err := w.cache.GetInformer(ctx, s.object)
		if err != nil {
			return fmt.Errorf("watching %T: %w", s.object, err)
		}
		registration, err := informer.AddEventHandler(s.handler)
		if err != nil {
			return fmt.Errorf("watching %T: %w", s.object, err)
		}
		synced = append(synced, registration.HasSynced)
	}
	if w.sessions != nil {
		serving, stop := w.serving(ctx)
		defer stop()
		var running sync.WaitGroup
		running.Go(func() { w.sessions.run(serving) })
		defer running.Wait()
		synced = append(synced, w.sessions.hasSynced)
	}
	if !waitFor(ctx, w.externals.clock, synced) {
		return nil // the manager is stopping
	}
	if !w.progress.Synced(ctx) {
		return nil
	}
	w.registry.markSynced()
	w.log.Info("every issuer, revocation and ended session is in force")
	<-ctx.Done()
	return nil
}

// serving returns a context that ends when nobody is served any more.
func (w *Watcher) serving(ctx context.Context) (context.Context, context.CancelFunc) {
	if w.served == nil {
		return context.WithCancel(ctx)
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		<-w.served
		stop()
	}()
	return serving, func() {}
}

// waitFor polls more often than client-go's own helper, because readiness waits for it.
func waitFor(ctx context.Context, clk clock.Clock, synced []toolscache.InformerSynced) bool {
	for _, done := range synced {
		for !done() {
			select {
			case <-ctx.Done():
				return false
			case <-clk.After(5 * time.Millisecond):
			}
		}
	}
	return true
}

func (w *Watcher) issuerChanged(ctx context.Context, issuer *v1alpha1.TokenIssuer) {
	attach := func(*entry) {}
	if issuer.Spec.External != nil {
		//nolint:contextcheck // What is attached waits on behalf of requests, long after this handler has returned.
		attach = w.externals.attach(w.externals.ensure(ctx, issuer))
	} else {
		w.externals.stop(nameOf(issuer))
	}
	w.tell(w.registry.setIssuer(issuer, attach), "taking over an issuer", nameOf(issuer))
}

func (w *Watcher) issuerDeleted(issuer *v1alpha1.TokenIssuer) {
	w.externals.stop(nameOf(issuer))
	w.registry.deleteIssuer(nameOf(issuer))
	w.forget(issuer.Namespace, issuer.Name)
}

// secretChanged takes over a ring, or keys for refresh tokens. What cannot be read changes nothing: the last good ones go
// on, and the controller says in the issuer's status what is wrong.
func (w *Watcher) secretChanged(secret *corev1.Secret) {
	if name, ok := secretOf(secret, v1alpha1.SecretTypeKeyring, RingSecretName); ok {
		ring, err := keyring.Decode(secret.Data[v1alpha1.DataRing])
		if err == nil {
			err = w.registry.setRing(name, ring)
		}
		w.tell(err, "taking over a ring", name)
	}
	if name, ok := secretOf(secret, v1alpha1.SecretTypeRefreshKeys, RefreshKeysSecretName); ok {
		keys, err := session.DecodeKeys(secret.Data[v1alpha1.DataRefreshKeys])
		if err == nil {
			err = w.registry.setRefreshKeys(name, keys)
		}
		w.tell(err, "taking over the keys for refresh tokens", name)
	}
}

func (w *Watcher) tell(err error, doing string, issuer types.NamespacedName) {
	if err != nil {
		w.log.Error(err, doing, "issuer", issuer.String())
	}
}

// secretDeleted cannot fail: with less there is nothing that could fail to render.
func (w *Watcher) secretDeleted(secret *corev1.Secret) {
	if name, ok := secretOf(secret, v1alpha1.SecretTypeKeyring, RingSecretName); ok {
		_ = w.registry.setRing(name, nil)
	}
	if name, ok := secretOf(secret, v1alpha1.SecretTypeRefreshKeys, RefreshKeysSecretName); ok {
		_ = w.registry.setRefreshKeys(name, nil)
	}
}

func (w *Watcher) revocationChanged(revocation *v1alpha1.TokenRevocation) {
	w.registry.putRule(IssuerOf(revocation), Rule(revocation))
	awaited := !meta.IsStatusConditionTrue(revocation.Status.Conditions, v1alpha1.ConditionEnforced)
	w.progress.Applied(client.ObjectKeyFromObject(revocation), revocation.ResourceVersion, awaited)
}

func (w *Watcher) revocationDeleted(revocation *v1alpha1.TokenRevocation) {
	w.registry.deleteRule(IssuerOf(revocation), Rule(revocation))
	w.progress.Deleted(client.ObjectKeyFromObject(revocation))
}

// secretOf returns the issuer that a Secret of this type and with the name that follows from its issuer belongs to; false
// for any other Secret.
func secretOf(secret *corev1.Secret, of corev1.SecretType, nameFor func(issuer string) string) (types.NamespacedName, bool) {
	name := secret.Labels[v1alpha1.LabelIssuer]
	if secret.Type != of || secret.Name != nameFor(name) {
		return types.NamespacedName{}, false
	}
	return types.NamespacedName{Namespace: secret.Namespace, Name: name}, true
}

// RingSecretName is the name of the Secret that holds an issuer's ring.
func RingSecretName(issuer string) string { return issuer + "-keyring" }

// RefreshKeysSecretName is the name of the Secret that holds the keys for an issuer's refresh tokens.
func RefreshKeysSecretName(issuer string) string { return issuer + "-refresh-keys" }

// IssuerOf returns the issuer that a revocation is about.
func IssuerOf(revocation *v1alpha1.TokenRevocation) types.NamespacedName {
	return types.NamespacedName{Namespace: revocation.Namespace, Name: revocation.Spec.IssuerRef.Name}
}

// Rule is what the spec of a TokenRevocation denies.
func Rule(object *v1alpha1.TokenRevocation) revocation.Rule {
	spec := &object.Spec
	rule := revocation.Rule{ID: string(object.UID), Kind: revocation.All, IssuedBefore: object.CreationTimestamp.Time}
	if spec.IssuedBefore != nil {
		rule.IssuedBefore = spec.IssuedBefore.Time
	}
	for _, target := range []struct {
		kind  revocation.Kind
		value string
	}{
		{revocation.TokenID, spec.TokenID}, {revocation.SessionID, spec.SessionID}, {revocation.Subject, spec.Subject},
		{revocation.ClientID, spec.ClientID}, {revocation.Audience, spec.Audience}, {revocation.KeyID, spec.KeyID},
	} {
		if target.value != "" {
			rule.Kind, rule.Value = target.kind, target.value
		}
	}
	return rule
}

// handler calls changed for an object that appeared or changed, and deleted for one that is gone: also for one that was
// deleted and created anew in between, which an informer can report as a change.
func handler[T client.Object](changed, deleted func(T)) toolscache.ResourceEventHandler {
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc: func(object any) { changed(object.(T)) },
		UpdateFunc: func(before, after any) {
			if before.(T).GetUID() != after.(T).GetUID() {
				deleted(before.(T))
			}
			changed(after.(T))
		},
		DeleteFunc: func(object any) {
			if unknown, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
				object = unknown.Obj
			}
			if last, ok := object.(T); ok {
				deleted(last)
			}
		},
	}
}
