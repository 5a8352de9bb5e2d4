package servingcert

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/utils/clock"
)

const (
	// passTimeout bounds one look at the Secrets, with all its writes.
	passTimeout = 30 * time.Second
	// passRounds bounds how often one look reads again after a write or a lost race.
	passRounds = 10
	// shortestPause and longestPause are those after a failure; the pause doubles each time.
	shortestPause, longestPause = time.Second, time.Minute
	// longestSleep is when the Secrets are looked at again at the latest: timers do not see the wall clock jump.
	longestSleep = time.Hour
	// Writes in a row that a start or a rotation never needs, and then one every writePeriod. It is what keeps two
	// replicas calm whose clocks disagree about whether a certificate has expired.
	writeBurst, writePeriod = 20, time.Minute
)

// Options are what a Keeper needs.
type Options struct {
	// Client reads, watches and writes the two Secrets and the ConfigMap: get, list, watch and update by their names, and
	// create.
	Client Client
	// Namespace and Name are those of the Secret with the serving certificate, and of the ConfigMap that says what to
	// trust. The Secret with the authorities is named like it, with "-ca" at its end.
	Namespace, Name string
	// Hosts are the names and addresses that clients call the server by.
	Hosts Hosts
	// Policy says how long things last. Default: DefaultPolicy.
	Policy Policy
	// Clock is the time. Default: the real one.
	Clock clock.Clock
	// Logger gets a line for every change and for every failure.
	Logger logr.Logger
}

// Client is the part of a clientset that a Keeper needs.
type Client interface {
	corev1client.SecretsGetter
	corev1client.ConfigMapsGetter
}

// Keeper keeps the serving certificate and hands it to TLS handshakes. Every replica has one.
type Keeper struct {
	options   Options
	secrets   secrets
	published published
	writes    flowcontrol.PassiveRateLimiter

	// serving is nil until the first certificate is there. It is never taken away: without an API server, and without a
	// Secret, the last one goes on.
	serving atomic.Pointer[Leaf]
	// problem is why the last look at the Secrets has failed; nil if it has not.
	problem atomic.Pointer[error]
	// changed has an element when one of the objects has changed.
	changed chan struct{}
}

// New returns a Keeper that has not looked yet.
func New(options Options) *Keeper {
	if options.Policy == (Policy{}) {
		options.Policy = DefaultPolicy
	}
	if options.Clock == nil {
		options.Clock = clock.RealClock{}
	}
	perSecond := float32(1 / writePeriod.Seconds())
	return &Keeper{
		options: options,
		secrets: secrets{
			client: options.Client.Secrets(options.Namespace), namespace: options.Namespace, name: options.Name,
		},
		published: published{
			client: options.Client.ConfigMaps(options.Namespace), namespace: options.Namespace, name: options.Name,
		},
		writes:  flowcontrol.NewTokenBucketPassiveRateLimiterWithClock(perSecond, writeBurst, options.Clock),
		changed: make(chan struct{}, 1),
	}
}

// GetCertificate is for tls.Config. It returns an error as long as there is no certificate, which says why.
func (k *Keeper) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if leaf := k.serving.Load(); leaf != nil {
		return &leaf.pair, nil
	}
	if problem := k.problem.Load(); problem != nil {
		return nil, fmt.Errorf("there is no serving certificate yet: %w", *problem)
	}
	return nil, errors.New("there is no serving certificate yet: its Secret has not been read")
}

// Run keeps the certificate until ctx ends. It tells expires when the certificate expires, at every change. What fails
// is logged and tried again, so it returns no error.
func (k *Keeper) Run(ctx context.Context, expires func(time.Time)) error {
	serving, servingErr := informer[*corev1.SecretList](k, k.secrets.client, &corev1.Secret{}, k.secrets.name)
	authorities, authoritiesErr := informer[*corev1.SecretList](k, k.secrets.client, &corev1.Secret{}, k.secrets.name+authoritiesSuffix)
	published, publishedErr := informer[*corev1.ConfigMapList](k, k.published.client, &corev1.ConfigMap{}, k.published.name)
	if err := errors.Join(servingErr, authoritiesErr, publishedErr); err != nil {
		return err
	}
	var watching wait.Group
	defer watching.Wait()
	watching.StartWithContext(ctx, serving.RunWithContext)
	watching.StartWithContext(ctx, authorities.RunWithContext)
	watching.StartWithContext(ctx, published.RunWithContext)
	pause := shortestPause
	for {
		wake, err := k.pass(ctx, expires)
		if ctx.Err() != nil {
			return nil
		}
		sleep := min(wake.Sub(k.options.Clock.Now()), longestSleep)
		if err != nil {
			k.problem.Store(&err)
			k.options.Logger.Error(err, "keeping the serving certificate",
				"serving", k.serving.Load() != nil, "againIn", pause.String())
			sleep, pause = pause, min(2*pause, longestPause)
		} else {
			k.problem.Store(nil)
			pause = shortestPause
		}
		if !k.sleep(ctx, sleep) {
			return nil
		}
	}
}

