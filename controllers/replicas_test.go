package controllers

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/keyring"
	"github.com/keyturn/keyturn/internal/testenv"
)

// cachedClient reads from a cache of its own, as a replica does, and writes to the API server.
func (w *world) cachedClient() client.WithWatch {
	w.Helper()
	informers := w.cache()
	if err := IndexFields(w.Context(), informers); err != nil {
		w.Fatal(err)
	}
	cached, err := client.NewWithWatch(testenv.Environment(w).Config, client.Options{
		Scheme: testScheme, Cache: &client.CacheOptions{Reader: informers},
	})
	if err != nil {
		w.Fatalf("making a client with a cache: %v", err)
	}
	for _, object := range []client.Object{&v1alpha1.TokenIssuer{}, &v1alpha1.TokenRevocation{}, &corev1.Secret{}, &corev1.ConfigMap{}} {
		if _, err := informers.GetInformer(w.Context(), object); err != nil {
			w.Fatalf("watching %T: %v", object, err)
		}
	}
	return cached
}

// history is every version of an issuer's objects that was ever written, by whomever.
type history struct {
	mu       sync.Mutex
	versions []version
}

type version struct {
	resourceVersion int // orders the writes of all objects: it is etcd's
	object          client.Object
}

func (h *history) record(c client.WithWatch) client.WithWatch {
	return interceptWrites(c, func(_ string, object client.Object, write func() error) error {
		err := write()
		if at, convErr := strconv.Atoi(object.GetResourceVersion()); err == nil && convErr == nil {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.versions = append(h.versions, version{at, object.DeepCopyObject().(client.Object)})
		}
		return err
	})
}

// judge walks through the history and says what was ever wrong.
func (h *history) judge(t *testing.T) (rotations int) {
	slices.SortFunc(h.versions, func(a, b version) int { return a.resourceVersion - b.resourceVersion })
	var ring *keyring.Ring
	var published []string
	var mounted string
	var revision int64
	for _, v := range h.versions {
		switch object := v.object.(type) {
		case *corev1.ConfigMap:
			if now := revisionOf(object); now < revision {
				t.Fatalf("the ConfigMap went from revision %d back to %d", revision, now)
			}
			revision, published = revisionOf(object), keyring.PublishedIDs([]byte(object.Data[v1alpha1.DataJWKS]))
		case *corev1.Secret:
			if object.Type == v1alpha1.SecretTypeSigningKey {
				mounted = string(object.Data[v1alpha1.DataKeyID])
				break
			}
			next, err := keyring.Decode(object.Data[v1alpha1.DataRing])
			if err != nil {
				t.Fatal(err)
			}
			if ring != nil && next.Revision != ring.Revision+1 {
				t.Fatalf("the ring went from revision %d to %d: an update was lost", ring.Revision, next.Revision)
			}
			if ring != nil && next.Active().ID != ring.Active().ID {
				rotations++
				if next.Active().ID != ring.Next().ID {
					t.Fatal("a key became Active that was not Next")
				}
			}
			ring = next
		}
		if mounted != "" && !slices.Contains(published, mounted) {
			t.Fatalf("at %d the mounted key %s is not among the published %v", v.resourceVersion, mounted, published)
		}
	}
	return rotations
}

