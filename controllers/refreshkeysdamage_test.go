package controllers

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/session"
)

func TestRefreshKeysDeletedByHand(t *testing.T) {
	w := newWorld(t)
	w.settled("shop", sessions)
	lost := w.newestRefreshKey("shop")
	w.told()
	w.remove(w.refreshSecret("shop"))
	w.reconcile("shop")
	w.wantReady("shop")
	id := w.newestRefreshKey("shop")
	if id == lost {
		t.Fatal("the lost key is back, so the test shows nothing")
	}
	w.wantRefreshKeys("shop", id)
	told := strings.Join(w.told(), "\n")
	for _, want := range []string{"Warning RefreshKeysLost", "every session has to log in again", "Normal RefreshKeyCreated Key " + id} {
		if !strings.Contains(told, want) {
			t.Errorf("no %q in the events:\n%s", want, told)
		}
	}
	w.reconcile("shop")
	if told := w.told(); len(told) > 0 {
		t.Errorf("the loss is told again: %q", told)
	}
}

// Without its label the Secret is out of every cache, and looks as if it had been deleted. It is not.
func TestRefreshKeysWithoutTheirLabel(t *testing.T) {
	w := newWorld(t)
	w.settled("shop", sessions)
	before := w.newestRefreshKey("shop")
	edit(w, w.refreshSecret("shop"), relabel[*corev1.Secret](v1alpha1.LabelComponent, ""))
	version := w.refreshSecret("shop").ResourceVersion
	w.reconcile("shop")
	w.wantCondition("shop", v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict)
	if w.refreshSecret("shop").ResourceVersion != version {
		t.Fatal("the Secret was written although it did not bear the operator's label")
	}
	edit(w, w.refreshSecret("shop"), relabel[*corev1.Secret](v1alpha1.LabelComponent, v1alpha1.ComponentRefreshKeys))
	w.reconcile("shop")
	w.wantReady("shop")
	w.wantRefreshKeys("shop", before)
}

func TestForeignSecretInPlaceOfRefreshKeys(t *testing.T) {
	tests := map[string]struct {
		secretType corev1.SecretType
		labels     map[string]string
	}{
		"unlabelled":       {corev1.SecretTypeOpaque, nil},
		"another issuer's": {v1alpha1.SecretTypeRefreshKeys, labelsOf("other", v1alpha1.ComponentRefreshKeys)},
		"of another type":  {corev1.SecretTypeOpaque, labelsOf("shop", v1alpha1.ComponentRefreshKeys)},
		"a mounted Secret": {v1alpha1.SecretTypeSigningKey, labelsOf("shop", v1alpha1.ComponentSigningKey)},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			foreign := w.placed(&corev1.Secret{Type: test.secretType}, refreshKeysName, test.labels)
			version := foreign.GetResourceVersion()
			w.create("shop", sessions)
			for range 2 {
				if got := w.reconcile("shop").RequeueAfter; got != conflictRetry {
					t.Errorf("RequeueAfter = %s, want %s", got, conflictRetry)
				}
				w.wantCondition("shop", v1alpha1.ConditionSecretConflict, metav1.ConditionTrue, v1alpha1.ReasonSecretConflict)
				condition := w.wantCondition("shop", v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict)
				if !strings.Contains(condition.Message, refreshKeysName) {
					t.Errorf("the condition does not name the Secret: %s", condition.Message)
				}
			}
			if fetch(w, refreshKeysName, foreign).GetResourceVersion() != version {
				t.Fatal("the foreign Secret was written")
			}
			// The ring has its keys, and tokens are signed and verified.
			if err := w.coherent("shop"); err != nil {
				t.Error(err)
			}
			w.remove(foreign)
			w.reconcile("shop")
			w.wantReady("shop")
			w.wantNoCondition("shop", v1alpha1.ConditionSecretConflict)
		})
	}
}

func TestRefreshKeysCorruptedByHand(t *testing.T) {
	tests := map[string]func(document []byte) []byte{
		"gone":            func([]byte) []byte { return nil },
		"cut off":         func(document []byte) []byte { return document[:len(document)-20] },
		"a later version": func(d []byte) []byte { return bytes.Replace(d, []byte(`"version":1`), []byte(`"version":2`), 1) },
		"no keys":         func([]byte) []byte { return []byte(`{"version":1,"revision":1,"keys":[]}`) },
	}
	for name, corrupt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.settled("shop", sessions)
			good, known := w.refreshSecret("shop").Data, w.toldRefreshKeys("shop")
			edit(w, w.refreshSecret("shop"), func(s *corev1.Secret) {
				s.Data = map[string][]byte{v1alpha1.DataRefreshKeys: corrupt(slices.Clone(good[v1alpha1.DataRefreshKeys]))}
			})
			bad, active := w.refreshSecret("shop"), w.ring("shop").Active().ID
			w.clock.Step(period)
			for range 2 {
				if got := w.reconcile("shop").RequeueAfter; got != conflictRetry {
					t.Errorf("RequeueAfter = %s, want %s", got, conflictRetry)
				}
			}
			w.journal.take()
			w.reconcile("shop")
			if got := w.journal.take(); len(got) > 0 {
				t.Errorf("looking again and again writes %v", got)
			}
			condition := w.wantCondition("shop", v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonRefreshKeysUnreadable)
			for _, want := range []string{refreshKeysName, "restore the Secret from a backup, or delete it"} {
				if !strings.Contains(condition.Message, want) {
					t.Errorf("the message lacks %q: %s", want, condition.Message)
				}
			}
			if strings.Contains(condition.Message, `"secret"`) || len(condition.Message) > 500 {
				t.Errorf("the message quotes the document: %s", condition.Message)
			}
			if w.refreshSecret("shop").ResourceVersion != bad.ResourceVersion {
				t.Fatal("keys that cannot be read were overwritten")
			}
			if got := w.toldRefreshKeys("shop"); !slices.Equal(got, known) {
				t.Errorf("status.refreshKeys = %v, want what was known: %v", got, known)
			}
			if w.ring("shop").Active().ID == active {
				t.Error("the ring was not rotated meanwhile")
			}
			edit(w, w.refreshSecret("shop"), func(s *corev1.Secret) { s.Data = good })
			w.reconcile("shop")
			w.wantReady("shop")
			if got := w.toldRefreshKeys("shop"); got[0] != known[0] {
				t.Errorf("the oldest key is %s, want %s as before", got[0], known[0])
			}
		})
	}
}

