package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/session/kubernetes"
)

const (
	// sweepPeriod is how often expired sessions are deleted. All of them are read for it, so it is no shorter than the
	// time that they stay anyway, which is more than the lifetime of an access token.
	sweepPeriod = 5 * time.Minute
	// orphanPatience is how long a session stays whose issuer is gone, because a backup may bring sessions back before
	// their issuers.
	orphanPatience = 10 * time.Minute
	// maxOrphans bounds what one sweep deletes of them. The next one goes on.
	maxOrphans = 1000
	// maxOrphanFailures is how many of them it fails to delete before it gives up.
	maxOrphanFailures = 10
	// orphanPage is how many sessions one request lists.
	orphanPage = 500
	// sweepRequestTimeout bounds each request of the sweep for orphans.
	sweepRequestTimeout = 30 * time.Second
)

// orphans remembers since when issuers of sessions are missing, and when that was last looked at. Only the sweep uses
// it.
type orphans struct {
	missing  map[types.NamespacedName]time.Time
	lookedAt time.Time
}

func (r *SessionReconciler) sweepUntilDone(ctx context.Context) error {
	log := ctrl.LoggerFrom(ctx).WithName("session")
	for {
		expired, orphaned, err := r.sweep(ctx)
		if expired > 0 || orphaned > 0 {
			log.Info("deleted sessions that nobody needs", "expired", expired, "withoutIssuer", orphaned)
		}
		if err != nil && ctx.Err() == nil {
			log.Error(err, "deleting sessions that nobody needs; it is tried again", "in", sweepPeriod.String())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.Clock.After(sweepPeriod):
		}
	}
}

// sweep deletes what nobody needs: the sessions that have been over for as long as an access token can live, and those
// whose issuer does not exist. It does nothing while it is not known for how long tokens live.
func (r *SessionReconciler) sweep(ctx context.Context) (expired, orphaned int, err error) {
	retention, known := r.Retention.SessionRetention()
	if !known {
		return 0, 0, nil
	}
	now := r.Clock.Now()
	expired, err = r.Store.DeleteExpired(ctx, now.Add(-retention))
	if now.Sub(r.orphans.lookedAt) < orphanPatience {
		return expired, 0, err
	}
	orphaned, orphanErr := r.deleteOrphans(ctx, now)
	return expired, orphaned, errors.Join(err, orphanErr)
}

// deleteOrphans deletes the sessions of issuers that were missing at an earlier look already.
func (r *SessionReconciler) deleteOrphans(ctx context.Context, now time.Time) (int, error) {
	namespaces := r.Namespaces
	if len(namespaces) == 0 {
		namespaces = []string{metav1.NamespaceAll}
	}
	look := &orphanLook{SessionReconciler: r, now: now, missing: map[types.NamespacedName]time.Time{}, exists: map[types.NamespacedName]bool{}}
	for _, namespace := range namespaces {
		if err := look.namespace(ctx, namespace); err != nil {
			return look.deleted, fmt.Errorf("deleting the sessions of issuers that do not exist: %w", err)
		}
	}
	r.orphans.missing = look.missing
	if look.deleted < maxOrphans {
		r.orphans.lookedAt = now // otherwise the next sweep goes on
	}
	if len(look.failures) > 0 {
		return look.deleted, fmt.Errorf("deleting the sessions of issuers that do not exist, %d of which failed: %w", len(look.failures), look.failures[0])
	}
	return look.deleted, nil
}

// orphanLook is one look at all sessions.
type orphanLook struct {
	*SessionReconciler
	now     time.Time
	missing map[types.NamespacedName]time.Time
	exists  map[types.NamespacedName]bool
	deleted int
	// failures are of sessions that something is in the way of. They must not keep the others.
	failures []error
}

func (l *orphanLook) namespace(ctx context.Context, namespace string) error {
	next := ""
	for {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("SessionList"))
		err := bounded(ctx, func(ctx context.Context) error {
			return l.APIReader.List(ctx, list, client.InNamespace(namespace), client.Limit(orphanPage), client.Continue(next))
		})
		if err != nil {
			return fmt.Errorf("listing sessions: %w", err)
		}
		for i := range list.Items {
			if l.deleted >= maxOrphans || len(l.failures) >= maxOrphanFailures {
				return nil
			}
			if err := l.session(ctx, &list.Items[i]); err != nil {
				return err
			}
		}
		if next = list.Continue; next == "" {
			return nil
		}
	}
}

// session deletes one if its issuer is still missing. One without the label of its issuer is left to expire.
func (l *orphanLook) session(ctx context.Context, object *metav1.PartialObjectMetadata) error {
	name := types.NamespacedName{Namespace: object.Namespace, Name: object.Labels[v1alpha1.LabelIssuer]}
	if name.Name == "" {
		return nil
	}
	if _, asked := l.exists[name]; !asked {
		there, err := l.issuerExists(ctx, name)
		if err != nil {
			return err
		}
		l.exists[name] = there
		if since, before := l.orphans.missing[name]; !there && before {
			l.missing[name] = since
		} else if !there {
			l.missing[name] = l.now
		}
	}
	if l.exists[name] || l.now.Sub(l.missing[name]) < orphanPatience {
		return nil
	}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Session"))
	err := bounded(ctx, func(ctx context.Context) error {
		removed, err := kubernetes.Remove(ctx, l.Client, object)
		if removed {
			l.deleted++
		}
		return err
	})
	if err != nil {
		l.failures = append(l.failures, err)
	}
	return ctx.Err()
}

func bounded(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, sweepRequestTimeout)
	defer cancel()
	return do(ctx)
}