// Two replicas that both take themselves for the leader, each with a cache that lags behind the other's writes.
func TestTwoReplicasRace(t *testing.T) {
	const rounds = 200
	w := newWorld(t)
	past := &history{}
	random := rand.New(rand.NewPCG(1, 2))
	replicas := make([]*TokenIssuerReconciler, 2)
	for i := range replicas {
		replicas[i] = w.newReconciler(past.record(w.cachedClient()))
	}
	issuer := w.create("shop")
	for round := range rounds {
		w.clock.Step(maxAge + skew)
		if random.IntN(2) == 0 {
			edit(w, issuer, func(i *v1alpha1.TokenIssuer) {
				i.Annotations = map[string]string{v1alpha1.AnnotationRotateRequestedAt: strconv.Itoa(round)}
			})
		}
		var running sync.WaitGroup
		for _, r := range replicas {
			running.Go(func() {
				if _, err := r.Reconcile(t.Context(), w.request("shop")); err != nil {
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		running.Wait()
	}
	edit(w, issuer, func(i *v1alpha1.TokenIssuer) { i.Annotations[v1alpha1.AnnotationRotateRequestedAt] = "last" })
	for i, r := range replicas {
		eventually(t, fmt.Sprintf("replica %d at rest", i), func() error {
			w.clock.Step(maxAge + skew) // a late cache may have it answer the request before first, and Next must ripen again
			if _, err := r.Reconcile(t.Context(), w.request("shop")); err != nil {
				return err
			}
			if got := w.issuer("shop").Status.HandledRotateRequest; got != "last" {
				return fmt.Errorf("handledRotateRequest = %q, want the last one", got)
			}
			return w.coherent("shop")
		})
	}
	w.wantReady("shop")
	rotations := past.judge(t)
	if rotations < rounds/4 {
		t.Errorf("%d rotations in %d rounds: the test raced for nothing", rotations, rounds)
	}
	if keys := len(w.ring("shop").Keys); keys > 5 {
		t.Errorf("%d keys, want at most 5: retired ones go after %s", keys, propagation+lifetime+skew)
	}
	t.Logf("%d rounds, %d writes, %d rotations", rounds, len(past.versions), rotations)
}

// A replica whose watches have stopped moves the ring all the same: a lost race is decided by the API server.
func TestStaleCacheDoesNotStopTheRing(t *testing.T) {
	w := newWorld(t)
	old := w.oneRotationAgo("shop")

	second := w.ring("shop").Active().ID
	w.clock.Step(period)
	if _, err := w.newReconciler(w.frozen(old)).Reconcile(t.Context(), w.request("shop")); err != nil {
		t.Fatal(err)
	}
	w.wantReady("shop")
	if w.ring("shop").Active().ID == second {
		t.Error("the rotation that is due has not happened")
	}
	w.wantNoCondition("shop", v1alpha1.ConditionKeysLost)
}

// derived is what is derived from the ring of the issuer shop.
var derived = map[string]func(w *world) client.Object{
	"ConfigMap":      func(w *world) client.Object { return w.jwks("shop") },
	"mounted Secret": func(w *world) client.Object { return w.mounted("shop") },
}

// A replica that has heard of everything but the newest ring, and whose clock is behind so that nothing seems due, must
// not put back what was derived from the older one.
func TestStaleRingIsNotPublished(t *testing.T) {
	for name, seen := range derived {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			old := w.oneRotationAgo("shop")
			newest := seen(w)
			old[newest.GetName()] = newest

			w.clock.Step(-time.Second)
			if _, err := w.newReconciler(w.journal.record(w.frozen(old))).Reconcile(t.Context(), w.request("shop")); err != nil {
				t.Fatal(err)
			}
			if got := seen(w); got.GetResourceVersion() != newest.GetResourceVersion() {
				t.Errorf("the %s was written from revision %d after revision %d", name, revisionOf(got), revisionOf(newest))
			}
			if err := w.coherent("shop"); err != nil {
				t.Error(err)
			}
		})
	}
}

// What is not there bears no revision, so a replica that has not heard of the newest ring could create it from an older one.
func TestStaleRingCreatesNothing(t *testing.T) {
	for name, missing := range derived {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			old := w.oneRotationAgo("shop")
			deleted := missing(w)
			w.remove(deleted)
			old[deleted.GetName()] = nil

			w.clock.Step(-time.Second)
			if _, err := w.newReconciler(w.frozen(old)).Reconcile(t.Context(), w.request("shop")); err != nil {
				t.Fatal(err)
			}
			if got, want := revisionOf(missing(w)), w.ring("shop").Revision; got != want {
				t.Errorf("the %s was created from revision %d, want %d", name, got, want)
			}
			if err := w.coherent("shop"); err != nil {
				t.Error(err)
			}
		})
	}
}