// What stands in the way of the ring is none of the refresh tokens' business.
func TestRefreshKeysInSpiteOfUnreadableRing(t *testing.T) {
	w := newWorld(t)
	w.settled("shop", sessions)
	first := w.newestRefreshKey("shop")
	edit(w, w.ringSecret("shop"), func(s *corev1.Secret) { s.Data[v1alpha1.DataRing] = []byte("{}") })
	w.clock.Step(keyPeriod)
	w.reconcile("shop")
	w.wantCondition("shop", v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonRingUnreadable)
	w.wantRefreshKeys("shop", first, w.newestRefreshKey("shop"))
	if len(w.toldRefreshKeys("shop")) != 2 {
		t.Error("the next key for refresh tokens was not made")
	}
}

// Writes that fail keep their own keys from moving and no others, and are tried again.
func TestWriteOfRefreshKeysFails(t *testing.T) {
	w := newWorld(t)
	healthy := w.reconciler.Client
	broken := interceptWrites(withFields(w.WithWatch), func(_ string, object client.Object, write func() error) error {
		if object.GetName() == refreshKeysName {
			return errStopped
		}
		return write()
	})
	w.reconciler.Client = broken
	w.create("shop", sessions)
	if _, err := w.try("shop"); !errors.Is(err, errStopped) {
		t.Fatalf("error %v, want that of the write", err)
	}
	condition := w.wantCondition("shop", v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonWriteFailed)
	if !strings.Contains(condition.Message, "refresh tokens") || w.ring("shop").Active() == nil {
		t.Errorf("%s: want the keys for refresh tokens, and a ring all the same", condition.Message)
	}

	w.reconciler.Client = healthy
	w.reconcile("shop")
	w.wantReady("shop")
	first, active := w.newestRefreshKey("shop"), w.ring("shop").Active().ID
	w.reconciler.Client = broken
	w.clock.Step(period)
	if _, err := w.try("shop"); !errors.Is(err, errStopped) {
		t.Fatalf("error %v, want that of the write", err)
	}
	w.wantReady("shop") // the first key goes on
	w.wantRefreshKeys("shop", first)
	if w.ring("shop").Active().ID == active {
		t.Error("the ring was not rotated")
	}
	if message := w.wantCondition("shop", v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady).Message; !strings.Contains(message, errStopped.Error()) {
		t.Errorf("the status does not tell the failure: %s", message)
	}
}

// Two replicas that both take themselves for the leader, each with a cache of its own: no write is lost, and no key goes
// before its time.
func TestTwoReplicasRaceForRefreshKeys(t *testing.T) {
	const rounds = 60
	w := newWorld(t)
	past := &history{}
	random := rand.New(rand.NewPCG(3, 4))
	replicas := make([]*TokenIssuerReconciler, 2)
	w.create("shop", sessions)
	for i := range replicas {
		replicas[i] = w.newReconciler(past.record(w.cachedSince("shop")))
	}
	for round := range rounds {
		w.clock.Step(time.Duration(random.IntN(int(keyPeriod))))
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
	slices.SortFunc(past.versions, func(a, b version) int { return a.resourceVersion - b.resourceVersion })
	var before *session.Keys
	created := map[string]bool{}
	for _, v := range past.versions {
		secret, ok := v.object.(*corev1.Secret)
		if !ok || secret.Type != v1alpha1.SecretTypeRefreshKeys {
			continue
		}
		keys, err := session.DecodeKeys(secret.Data[v1alpha1.DataRefreshKeys])
		if err != nil {
			t.Fatal(err)
		}
		if before != nil && keys.Revision != before.Revision+1 {
			t.Fatalf("the keys went from revision %d to %d: an update was lost", before.Revision, keys.Revision)
		}
		for _, key := range keys.All() {
			if before != nil && !before.Has(key.ID) && created[key.ID.String()] {
				t.Fatalf("the key %s is back", key.ID)
			}
			created[key.ID.String()] = true
		}
		before = keys
	}
	if len(created) < rounds/4 {
		t.Errorf("%d keys in %d rounds: the test raced for nothing", len(created), rounds)
	}
}
