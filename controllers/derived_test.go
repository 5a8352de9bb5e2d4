package controllers

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/token"
)

// What is derived from the ring is restored, whatever was done to it by hand, and only that is written.
func TestDerivedObjectIsRestored(t *testing.T) {
	tests := map[string]struct {
		damage func(w *world)
		want   []string
	}{
		"mounted deleted": {
			func(w *world) { w.remove(w.mounted("shop")) },
			[]string{"create Secret shop-signing-key"},
		},
		"mounted: another key": {
			func(w *world) {
				edit(w, w.mounted("shop"), func(s *corev1.Secret) {
					s.Data[v1alpha1.DataKeyPEM], s.Data[v1alpha1.DataKeyID] = []byte("no key"), []byte("no-such-key")
				})
			},
			[]string{"update Secret shop-signing-key"},
		},
		"mounted: a file too many": {
			func(w *world) {
				edit(w, w.mounted("shop"), func(s *corev1.Secret) { s.Data["passwd"] = []byte("root") })
			},
			[]string{"update Secret shop-signing-key"},
		},
		"mounted: owner taken off": {
			func(w *world) { edit(w, w.mounted("shop"), func(s *corev1.Secret) { s.OwnerReferences = nil }) },
			[]string{"update Secret shop-signing-key"},
		},
		"ConfigMap deleted": {
			func(w *world) { w.remove(w.jwks("shop")) },
			[]string{"create ConfigMap shop-jwks"},
		},
		"ConfigMap: keys taken out": {
			func(w *world) {
				edit(w, w.jwks("shop"), func(c *corev1.ConfigMap) { c.Data[v1alpha1.DataJWKS] = `{"keys":[]}` })
			},
			[]string{"update ConfigMap shop-jwks"},
		},
		"ConfigMap: a key too many": {
			func(w *world) {
				edit(w, w.jwks("shop"), func(c *corev1.ConfigMap) { c.BinaryData = map[string][]byte{"more": {0xff}} })
			},
			[]string{"update ConfigMap shop-jwks"},
		},
		"ConfigMap: annotations": {
			func(w *world) { edit(w, w.jwks("shop"), func(c *corev1.ConfigMap) { c.Annotations = nil }) },
			[]string{"update ConfigMap shop-jwks"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			issuer := w.settled("shop")
			config, mounted, ring := w.jwks("shop"), w.mounted("shop"), w.ringSecret("shop")
			test.damage(w)
			w.journal.take()
			w.reconcile("shop")
			w.wantReady("shop")
			if got := w.journal.take(); !slices.Equal(got, test.want) {
				t.Errorf("writes = %v, want %v", got, test.want)
			}
			if w.ringSecret("shop").ResourceVersion != ring.ResourceVersion {
				t.Error("the ring was written although nothing about it had changed")
			}
			restored := w.jwks("shop")
			if !maps.Equal(restored.Data, config.Data) || restored.BinaryData != nil || !reflect.DeepEqual(restored.OwnerReferences, config.OwnerReferences) {
				t.Errorf("the ConfigMap is not what it was")
			}
			for _, annotation := range []string{v1alpha1.AnnotationActiveKey, v1alpha1.AnnotationMaxAge, v1alpha1.AnnotationLongestMaxAge} {
				if got, want := restored.Annotations[annotation], config.Annotations[annotation]; got != want || want == "" {
					t.Errorf("annotation %s = %q, want %q", annotation, got, want)
				}
			}
			if secret := w.mounted("shop"); !reflect.DeepEqual(secret.Data, mounted.Data) || !reflect.DeepEqual(secret.OwnerReferences, mounted.OwnerReferences) {
				t.Error("the mounted Secret is not what it was")
			}
			w.replica().wantSoon(w.token(issuer), token.Allowed)
		})
	}
}