// sleep returns when one of the objects has changed, and after the duration at the latest; false when ctx has ended.
func (k *Keeper) sleep(ctx context.Context, duration time.Duration) bool {
	timer := k.options.Clock.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-k.changed:
	case <-timer.C():
	}
	return true
}

// watched is a client of one kind of object in one namespace.
type watched[List runtime.Object] interface {
	List(ctx context.Context, options metav1.ListOptions) (List, error)
	Watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error)
}

// informer watches one object by its name, which is possible with rights to that one alone. It only says that there is
// something new: what counts is then read from the API server, so that the objects fit together.
func informer[List runtime.Object](k *Keeper, client watched[List], like runtime.Object, name string) (cache.SharedInformer, error) {
	selector := fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()
	informer := cache.NewSharedInformer(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.FieldSelector = selector
			return client.List(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.FieldSelector = selector
			return client.Watch(ctx, options)
		},
	}, like, 0)
	changed := func() {
		select {
		case k.changed <- struct{}{}:
		default: // It has not been seen to yet, and this is seen to with it.
		}
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { changed() }, UpdateFunc: func(any, any) { changed() }, DeleteFunc: func(any) { changed() },
	})
	if err != nil {
		return nil, fmt.Errorf("watching %T %s: %w", like, k.secrets.path(name), err)
	}
	return informer, nil
}

// pass looks at the Secrets and writes until there is nothing to write, and returns when to look again.
func (k *Keeper) pass(ctx context.Context, expires func(time.Time)) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, passTimeout)
	defer cancel()
	for range passRounds {
		decision, err := k.round(ctx, expires)
		if errors.Is(err, errLostRace) {
			k.options.Logger.V(1).Info("reading the serving certificate again", "reason", err.Error())
			continue
		}
		if err != nil || !decision.Changed() {
			return decision.Wake, err
		}
	}
	return time.Time{}, fmt.Errorf("the Secrets of the serving certificate %s changed %d times while they were looked "+
		"at; see whether another program writes them", k.secrets.path(k.secrets.name), passRounds)
}

// round reads, decides, and writes what was decided.
func (k *Keeper) round(ctx context.Context, expires func(time.Time)) (Decision, error) {
	before, err := k.secrets.read(ctx)
	if err != nil {
		return Decision{}, err
	}
	now := k.options.Clock.Now()
	if before.bundle.servable(now) {
		k.serve(before.bundle.Leaf, expires) // before anything else that can fail
	}
	decision, err := Plan(now, k.options.Hosts, k.options.Policy, before.bundle)
	if err != nil {
		return decision, err
	}
	if !decision.Changed() {
		return decision, k.published.publish(ctx, before.serving.Data[caKey], k.writes)
	}
	if before.damage != nil {
		k.options.Logger.Error(before.damage, "replacing what cannot be read", "secret", k.secrets.path(k.secrets.name))
	}
	if !k.writes.TryAccept() {
		return decision, fmt.Errorf("the Secrets of the serving certificate %s have changed too often; compare the clocks "+
			"of the replicas, and see whether another program writes them", k.secrets.path(k.secrets.name))
	}
	err = k.write(ctx, before, &decision)
	return decision, err
}

// write writes what was decided. It is served when it has been read again, like what another replica writes.
func (k *Keeper) write(ctx context.Context, before *found, decision *Decision) error {
	if len(decision.AuthorityChanges) > 0 {
		if err := k.secrets.writeAuthorities(ctx, before, decision.Bundle); err != nil {
			return err
		}
		for _, change := range decision.AuthorityChanges {
			k.options.Logger.Info("changed the authorities for serving certificates", "change", change)
		}
	}
	if !decision.ServingChanged {
		return nil
	}
	if err := k.secrets.writeServing(ctx, before, decision.Bundle); err != nil {
		return err
	}
	if decision.LeafChange != "" {
		k.options.Logger.Info("rotated the serving certificate", "change", decision.LeafChange)
	}
	return nil
}

// serve swaps the certificate for handshakes to come. Connections that are open stay as they are.
func (k *Keeper) serve(leaf *Leaf, expires func(time.Time)) {
	certificate := leaf.Certificate()
	if before := k.serving.Swap(leaf); before != nil && before.Certificate().Equal(certificate) {
		return
	}
	expires(certificate.NotAfter)
	k.options.Logger.Info("serving with a new certificate", "secret", k.secrets.path(k.secrets.name),
		"hosts", []string(hostsOf(certificate)), "expires", certificate.NotAfter.UTC().Format(time.RFC3339))
}
