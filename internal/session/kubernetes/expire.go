package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/session"
)

// maxFailures is how many sessions a sweep fails to delete before it gives up: one that something is in the way of must
// not keep the others, and an API server that is away must not be asked once for each.
const maxFailures = 10

// DeleteExpired implements session.Store. It deletes every session that was dead before this moment, at once and not
// only after its last day. It is one request for each 500 sessions, which are all that it has in memory at once, and
// two for each that it deletes. A session that is written meanwhile stays.
func (s *Store) DeleteExpired(ctx context.Context, before time.Time) (int, error) {
	deleted := 0
	var failures []error
	for _, namespace := range s.namespaces {
		err := s.pages(ctx, namespace, consistent, func(object *unstructured.Unstructured) error {
			if !expired(object, before) {
				return nil
			}
			done, err := s.remove(ctx, object)
			if done {
				deleted++
			}
			if err == nil {
				return nil
			}
			if failures = append(failures, err); len(failures) >= maxFailures || ctx.Err() != nil {
				return errGivenUp
			}
			return nil
		})
		if err != nil && !errors.Is(err, errGivenUp) {
			failures = append(failures, err)
		}
		if err != nil {
			break
		}
	}
	if len(failures) > 0 {
		return deleted, fmt.Errorf("deleting expired sessions, %d of them done: %w: %w", deleted, session.ErrUnavailable, failures[0])
	}
	return deleted, nil
}

var errGivenUp = errors.New("too many sessions could not be deleted")

// expired reports whether nobody needs the session. One that cannot be read is over when its id says so.
func expired(object *unstructured.Unstructured, before time.Time) bool {
	read, err := Read(object)
	if err == nil {
		return read.DeadSince().Before(before)
	}
	id, err := session.ParseID(object.GetName())
	return err == nil && !id.ExpiryDay().AddDate(0, 0, 1).After(before)
}

func (s *Store) remove(ctx context.Context, object client.Object) (bool, error) {
	// Each of the two requests of Remove has its time.
	ctx, cancel := context.WithTimeout(ctx, 2*s.timeout)
	defer cancel()
	return Remove(ctx, s.client, object)
}

// Remove deletes a Session in the version that the object has, and with it the finalizer, and says whether it did: not
// if it was written meanwhile, nor if it is gone already. It is two requests. The object becomes the one that it
// deleted.
func Remove(ctx context.Context, c client.Client, object client.Object) (bool, error) {
	if err := Release(ctx, c, object); apierrors.IsConflict(err) || gone(err) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	err := c.Delete(ctx, object, client.Preconditions{UID: ptr.To(object.GetUID()), ResourceVersion: ptr.To(object.GetResourceVersion())})
	switch {
	case gone(err): // It was being deleted, and the finalizer was all that kept it.
		return true, nil
	case apierrors.IsConflict(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("deleting session %s: %w", object.GetName(), err)
	}
	return true, nil
}

// Release takes the finalizer from a Session, in the version that the object has: a conflict if it was written
// meanwhile. It is one request, unless there is no finalizer, and the object becomes what was written.
func Release(ctx context.Context, c client.Client, object client.Object) error {
	if !slices.Contains(object.GetFinalizers(), v1alpha1.FinalizerSession) {
		return nil
	}
	kept := slices.DeleteFunc(slices.Clone(object.GetFinalizers()), func(name string) bool { return name == v1alpha1.FinalizerSession })
	content, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": object.GetUID(), "resourceVersion": object.GetResourceVersion(), "finalizers": kept,
	}})
	if err != nil {
		return fmt.Errorf("rendering the finalizers of session %s: %w", object.GetName(), err)
	}
	return c.Patch(ctx, object, client.RawPatch(types.MergePatchType, content))
}