// What the template has set is taken away with it; what others have set stays.
func TestSecretTemplate(t *testing.T) {
	w := newWorld(t)
	issuer := w.settled("shop", func(i *v1alpha1.TokenIssuer) {
		i.Spec.Signing.Secret.Template = v1alpha1.SecretTemplate{
			Labels:      map[string]v1alpha1.LabelValue{"team": "shop", "tier": "gold"},
			Annotations: map[string]v1alpha1.AnnotationValue{"reloader.example/match": "true"},
		}
	})
	want := func(when string, labels, annotations map[string]string) {
		t.Helper()
		secret := w.mounted("shop")
		maps.DeleteFunc(secret.Labels, reserved)
		maps.DeleteFunc(secret.Annotations, reserved)
		if !maps.Equal(secret.Labels, labels) || !maps.Equal(secret.Annotations, annotations) {
			t.Errorf("%s: labels %v, annotations %v; want %v, %v", when, secret.Labels, secret.Annotations, labels, annotations)
		}
	}
	want("new", map[string]string{"team": "shop", "tier": "gold"}, map[string]string{"reloader.example/match": "true"})

	edit(w, w.mounted("shop"), func(s *corev1.Secret) {
		s.Labels["backup"], s.Annotations["note"], s.Labels["team"] = "daily", "ours", "hand"
	})
	w.reconcile("shop")
	want("edited by hand", map[string]string{"team": "shop", "tier": "gold", "backup": "daily"},
		map[string]string{"reloader.example/match": "true", "note": "ours"})

	edit(w, issuer, func(i *v1alpha1.TokenIssuer) {
		i.Spec.Signing.Secret.Template = v1alpha1.SecretTemplate{Labels: map[string]v1alpha1.LabelValue{"tier": "silver"}}
	})
	w.reconcile("shop")
	want("changed", map[string]string{"tier": "silver", "backup": "daily"}, map[string]string{"note": "ours"})

	edit(w, issuer, func(i *v1alpha1.TokenIssuer) { i.Spec.Signing.Secret.Template = v1alpha1.SecretTemplate{} })
	w.reconcile("shop")
	want("removed", map[string]string{"backup": "daily"}, map[string]string{"note": "ours"})
	if got := w.mounted("shop").Annotations[v1alpha1.AnnotationTemplateKeys]; got != "" {
		t.Errorf("annotation %s = %q, want none without a template", v1alpha1.AnnotationTemplateKeys, got)
	}
	w.wantReady("shop")
}

func reserved(key, _ string) bool { return strings.HasPrefix(key, "keyturn.dev/") }

// Somebody who edits the operator's memory of the template gains no hold on its own labels.
func TestTemplateKeysBrokenByHand(t *testing.T) {
	for _, broken := range []string{"{", `{"labels":["keyturn.dev/issuer","keyturn.dev/component"],"annotations":["keyturn.dev/ring-revision"]}`} {
		w := newWorld(t)
		w.settled("shop")
		edit(w, w.mounted("shop"), func(s *corev1.Secret) { s.Annotations[v1alpha1.AnnotationTemplateKeys] = broken })
		w.reconcile("shop")
		w.wantReady("shop")
		if got := w.mounted("shop").Labels; got[v1alpha1.LabelIssuer] != "shop" || got[v1alpha1.LabelComponent] != v1alpha1.ComponentSigningKey {
			t.Errorf("labels = %v, want the operator's own", got)
		}
	}
}

func TestExportSwitchedOffAndOn(t *testing.T) {
	w := newWorld(t)
	issuer := w.settled("shop")
	before := w.mounted("shop").Data
	edit(w, issuer, func(i *v1alpha1.TokenIssuer) { i.Spec.Signing.Secret.Export = ptr.To(false) })
	w.reconcile("shop")
	w.wantReady("shop")
	w.wantGone("shop-signing-key", &corev1.Secret{})

	// Pods go on with what they have mounted, so what it signs stays good.
	w.replica().wantSoon(signWith(t, before, w.claims(issuer)), token.Allowed)

	w.journal.take()
	w.reconcile("shop")
	if got := w.journal.take(); len(got) > 0 {
		t.Errorf("looking again writes %v", got)
	}
	// Rotations need nobody who mounts.
	w.clock.Step(period)
	w.reconcile("shop")
	w.wantReady("shop")
	if ring := w.ring("shop"); len(ring.Keys) != 3 || ring.Keys[2].RemoveAfter.IsZero() {
		t.Errorf("%d keys; want 3, with the end of the retired one known", len(ring.Keys))
	}
	edit(w, issuer, func(i *v1alpha1.TokenIssuer) { i.Spec.Signing.Secret.Export = ptr.To(true) })
	w.reconcile("shop")
	w.wantReady("shop")
}
