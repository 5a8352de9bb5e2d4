package controllers

import (
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
)

func all(spec *v1alpha1.TokenRevocationSpec) { spec.All = ptr.To(true) }

// expiring returns a revocation that is enforced, and the moment of its expiry.
func (r *replica) expiring(name string, edits ...func(*v1alpha1.TokenRevocationSpec)) (*v1alpha1.TokenRevocation, time.Time) {
	r.Helper()
	r.heard("shop")
	revocation := r.revoke(name, "shop", append(edits, all)...)
	r.assessed(revocation)
	r.wantEnforced(name)
	return revocation, r.revocation(name).Status.ExpiresAt.Time
}

func TestExpiredRevocationDeletesItself(t *testing.T) {
	w := newWorld(t)
	w.settled("shop")
	r := w.replica()
	revocation, expiry := r.expiring("all")
	w.clock.SetTime(expiry.Add(-time.Second))
	if got := r.assessed(revocation).RequeueAfter; got != time.Second {
		t.Errorf("RequeueAfter = %s, want 1s, when it expires", got)
	}
	w.wantEnforced("all")
	w.clock.SetTime(expiry)
	r.assessed(revocation)
	w.wantGone("all", &v1alpha1.TokenRevocation{})
}

func TestRetainAfterExpiry(t *testing.T) {
	w := newWorld(t)
	w.settled("shop")
	r := w.replica()
	revocation, expiry := r.expiring("all", func(s *v1alpha1.TokenRevocationSpec) { s.RetainAfterExpiry = true })
	w.clock.SetTime(expiry)
	if got := r.assessed(revocation).RequeueAfter; got != 0 {
		t.Errorf("RequeueAfter = %s, want none: only an edit changes anything now", got)
	}
	w.wantRevocation("all", v1alpha1.ConditionEnforced, metav1.ConditionTrue, v1alpha1.ReasonExpired)

	edit(w, revocation, func(r *v1alpha1.TokenRevocation) { r.Spec.RetainAfterExpiry = false })
	r.assessed(revocation)
	w.wantGone("all", &v1alpha1.TokenRevocation{})
}

// Whoever says "keep it" at the last moment wins against the deletion.
func TestEditWinsAgainstDeletion(t *testing.T) {
	w := newWorld(t)
	w.settled("shop")
	r := w.replica()
	revocation, expiry := r.expiring("all")
	w.clock.SetTime(expiry)
	racing := interceptWrites(withFields(w.WithWatch), func(verb string, _ client.Object, write func() error) error {
		if verb == "delete" {
			edit(w, revocation, func(r *v1alpha1.TokenRevocation) { r.Spec.RetainAfterExpiry = true })
		}
		return write()
	})
	if _, err := r.assessWith(racing, "all"); !apierrors.IsConflict(err) {
		t.Errorf("error %v, want a conflict, so that it is looked at again", err)
	}
	r.assessed(revocation)
	w.wantRevocation("all", v1alpha1.ConditionEnforced, metav1.ConditionTrue, v1alpha1.ReasonExpired)
}

// A longer lifetime in the issuer's spec lets tokens live longer, and so the revocation.
func TestLongerLifetimeLengthensRevocation(t *testing.T) {
	w := newWorld(t)
	issuer := w.settled("shop")
	r := w.replica()
	revocation, expiry := r.expiring("all")
	edit(w, issuer, func(i *v1alpha1.TokenIssuer) { i.Spec.Tokens.MaxLifetime = ptr.To(duration(lifetime + time.Hour)) })
	w.reconcile("shop")
	eventually(t, "the later expiry", func() error {
		r.assessed(revocation)
		if got := w.revocation("all").Status.ExpiresAt; !got.Time.Equal(expiry.Add(time.Hour)) {
			return errNotYet
		}
		return nil
	})
	w.clock.SetTime(expiry.Add(time.Hour - time.Second))
	r.assessed(revocation)
	w.wantEnforced("all")
}

// A revocation that is deleted between being read and its status being written is no error, and does not come back.
func TestRevocationDeletedWhileReconciled(t *testing.T) {
	w := newWorld(t)
	w.settled("shop")
	r := w.replica()
	revocation := w.revoke("all", "shop", all)
	racing := interceptWrites(withFields(w.WithWatch), func(verb string, _ client.Object, write func() error) error {
		if verb == "patch status" {
			w.remove(revocation)
		}
		return write()
	})
	if _, err := r.assessWith(racing, "all"); err != nil {
		t.Errorf("error %v, want none", err)
	}
	w.wantGone("all", &v1alpha1.TokenRevocation{})
	if _, err := r.assess("all"); err != nil {
		t.Errorf("error %v, want none: there is nothing left to do", err)
	}
}
