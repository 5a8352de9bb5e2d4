package controllers

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/keyturn/keyturn/api/v1alpha1"
)

// A key that was retired is counted out once nobody mounts it any more. These tests are about when that is known where
// keys are not exported.

func exportOff(i *v1alpha1.TokenIssuer) { i.Spec.Signing.Secret.Export = new(bool) }

func exportOn(i *v1alpha1.TokenIssuer) { i.Spec.Signing.Secret.Export = nil }

// retired returns when the key is to be removed; zero while that is not known.
func (w *world) retired(issuer, key string) time.Time {
	w.Helper()
	found := w.ring(issuer).Key(key)
	if found == nil {
		w.Fatalf("the key %s is not in the ring any more", key)
	}
	return found.RemoveAfter
}

// switchedOff makes an issuer whose key is mounted, does something to the mounted Secret, and switches exporting off. One
// period later it returns that key.
func (w *world) switchedOff(change func(*corev1.Secret)) (key string) {
	w.Helper()
	issuer := w.settled("shop")
	key = w.ring("shop").Active().ID
	edit(w, w.mounted("shop"), change)
	edit(w, issuer, exportOff)
	w.clock.Step(period)
	w.reconcile("shop")
	return key
}

func held(s *corev1.Secret) { s.Finalizers = []string{"example.com/held"} }

func released(s *corev1.Secret) { s.Finalizers = nil }

// careful is a client with which no key is counted out while it is mounted.
func (w *world) careful(c client.WithWatch) client.WithWatch {
	return interceptWrites(c, func(_ string, object client.Object, write func() error) error {
		err := write()
		if object.GetName() != "shop-keyring" || err != nil {
			return err
		}
		var mounted corev1.Secret
		if err := w.Get(w.Context(), client.ObjectKey{Namespace: w.namespace, Name: "shop-signing-key"}, &mounted); err != nil {
			return client.IgnoreNotFound(err)
		}
		if key := w.ring("shop").Key(keyIn(&mounted)); key == nil || !key.RemoveAfter.IsZero() {
			w.Errorf("the key %s is counted out while it is mounted", keyIn(&mounted))
		}
		return nil
	})
}

func TestKeyIsCountedOutOnceItsSecretIsGone(t *testing.T) {
	w := newWorld(t)
	key := w.switchedOff(func(*corev1.Secret) {})
	w.wantGone("shop-signing-key", &corev1.Secret{})
	if got, want := w.retired("shop", key), w.clock.Now().Add(propagation+lifetime+skew); !got.Equal(want) {
		t.Errorf("removeAfter = %s, want %s", got, want)
	}
	w.wantReady("shop")
}

// A deletion that was accepted has not taken the Secret from anybody yet.
func TestKeyInASecretThatIsHeldIsNotCountedOut(t *testing.T) {
	w := newWorld(t)
	key := w.switchedOff(held)
	w.clock.Step(period)
	w.reconcile("shop")
	if keys := w.ring("shop").Keys; len(keys) != 4 || keys[2].RemoveAfter.IsZero() {
		t.Errorf("a key that was never mounted is not counted out: %+v", keys)
	}
	w.journal.take()
	w.reconcile("shop")
	if at := w.retired("shop", key); !at.IsZero() {
		t.Errorf("removeAfter = %s while the Secret is held", at)
	}
	if wrote := w.journal.take(); len(wrote) > 0 {
		t.Errorf("waiting for the Secret to go writes %v", wrote)
	}
	edit(w, w.mounted("shop"), released)
	w.reconcile("shop")
	if w.retired("shop", key).IsZero() {
		t.Error("the key is not counted out although the Secret has gone")
	}
}

