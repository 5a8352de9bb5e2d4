package controllers

import (
	"bytes"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/keyring"
	"github.com/keyturn/keyturn/internal/token"
)

func TestRingDeletedByHand(t *testing.T) {
	w := newWorld(t)
	issuer := w.settled("shop")
	r := w.replica()
	lost, old := w.ring("shop"), w.token(issuer)
	r.wantSoon(old, token.Allowed)
	w.told()
	w.remove(w.ringSecret("shop"))
	w.clock.Step(time.Minute)
	w.reconcile("shop")

	w.wantReady("shop")
	w.wantCondition("shop", v1alpha1.ConditionKeysLost, metav1.ConditionTrue, v1alpha1.ReasonKeysLost)
	if told := strings.Join(w.told(), "\n"); !strings.Contains(told, "Warning KeysLost") {
		t.Errorf("no warning that keys were lost in:\n%s", told)
	}
	ring := w.ring("shop")
	for i := range lost.Keys {
		if ring.Key(lost.Keys[i].ID) != nil {
			t.Error("a lost key is in the new ring")
		}
	}
	if ring.Revision < lost.Revision+1<<20 {
		t.Errorf("revision %d follows the lost %d too closely: a replica that still holds the lost ring could pass as newer", ring.Revision, lost.Revision)
	}
	r.wantSoon(w.token(issuer), token.Allowed)
	r.wantSoon(old, token.KeyUnknown)

	w.clock.Step(propagation + lifetime + skew + time.Second)
	w.reconcile("shop")
	w.wantReady("shop")
	w.wantNoCondition("shop", v1alpha1.ConditionKeysLost) // the last token of the lost keys has expired
}

func TestRingCorruptedByHand(t *testing.T) {
	tests := map[string]func(ring *corev1.Secret){
		"empty":           func(s *corev1.Secret) { s.Data[v1alpha1.DataRing] = nil },
		"gone":            func(s *corev1.Secret) { delete(s.Data, v1alpha1.DataRing) },
		"cut off":         func(s *corev1.Secret) { s.Data[v1alpha1.DataRing] = s.Data[v1alpha1.DataRing][:200] },
		"a later version": replaceInRing(`"version":1`, `"version":2`),
		"unknown state":   replaceInRing(`"state":"Active"`, `"state":"Passive"`),
		"no next key":     replaceInRing(`"state":"Next"`, `"state":"Active"`),
	}
	for name, corrupt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.settled("shop")
			good := w.ringSecret("shop").Data
			edit(w, w.ringSecret("shop"), corrupt)
			bad := w.ringSecret("shop")
			w.clock.Step(2 * period)
			w.journal.take()
			for range 2 {
				if got := w.reconcile("shop").RequeueAfter; got != conflictRetry {
					t.Errorf("RequeueAfter = %s, want %s", got, conflictRetry)
				}
			}
			if got := w.journal.take(); len(got) != 1 {
				t.Errorf("writes = %v, want the status once", got)
			}
			condition := w.wantCondition("shop", v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonRingUnreadable)
			if strings.Contains(condition.Message, `"d"`) || len(condition.Message) > 400 {
				t.Errorf("the message quotes the ring: %s", condition.Message)
			}
			after := w.ringSecret("shop")
			if after.ResourceVersion != bad.ResourceVersion || !bytes.Equal(after.Data[v1alpha1.DataRing], bad.Data[v1alpha1.DataRing]) {
				t.Fatal("a ring that cannot be read was overwritten")
			}
			edit(w, after, func(s *corev1.Secret) { s.Data = good })
			w.reconcile("shop")
			w.wantReady("shop")
			w.wantNoCondition("shop", v1alpha1.ConditionKeysLost)
		})
	}
}

func replaceInRing(old, replacement string) func(*corev1.Secret) {
	return func(s *corev1.Secret) {
		s.Data[v1alpha1.DataRing] = bytes.ReplaceAll(s.Data[v1alpha1.DataRing], []byte(old), []byte(replacement))
	}
}

// A backup that is older than the last rotation: what it holds is the truth, and what is lost is said.
func TestRingPutBackToAnOlderState(t *testing.T) {
	w := newWorld(t)
	issuer := w.settled("shop")
	backup := w.ringSecret("shop").Data
	for range 2 {
		w.clock.Step(period)
		w.reconcile("shop")
	}
	w.wantReady("shop")
	r := w.replica()
	lost := w.token(issuer)
	r.wantSoon(lost, token.Allowed)
	revision := w.ring("shop").Revision
	w.told()

	edit(w, w.ringSecret("shop"), func(s *corev1.Secret) { s.Data = backup })
	w.reconcile("shop")
	w.wantReady("shop")
	w.wantCondition("shop", v1alpha1.ConditionKeysLost, metav1.ConditionTrue, v1alpha1.ReasonKeysLost)
	if told := strings.Join(w.told(), "\n"); !strings.Contains(told, "Warning KeysLost") {
		t.Errorf("no warning that keys were lost in:\n%s", told)
	}
	if got := w.ring("shop").Revision; got <= revision {
		t.Errorf("revision = %d, want more than the %d of the newer ring", got, revision)
	}
	r.wantSoon(w.token(issuer), token.Allowed)
	r.wantSoon(lost, token.KeyUnknown)
}

// A revision that somebody has written on a derived object must neither stop its issuer nor be taken for lost keys.
func TestRevisionBrokenByHand(t *testing.T) {
	for _, revision := range []string{"7000000", "9223372036854775807", "92233720368547758070", "-5", "new", ""} {
		t.Run(revision, func(t *testing.T) {
			w := newWorld(t)
			w.settled("shop")
			before := w.ring("shop").Active().ID
			edit(w, w.jwks("shop"), func(c *corev1.ConfigMap) {
				c.Annotations[v1alpha1.AnnotationRingRevision] = revision
				c.Data[v1alpha1.DataJWKS] = "{}"
			})
			w.reconcile("shop")
			w.wantReady("shop")
			w.wantNoCondition("shop", v1alpha1.ConditionKeysLost)
			if got := w.ring("shop").Active().ID; got != before {
				t.Errorf("the active key is %s, want %s as before", got, before)
			}
		})
	}
}

// Status is derived: after a restore without it, it is the same again.
func TestStatusWiped(t *testing.T) {
	w := newWorld(t)
	w.settled("shop")
	w.clock.Step(period)
	w.reconcile("shop")
	before := w.issuer("shop")
	wiped := before.DeepCopy()
	wiped.Status = v1alpha1.TokenIssuerStatus{}
	if err := w.Status().Update(t.Context(), wiped); err != nil {
		t.Fatal(err)
	}
	w.reconcile("shop")
	after := w.issuer("shop")
	for _, status := range []*v1alpha1.TokenIssuerStatus{&before.Status, &after.Status} {
		for i := range status.Conditions {
			status.Conditions[i].LastTransitionTime = metav1.Time{}
		}
	}
	if !equality.Semantic.DeepEqual(before.Status, after.Status) {
		t.Errorf("status = %+v\nwant %+v", after.Status, before.Status)
	}
	if len(after.Status.Keys) != 3 || after.Status.Keys[2].State != v1alpha1.KeyState(keyring.Retiring) {
		t.Errorf("the status was not worth wiping: %+v", after.Status.Keys)
	}
}
