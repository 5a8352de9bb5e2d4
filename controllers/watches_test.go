package controllers

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/token"
)

// Everything here happens because of a watch, since the timers of the controllers are minutes long and more.

func TestWatchesRestoreWhatIsDeleted(t *testing.T) {
	w := newWorld(t)
	m := w.start()
	w.create("shop", sessions)
	m.ready("shop")
	for _, object := range []client.Object{w.mounted("shop"), w.jwks("shop"), w.refreshSecret("shop")} {
		before := object.GetUID()
		w.remove(object)
		eventually(t, object.GetName()+" again", func() error {
			if err := w.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
				return err
			}
			if object.GetUID() == before {
				return errNotYet
			}
			return nil
		})
	}
	eventually(t, "one ring everywhere", func() error { return w.coherent("shop") })
}

func TestWatchesBringRevocationOfKeyIntoForce(t *testing.T) {
	w := newWorld(t)
	m := w.start()
	w.create("shop")
	issuer := m.ready("shop")
	m.now()
	stolen := w.token(issuer)
	m.wantSoon(stolen, token.Allowed)
	bad := w.ring("shop").Active().ID
	w.revoke("leak", "shop", key(bad))
	m.wantSoon(stolen, token.KeyRevoked)
	m.enforced("leak")
	if w.ring("shop").Key(bad) != nil {
		t.Error("enforced, and the key is still in the ring")
	}
	eventually(t, "one ring everywhere", func() error { return w.coherent("shop") })
	m.wantSoon(w.token(issuer), token.Allowed)
}

func TestWatchesBringRevocationOfRefreshKeyIntoForce(t *testing.T) {
	w := newWorld(t)
	m := w.start()
	w.create("shop", sessions)
	bad := m.ready("shop").Status.RefreshKeys[0].ID
	w.revoke("leak", "shop", key(bad))
	m.enforced("leak")
	if got := w.newestRefreshKey("shop"); got == bad {
		t.Error("enforced, and the key is still in the Secret")
	}
	w.wantRevocation("leak", v1alpha1.ConditionEnforced, metav1.ConditionTrue, v1alpha1.ReasonEnforced)
}

func (m *running) enforced(name string) {
	m.Helper()
	eventually(m, name+" enforced", func() error {
		conditions := m.revocation(name).Status.Conditions
		if !meta.IsStatusConditionTrue(conditions, v1alpha1.ConditionEnforced) {
			return fmt.Errorf("conditions %+v", conditions)
		}
		return nil
	})
}

func TestWatchesTellRevocationOfItsIssuer(t *testing.T) {
	w := newWorld(t)
	m := w.start()
	w.revoke("all", "shop", all)
	eventually(t, "the missing issuer in the status", func() error {
		condition := meta.FindStatusCondition(w.revocation("all").Status.Conditions, v1alpha1.ConditionAccepted)
		if condition == nil || condition.Reason != v1alpha1.ReasonIssuerNotFound {
			return errNotYet
		}
		return nil
	})
	w.create("shop")
	m.enforced("all")
}

func TestWatchesHandTheURLOver(t *testing.T) {
	w := newWorld(t)
	m := w.start()
	a := w.create("a", w.shared)
	m.ready("a")
	w.create("b", w.shared)
	eventually(t, "the refusal of b", func() error {
		if !meta.IsStatusConditionFalse(w.issuer("b").Status.Conditions, v1alpha1.ConditionAccepted) {
			return errNotYet
		}
		return nil
	})
	w.remove(a)
	m.ready("b")
}

// What stands in the way is looked at once a minute, and not all the time. How often that is shows against another
// issuer, which is made, rotated and looked at many times meanwhile.
func TestConflictIsNoHotLoop(t *testing.T) {
	w := newWorld(t)
	foreign := w.placed(&corev1.Secret{}, "shop-signing-key", nil)
	version := foreign.GetResourceVersion()
	m := w.start()
	conflicted := w.create("shop")
	eventually(t, "the conflict in the status", func() error {
		if !meta.IsStatusConditionTrue(w.issuer("shop").Status.Conditions, v1alpha1.ConditionSecretConflict) {
			return errNotYet
		}
		return nil
	})
	other := w.create("other")
	m.ready("other")
	before := m.looked(conflicted)
	for range 20 {
		edit(w, other, func(i *v1alpha1.TokenIssuer) {
			i.Spec.Audiences = append(i.Spec.Audiences, fmt.Sprintf("api-%d", len(i.Spec.Audiences)))
		})
		m.ready("other")
	}
	if got := m.looked(conflicted) - before; got > 5 {
		t.Errorf("%d looks at the conflicted issuer during %d at the other, want next to none", got, m.looked(other))
	}
	if fetch(w, "shop-signing-key", foreign).GetResourceVersion() != version {
		t.Error("the foreign object was written")
	}
	if w.ring("shop").Active() == nil {
		t.Error("the issuer has no ring")
	}
}

// Two keys are created in one go, and each has an event of its own: events that are alike are merged by the client.
func TestEventsReachTheAPIServer(t *testing.T) {
	w := newWorld(t)
	m := w.start()
	w.create("shop")
	m.ready("shop")
	ring := w.ring("shop")
	for _, want := range []string{
		"KeyCreated " + ring.Active().ID, "KeyActivated " + ring.Active().ID, "KeyCreated " + ring.Next().ID,
	} {
		reason, id, _ := strings.Cut(want, " ")
		eventually(t, "the event "+want, func() error {
			var list eventsv1.EventList
			if err := w.List(t.Context(), &list, client.InNamespace(w.namespace)); err != nil {
				return err
			}
			for _, event := range list.Items {
				if event.Reason == reason && strings.Contains(event.Note, id) && event.Regarding.Name == "shop" && event.Type == corev1.EventTypeNormal {
					return nil
				}
			}
			return fmt.Errorf("not among %d events", len(list.Items))
		})
	}
}

// A ring that is repaired, or gets its label back, needs nobody to wait for a timer.
func TestWatchesSeeTheRingRepaired(t *testing.T) {
	w := newWorld(t)
	m := w.start()
	w.create("shop")
	m.ready("shop")
	good := w.ringSecret("shop").Data
	edit(w, w.ringSecret("shop"), func(s *corev1.Secret) { s.Data = map[string][]byte{v1alpha1.DataRing: []byte("{}")} })
	m.notReady("shop", v1alpha1.ReasonRingUnreadable)
	edit(w, w.ringSecret("shop"), func(s *corev1.Secret) { s.Data = good })
	m.ready("shop")
	edit(w, w.ringSecret("shop"), relabel[*corev1.Secret](v1alpha1.LabelComponent, ""))
	m.notReady("shop", v1alpha1.ReasonSecretConflict)
	edit(w, w.ringSecret("shop"), relabel[*corev1.Secret](v1alpha1.LabelComponent, v1alpha1.ComponentKeyring))
	m.ready("shop")
	if !bytes.Equal(w.ringSecret("shop").Data[v1alpha1.DataRing], good[v1alpha1.DataRing]) {
		t.Error("the ring is not what it was")
	}
}

func (m *running) notReady(name, reason string) {
	m.Helper()
	eventually(m, name+" not ready", func() error {
		condition := meta.FindStatusCondition(m.issuer(name).Status.Conditions, v1alpha1.ConditionReady)
		if condition == nil || condition.Status != metav1.ConditionFalse || condition.Reason != reason {
			return fmt.Errorf("%+v", condition)
		}
		return nil
	})
}