// Without its label the Secret is nobody's, and workloads mount it all the same.
func TestKeyInARelabelledSecretIsNotCountedOut(t *testing.T) {
	w := newWorld(t)
	key := w.switchedOff(relabel[*corev1.Secret](v1alpha1.LabelComponent, ""))
	w.clock.Step(period)
	w.reconcile("shop")
	w.reconcile("shop")
	if at := w.retired("shop", key); !at.IsZero() {
		t.Errorf("removeAfter = %s while the Secret is there", at)
	}
	if keys := w.ring("shop").Keys; len(keys) != 4 || keys[2].RemoveAfter.IsZero() {
		t.Errorf("a key that was never mounted is not counted out: %+v", keys)
	}
	said := w.wantCondition("shop", v1alpha1.ConditionSecretConflict, metav1.ConditionTrue, v1alpha1.ReasonSecretConflict).Message
	if !strings.Contains(said, "holds the key "+key) {
		t.Errorf("the condition says %q", said)
	}
	edit(w, w.mounted("shop"), relabel[*corev1.Secret](v1alpha1.LabelComponent, v1alpha1.ComponentSigningKey))
	w.reconcile("shop")
	w.wantGone("shop-signing-key", &corev1.Secret{})
	if w.retired("shop", key).IsZero() {
		t.Error("the key is not counted out although the Secret has gone")
	}
	w.wantReady("shop")
}

// Somebody else's Secret of that name holds no key of ours.
func TestForeignSecretDoesNotHoldUpAKey(t *testing.T) {
	w := newWorld(t)
	w.placed(&corev1.Secret{}, "shop-signing-key", nil)
	w.settled("shop", exportOff)
	key := w.ring("shop").Active().ID
	w.clock.Step(period)
	w.reconcile("shop")
	if w.retired("shop", key).IsZero() {
		t.Error("the key is not counted out because of somebody else's Secret")
	}
	w.wantReady("shop")
}

// Somebody else's ConfigMap stops the exchange of keys, and not that a key is taken back.
func TestForeignConfigMapDoesNotKeepTheSecret(t *testing.T) {
	w := newWorld(t)
	issuer := w.settled("shop")
	edit(w, w.jwks("shop"), relabel[*corev1.ConfigMap](v1alpha1.LabelComponent, ""))
	edit(w, issuer, exportOff)
	w.reconcile("shop")
	w.wantGone("shop-signing-key", &corev1.Secret{})
	w.wantCondition("shop", v1alpha1.ConditionSecretConflict, metav1.ConditionTrue, v1alpha1.ReasonSecretConflict)
}

// A replica that has heard neither that keys are exported again nor of the Secret must neither take the retired key for
// withdrawn, nor withdraw it. It asks, and does what is to be done.
func TestStaleCacheDoesNotWithdraw(t *testing.T) {
	w := newWorld(t)
	issuer := w.settled("shop", exportOff)
	old := map[string]client.Object{"shop": w.issuer("shop"), "shop-signing-key": nil}
	edit(w, issuer, exportOn)
	w.reconcile("shop")
	before := w.mounted("shop")
	w.clock.Step(period)
	result, err := w.newReconciler(w.careful(w.frozen(old))).Reconcile(t.Context(), w.request("shop"))
	if err != nil || result.RequeueAfter <= raceRetry {
		t.Errorf("RequeueAfter = %s, error %v; want a replica that has come to rest", result.RequeueAfter, err)
	}
	if after := w.mounted("shop"); after.UID != before.UID || keyIn(after) != w.ring("shop").Active().ID {
		t.Error("the mounted Secret was deleted, or has not got the new key")
	}
	if w.retired("shop", keyIn(before)).IsZero() {
		t.Error("the key that was mounted before is not counted out")
	}
	w.wantReady("shop")
	if err := w.coherent("shop"); err != nil {
		t.Error(err)
	}
}

// That the Secret was gone before a key was retired says nothing about that key: another replica, which has heard that
// exporting is on again, may have mounted it in between.
func TestWithdrawalIsAskedForOfEachRing(t *testing.T) {
	w := newWorld(t)
	// One key waits to be counted out, so the API server is asked.
	w.switchedOff(held)
	issuer := w.issuer("shop")
	stale := map[string]client.Object{"shop": w.issuer("shop")}
	edit(w, w.mounted("shop"), released)
	w.clock.Step(period)
	var mounted string
	slow := interceptWrites(w.careful(w.frozen(stale)), func(verb string, object client.Object, write func() error) error {
		if verb == "update" && object.GetName() == "shop-keyring" && mounted == "" {
			edit(w, issuer, func(i *v1alpha1.TokenIssuer) {
				exportOn(i)
				i.Spec.Signing.Rotation.Period = duration(10 * period)
			})
			if _, err := w.newReconciler(w.stopsAt("shop-keyring")).Reconcile(t.Context(), w.request("shop")); err == nil {
				t.Error("no error of the other replica, want that of the ring")
			}
			mounted = keyIn(w.mounted("shop"))
		}
		return write()
	})
	if _, err := w.newReconciler(slow).Reconcile(t.Context(), w.request("shop")); err != nil {
		t.Fatal(err)
	}
	if w.retired("shop", mounted).IsZero() || keyIn(w.mounted("shop")) == mounted {
		t.Error("the key was not exchanged, so the test shows nothing")
	}
}

