package controllers

import (
	"bytes"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/token"
)

func retained(i *v1alpha1.TokenIssuer) { i.Spec.Signing.DeletionPolicy = v1alpha1.DeletionRetain }

// owners returns the UIDs of the owners of each of the issuer's objects.
func (w *world) owners(name string) map[string][]string {
	owners := map[string][]string{}
	for _, object := range []client.Object{w.ringSecret(name), w.jwks(name), w.mounted(name)} {
		owners[object.GetName()] = []string{}
		for _, owner := range object.GetOwnerReferences() {
			owners[object.GetName()] = append(owners[object.GetName()], string(owner.UID))
		}
	}
	return owners
}

func (w *world) wantOwner(name, uid string) {
	w.Helper()
	for object, owners := range w.owners(name) {
		switch {
		case uid == "" && len(owners) > 0:
			w.Errorf("%s has the owners %v, want none, or it would be deleted with the issuer", object, owners)
		case uid != "" && (len(owners) != 1 || owners[0] != uid):
			w.Errorf("%s has the owners %v, want %s, or it would outlive the issuer", object, owners, uid)
		}
	}
}

func TestDeletionPolicy(t *testing.T) {
	w := newWorld(t)
	issuer := w.settled("shop")
	w.wantOwner("shop", string(issuer.UID))
	for range 2 {
		edit(w, issuer, retained)
		w.settleRing("shop")
		w.wantOwner("shop", "")
		edit(w, issuer, func(i *v1alpha1.TokenIssuer) { i.Spec.Signing.DeletionPolicy = v1alpha1.DeletionDelete })
		w.settleRing("shop")
		w.wantOwner("shop", string(issuer.UID))
	}
}

// settleRing reconciles an issuer that exists, and wants it ready.
func (w *world) settleRing(name string) {
	w.Helper()
	w.reconcile(name)
	w.wantReady(name)
}

// Somebody else's owner reference is not ours to take away.
func TestForeignOwnerReferenceStays(t *testing.T) {
	w := newWorld(t)
	issuer := w.settled("shop")
	other := metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "shop", UID: "00000000-0000-0000-0000-000000000001"}
	edit(w, w.mounted("shop"), func(s *corev1.Secret) { s.OwnerReferences = append(s.OwnerReferences, other) })
	edit(w, issuer, retained)
	w.settleRing("shop")
	if got := w.mounted("shop").OwnerReferences; len(got) != 1 || got[0].UID != other.UID {
		t.Errorf("owners = %v, want the foreign one alone", got)
	}
}

// What was retained, or restored from a backup with the owner of an earlier life, goes on with the same keys under a new
// TokenIssuer of the same name.
func TestNewIssuerAdoptsRetainedRing(t *testing.T) {
	tests := map[string]func(i *v1alpha1.TokenIssuer){
		"retained":                     retained,
		"restored with a former owner": func(*v1alpha1.TokenIssuer) {},
	}
	for name, policy := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			former := w.settled("shop", policy)
			old, before := w.token(former), w.ring("shop")
			// Nobody collects garbage here, so what a collector would delete is still there, as after a restore.
			w.remove(former)
			w.reconcile("shop")
			issuer := w.settled("shop", policy)
			if issuer.UID == former.UID {
				t.Fatal("the issuer is the former one, so the test shows nothing")
			}
			after := w.ring("shop")
			if after.Active().ID != before.Active().ID || after.Next().ID != before.Next().ID {
				t.Error("the new issuer has new keys, want the same")
			}
			w.wantNoCondition("shop", v1alpha1.ConditionKeysLost)
			w.replica().wantSoon(old, token.Allowed)
			if name == "retained" {
				w.wantOwner("shop", "")
			} else {
				w.wantOwner("shop", string(issuer.UID))
			}
		})
	}
}

// A backup that holds only the ring is enough: the rest is derived.
func TestRingAloneIsEnough(t *testing.T) {
	w := newWorld(t)
	former := w.settled("shop")
	backup := w.ringSecret("shop")
	for _, object := range []client.Object{former, backup, w.jwks("shop"), w.mounted("shop")} {
		w.remove(object)
	}
	restored := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: w.namespace, Name: backup.Name, Labels: backup.Labels, OwnerReferences: backup.OwnerReferences,
		},
		Type: backup.Type, Data: backup.Data,
	}
	if err := w.Create(t.Context(), restored); err != nil {
		t.Fatal(err)
	}
	issuer := w.settled("shop")
	w.wantOwner("shop", string(issuer.UID))
	w.wantNoCondition("shop", v1alpha1.ConditionKeysLost)
	if !bytes.Equal(w.ringSecret("shop").Data[v1alpha1.DataRing], backup.Data[v1alpha1.DataRing]) {
		t.Error("the ring is not the one of the backup")
	}
}

// Nothing is written for an issuer that is being deleted: the garbage collector is at work.
func TestNothingIsWrittenForDeletedIssuer(t *testing.T) {
	w := newWorld(t)
	issuer := w.settled("shop")
	edit(w, issuer, func(i *v1alpha1.TokenIssuer) { i.Finalizers = []string{"test.example/wait"} })
	w.remove(issuer)
	w.remove(w.ringSecret("shop"))
	w.journal.take()
	w.reconcile("shop")
	if got := w.journal.take(); len(got) > 0 {
		t.Errorf("writes = %v, want none", got)
	}
	edit(w, issuer, func(i *v1alpha1.TokenIssuer) { i.Finalizers = nil })
	w.reconcile("shop")
	w.wantGone("shop-keyring", &corev1.Secret{})
}
