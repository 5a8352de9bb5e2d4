package controllers

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
)

// placed is an object under one of the names that the issuer shop needs, with the labels of an owner.
func (w *world) placed(object client.Object, name string, labels map[string]string) client.Object {
	w.Helper()
	object.SetNamespace(w.namespace)
	object.SetName(name)
	object.SetLabels(labels)
	if err := w.Create(w.Context(), object); err != nil {
		w.Fatalf("creating %T %s: %v", object, name, err)
	}
	return object
}

func labelsOf(issuer, component string) map[string]string {
	return map[string]string{v1alpha1.LabelIssuer: issuer, v1alpha1.LabelComponent: component}
}

// Nothing that is somebody else's is overwritten or deleted, and what stands in the way is named.
func TestForeignObjectIsNeverOverwritten(t *testing.T) {
	tests := map[string]struct {
		object client.Object
		name   string
		labels map[string]string
	}{
		"ring: unlabelled":             {&corev1.Secret{}, "shop-keyring", nil},
		"ring: another issuer's":       {&corev1.Secret{Type: v1alpha1.SecretTypeKeyring}, "shop-keyring", labelsOf("other", "keyring")},
		"ring: of another type":        {&corev1.Secret{}, "shop-keyring", labelsOf("shop", "keyring")},
		"ring: a mounted Secret":       {&corev1.Secret{Type: v1alpha1.SecretTypeSigningKey}, "shop-keyring", labelsOf("shop", "signing-key")},
		"ConfigMap: unlabelled":        {&corev1.ConfigMap{}, "shop-jwks", nil},
		"ConfigMap: another issuer's":  {&corev1.ConfigMap{}, "shop-jwks", labelsOf("other", "jwks")},
		"mounted: unlabelled":          {&corev1.Secret{}, "shop-signing-key", map[string]string{"app": "shop"}},
		"mounted: another issuer's":    {&corev1.Secret{Type: v1alpha1.SecretTypeSigningKey}, "shop-signing-key", labelsOf("other", "signing-key")},
		"mounted: of the type of a CA": {&corev1.Secret{Type: corev1.SecretTypeOpaque}, "shop-signing-key", labelsOf("shop", "signing-key")},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			foreign := w.placed(test.object, test.name, test.labels)
			version := foreign.GetResourceVersion()
			w.create("shop")
			for range 2 {
				if got := w.reconcile("shop").RequeueAfter; got != conflictRetry {
					t.Errorf("RequeueAfter = %s, want %s", got, conflictRetry)
				}
				w.wantCondition("shop", v1alpha1.ConditionSecretConflict, metav1.ConditionTrue, v1alpha1.ReasonSecretConflict)
				w.wantCondition("shop", v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict)
			}
			w.journal.take()
			w.reconcile("shop")
			for _, entry := range w.journal.take() {
				// To create what exists is how a cache that holds only its own finds out about others.
				if entry != "create Secret "+test.name && entry != "create ConfigMap "+test.name {
					t.Errorf("looking again and again writes: %s", entry)
				}
			}
			if fetch(w, test.name, foreign).GetResourceVersion() != version {
				t.Fatal("the foreign object was written")
			}
			w.remove(foreign)
			w.reconcile("shop")
			w.wantReady("shop")
			w.wantNoCondition("shop", v1alpha1.ConditionSecretConflict)
		})
	}
}

// The first of two issuers that name the same mounted Secret has it.
func TestTwoIssuersWithOneMountedSecret(t *testing.T) {
	w := newWorld(t)
	named := func(i *v1alpha1.TokenIssuer) { i.Spec.Signing.Secret.Name = "common" }
	w.create("a", named)
	w.reconcile("a")
	common := fetch(w, "common", &corev1.Secret{})
	b := w.create("b", named)
	w.reconcile("b")
	w.wantCondition("b", v1alpha1.ConditionSecretConflict, metav1.ConditionTrue, v1alpha1.ReasonSecretConflict)
	if fetch(w, "common", &corev1.Secret{}).ResourceVersion != common.ResourceVersion {
		t.Error("the Secret of the first issuer was written by the second")
	}
	// Nor does the second delete it, when it does not want it any more.
	edit(w, b, func(i *v1alpha1.TokenIssuer) { i.Spec.Signing.Secret.Export = new(bool) })
	w.reconcile("b")
	w.wantReady("b")
	if fetch(w, "common", &corev1.Secret{}).ResourceVersion != common.ResourceVersion {
		t.Error("the Secret of the first issuer was written by the second")
	}
	w.reconcile("a")
	w.wantCondition("a", v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// An issuer cannot be made to overwrite another's ring, and nobody is told to delete it.
func TestMountedSecretNamedLikeAnotherRing(t *testing.T) {
	w := newWorld(t)
	w.settled("shop")
	before := w.ringSecret("shop")
	w.create("other", func(i *v1alpha1.TokenIssuer) { i.Spec.Signing.Secret.Name = "shop-keyring" })
	w.reconcile("other")
	w.reconcile("other")
	w.wantCondition("other", v1alpha1.ConditionSecretConflict, metav1.ConditionTrue, v1alpha1.ReasonSecretConflict)
	message := meta.FindStatusCondition(w.issuer("other").Status.Conditions, v1alpha1.ConditionSecretConflict).Message
	if want := "holds the keyring of the TokenIssuer shop: leave it"; !strings.Contains(message, want) {
		t.Errorf("the condition says %q, want %q", message, want)
	}
	if w.ringSecret("shop").ResourceVersion != before.ResourceVersion {
		t.Error("the ring was written by another issuer")
	}
	told := strings.Join(w.told(), "\n")
	if !strings.Contains(told, "Warning SecretConflict") {
		t.Errorf("no Warning in the events:\n%s", told)
	}
}

// Without its label the ring is out of every cache, and looks as if it had been deleted. It is not: whoever gives the
// label back gets the same keys.
func TestRingWithoutItsLabel(t *testing.T) {
	w := newWorld(t)
	w.settled("shop")
	before := w.ring("shop").Active().ID
	edit(w, w.ringSecret("shop"), relabel[*corev1.Secret](v1alpha1.LabelComponent, ""))
	version := w.ringSecret("shop").ResourceVersion
	w.reconcile("shop")
	w.wantCondition("shop", v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict)
	if w.ringSecret("shop").ResourceVersion != version {
		t.Fatal("the ring was written although it did not bear the operator's label")
	}
	edit(w, w.ringSecret("shop"), relabel[*corev1.Secret](v1alpha1.LabelComponent, v1alpha1.ComponentKeyring))
	w.reconcile("shop")
	w.wantReady("shop")
	if got := w.ring("shop").Active().ID; got != before {
		t.Errorf("the active key is %s, want %s as before", got, before)
	}
	w.wantNoCondition("shop", v1alpha1.ConditionKeysLost)
}
