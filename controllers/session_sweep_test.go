package controllers

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/internal/session"
	"github.com/keyturn/keyturn/internal/session/kubernetes"
)

func TestSweep(t *testing.T) {
	w := newWorld(t)
	w.create("shop")
	r := w.sessionReconciler()
	r.Retention = knownRetention(0)
	live, fresh, old := w.session("shop"), w.session("shop", w.endedAgo(retention-time.Microsecond)), w.session("shop", w.endedAgo(retention+time.Second))
	idle := w.session("shop", func(s *session.Session) {
		s.IdleUntil = w.clock.Now().Add(-retention - time.Second).Truncate(time.Microsecond)
	})
	if expired, orphaned, err := r.sweep(t.Context()); expired != 0 || orphaned != 0 || err != nil {
		t.Errorf("without knowing for how long tokens live it deleted %d and %d, %v", expired, orphaned, err)
	}
	r.Retention = knownRetention(retention)
	total := 0
	eventually(w, "a list that has caught up", func() error {
		expired, orphaned, err := r.sweep(t.Context())
		if total += expired; err != nil || orphaned != 0 || total < 2 {
			return fmt.Errorf("deleted %d and %d: %w", total, orphaned, err)
		}
		return nil
	})
	for s, want := range map[*session.Session]bool{live: true, fresh: true, old: false, idle: false} {
		w.wantSessionThere(s, want)
	}
	if got := w.revocations(); len(got) != 0 {
		t.Errorf("the TokenRevocations %v were created for what had expired", got)
	}
}

// Sessions whose issuer is gone are deleted, but not at the first look: a backup can bring them back before it.
func TestSessionsWithoutIssuer(t *testing.T) {
	w := newWorld(t)
	w.create("shop")
	r := w.sessionReconciler()
	own, orphan, early := w.session("shop"), w.session("gone"), w.session("restored")
	unlabeled := w.session("gone")
	w.patchSession(unlabeled, `{"metadata":{"labels":null}}`)
	sweep := func(want int) {
		t.Helper()
		if _, orphaned, err := r.sweep(t.Context()); err != nil || orphaned != want {
			t.Errorf("the sweep deleted %d, %v; want %d", orphaned, err, want)
		}
	}
	sweep(0)
	w.clock.Step(orphanPatience - time.Second)
	sweep(0)
	w.create("restored")
	w.clock.Step(time.Second)
	sweep(1)
	for s, want := range map[*session.Session]bool{own: true, early: true, orphan: false, unlabeled: true} {
		w.wantSessionThere(s, want)
	}
}

// A session that cannot be deleted must not keep the others.
func TestSessionsWithoutIssuerBesideAStuckOne(t *testing.T) {
	w := newWorld(t)
	r := w.sessionReconciler()
	var sessions []*session.Session
	for range 5 {
		sessions = append(sessions, w.session("gone"))
	}
	slices.SortFunc(sessions, func(a, b *session.Session) int { return slices.Compare(a.ID[:], b.ID[:]) })
	stuck := sessions[0].ID.String()
	r.Client = interceptWrites(w.WithWatch, func(_ string, object client.Object, write func() error) error {
		if object.GetName() == stuck {
			return errStopped
		}
		return write()
	})
	if _, _, err := r.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.clock.Step(orphanPatience)
	if _, orphaned, err := r.sweep(t.Context()); err == nil || orphaned != len(sessions)-1 {
		t.Errorf("the sweep deleted %d, %v; want the other %d, and an error", orphaned, err, len(sessions)-1)
	}
}

// The sweep comes again and again, by the clock.
func TestSweepIsRepeated(t *testing.T) {
	w := newWorld(t)
	w.create("shop")
	r := w.sessionReconciler()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- r.sweepUntilDone(ctx) }()
	sleeping := func() error {
		if !w.clock.HasWaiters() {
			return errNotYet
		}
		return nil
	}
	eventually(w, "the pause after the first sweep", sleeping)
	s := w.session("shop", w.endedAgo(retention))
	eventually(w, "a later sweep", func() error {
		if err := sleeping(); err != nil {
			return err
		}
		w.clock.Step(sweepPeriod)
		if err := w.Get(t.Context(), client.ObjectKeyFromObject(sessionObject(s)), kubernetes.NewObject()); !apierrors.IsNotFound(err) {
			return fmt.Errorf("the session is still there: %w", err)
		}
		return nil
	})
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