// Whoever mounts a retired key again, from a backup or by a write that was long under way, has tokens of it for as long as
// it is mounted.
func TestKeyThatIsMountedAgainIsKept(t *testing.T) {
	w := newWorld(t)
	issuer := w.settled("shop")
	before := w.mounted("shop")
	edit(w, issuer, exportOff)
	w.clock.Step(period)
	w.reconcile("shop")
	if w.retired("shop", keyIn(before)).IsZero() {
		t.Fatal("the key is not counted out although the Secret has gone")
	}
	before.ResourceVersion, before.Finalizers = "", []string{"example.com/held"}
	if err := w.Create(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	w.clock.Step(propagation + lifetime + skew)
	w.reconcile("shop")
	if at := w.retired("shop", keyIn(before)); !at.IsZero() {
		t.Errorf("removeAfter = %s while the key is mounted", at)
	}
	edit(w, w.mounted("shop"), released)
	w.reconcile("shop")
	if got, want := w.retired("shop", keyIn(before)), w.clock.Now().Add(propagation+lifetime+skew); !got.Equal(want) {
		t.Errorf("removeAfter = %s, want %s", got, want)
	}
}

// A key is dropped because it is compromised, whatever else cannot be found out.
func TestRevokedKeyLeavesWhileTheSecretCannotBeRead(t *testing.T) {
	w := newWorld(t)
	w.switchedOff(held)
	active := w.ring("shop").Active().ID
	w.revoke("leak", "shop", func(s *v1alpha1.TokenRevocationSpec) { s.KeyID = active })
	w.reconciler.APIReader = interceptor.NewClient(w.WithWatch, interceptor.Funcs{
		Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return errStopped
		},
	})
	if _, err := w.try("shop"); err == nil {
		t.Error("no error, want that of the mounted Secret")
	}
	if w.ring("shop").Key(active) != nil || strings.Contains(w.jwks("shop").Data[v1alpha1.DataJWKS], active) {
		t.Error("the compromised key is still there")
	}
}

// The API server is read past the cache where a mistake would cost tokens, and otherwise not.
func TestReadsPastTheCache(t *testing.T) {
	for name, test := range map[string]struct {
		edit     func(*v1alpha1.TokenIssuer)
		rotation int // reads for one
	}{
		"exported":     {exportOn, 0},
		"not exported": {exportOff, 1},
		"retained":     {func(i *v1alpha1.TokenIssuer) { i.Spec.Signing.DeletionPolicy = v1alpha1.DeletionRetain }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			reads := 0
			w.reconciler.APIReader = interceptor.NewClient(w.WithWatch, interceptor.Funcs{
				Get: func(ctx context.Context, c client.WithWatch, name client.ObjectKey, object client.Object, options ...client.GetOption) error {
					reads++
					return c.Get(ctx, name, object, options...)
				},
			})
			want := func(what string, count int) {
				t.Helper()
				if reads != count {
					t.Errorf("%s: %d reads, want %d", what, reads, count)
				}
				reads = 0
			}
			w.settled("shop", test.edit)
			want("a new issuer, whose objects nobody has heard of", 3)
			w.reconcile("shop")
			want("at rest", 0)
			w.clock.Step(period)
			w.reconcile("shop")
			want("a rotation", test.rotation)
			w.reconcile("shop")
			want("at rest again", 0)
			w.remove(w.jwks("shop"))
			w.reconcile("shop")
			want("the ConfigMap anew", 1)
		})
	}
}