// What was deleted with its ring, or robbed of its revision, cannot tell that a replica's ring is too old for it.
func TestStaleRingOverwritesNothingWithoutRevision(t *testing.T) {
	for name, lose := range map[string]func(w *world, old map[string]client.Object){
		"deleted with its ring": func(w *world, _ map[string]client.Object) {
			for _, object := range []client.Object{w.ringSecret("shop"), w.jwks("shop"), w.mounted("shop")} {
				w.remove(object)
			}
			w.reconcile("shop")
		},
		"a ConfigMap robbed of its revision": func(w *world, _ map[string]client.Object) {
			w.clock.Step(period - propagation - lifetime - skew)
			w.reconcile("shop")
			edit(w, w.jwks("shop"), func(c *corev1.ConfigMap) { delete(c.Annotations, v1alpha1.AnnotationRingRevision) })
		},
		"a mounted Secret robbed of its revision": func(w *world, old map[string]client.Object) {
			old["shop-jwks"] = w.jwks("shop")
			w.clock.Step(period - propagation - lifetime - skew)
			w.reconcile("shop")
			edit(w, w.mounted("shop"), func(s *corev1.Secret) { delete(s.Annotations, v1alpha1.AnnotationRingRevision) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.settled("shop")
			for range 3 {
				w.clock.Step(period)
				w.reconcile("shop")
			}
			w.clock.Step(propagation + lifetime + skew)
			w.reconcile("shop") // so that nothing is due in the old ring
			old := map[string]client.Object{"shop-keyring": w.ringSecret("shop")}
			lose(w, old)
			published, mounted := w.jwks("shop").Data, w.mounted("shop").Data

			w.clock.Step(-time.Second)
			stale := w.newReconciler(interceptWrites(w.frozen(old), func(_ string, object client.Object, write func() error) error {
				if object.GetName() == "shop-keyring" {
					t.Error("the old ring is to be written, so the test shows nothing")
				}
				return write()
			}))
			if _, err := stale.Reconcile(t.Context(), w.request("shop")); err != nil {
				t.Fatal(err)
			}
			if !maps.Equal(w.jwks("shop").Data, published) || !bytes.Equal(w.mounted("shop").Data[v1alpha1.DataKeyID], mounted[v1alpha1.DataKeyID]) {
				t.Error("the keys were published or mounted anew from a ring that is gone")
			}
			w.reconcile("shop")
			if err := w.coherent("shop"); err != nil {
				t.Error(err)
			}
		})
	}
}

// oneRotationAgo makes an issuer, and returns its objects as they were before the rotation that it lets happen.
func (w *world) oneRotationAgo(name string) map[string]client.Object {
	w.Helper()
	w.settled(name)
	old := map[string]client.Object{}
	for _, object := range []client.Object{w.ringSecret(name), w.jwks(name), w.mounted(name)} {
		old[object.GetName()] = object
	}
	w.clock.Step(period)
	w.reconcile(name)
	return old
}

// frozen is a client for which objects stay as they were: those named, and nil for one that was not there. It has all
// others as they are.
func (w *world) frozen(old map[string]client.Object) client.WithWatch {
	return interceptor.NewClient(withFields(w.WithWatch), interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, name client.ObjectKey, object client.Object, options ...client.GetOption) error {
			was, frozen := old[name.Name]
			if !frozen {
				return c.Get(ctx, name, object, options...)
			}
			switch was := was.(type) {
			case nil:
				return apierrors.NewNotFound(schema.GroupResource{}, name.Name)
			case *corev1.Secret:
				was.DeepCopyInto(object.(*corev1.Secret))
			case *corev1.ConfigMap:
				was.DeepCopyInto(object.(*corev1.ConfigMap))
			case *v1alpha1.TokenIssuer:
				was.DeepCopyInto(object.(*v1alpha1.TokenIssuer))
			}
			return nil
		},
	})
}
