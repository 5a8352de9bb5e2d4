// Package kubernetes keeps sessions as objects of kind Session, in the namespace of their TokenIssuer: nothing to
// install, and good to some ten thousand sessions.
//
// A refresh costs one read and one write. Reads are quorum reads, past every cache, because a stale one could refresh a
// session that was ended. What never changes is the spec, which the API server itself keeps from being edited; what
// does is the state, which changes only in the version that was read. That the end of a session is final is a rule of
// the custom resource too, so ending one needs no read at all.
//
// An object that is being deleted counts as gone: its deletion was the logout, and all that is left of it is a
// finalizer that waits until its access tokens are denied. Nothing can be done to it, neither a refresh nor an end.
package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/session"
)

// DefaultTimeout bounds each request to the API server, of which a refresh makes two. It is what a client waits for a
// login at most before it takes the service for broken, and a thousand times what a request takes when all is well.
const DefaultTimeout = 5 * time.Second

// Store is a session.Store.
type Store struct {
	client     client.Client
	namespaces []string
	timeout    time.Duration
}

var _ session.Store = (*Store)(nil)

// Option changes a Store.
type Option func(*Store)

// InNamespaces confines DeleteExpired to these namespaces, for an operator that may not list the whole cluster. None
// means all.
func InNamespaces(namespaces ...string) Option {
	return func(s *Store) {
		if len(namespaces) > 0 {
			s.namespaces = namespaces
		}
	}
}

// WithTimeout bounds each request to the API server. Default: DefaultTimeout.
func WithTimeout(timeout time.Duration) Option { return func(s *Store) { s.timeout = timeout } }

// New returns a store. The client must not read from a cache.
func New(c client.Client, options ...Option) *Store {
	s := &Store{client: c, namespaces: []string{metav1.NamespaceAll}, timeout: DefaultTimeout}
	for _, option := range options {
		option(s)
	}
	return s
}

// Create implements session.Store. It is one request.
func (s *Store) Create(ctx context.Context, created *session.Session) (*session.Session, error) {
	object, err := newObject(created)
	if err != nil {
		return nil, unavailable("creating", created.ID, err)
	}
	err = s.request(ctx, func(ctx context.Context) error { return s.client.Create(ctx, object) })
	if apierrors.IsAlreadyExists(err) {
		return nil, fmt.Errorf("creating session %s: %w: %w", created.ID, session.ErrConflict, err)
	}
	if err != nil {
		return nil, unavailable("creating", created.ID, err)
	}
	return s.result("creating", created.Issuer, created.ID, object)
}

// Get implements session.Store. It is one request.
func (s *Store) Get(ctx context.Context, issuer session.IssuerReference, id session.ID) (*session.Session, error) {
	object := NewObject()
	name := client.ObjectKey{Namespace: issuer.Namespace, Name: id.String()}
	if err := s.request(ctx, func(ctx context.Context) error { return s.client.Get(ctx, name, object) }); err != nil {
		return nil, failed("reading", id, err)
	}
	return s.result("reading", issuer, id, object)
}

// CompareAndSwap implements session.Store. It is one request, unless the API server refuses what no caller may ask for.
func (s *Store) CompareAndSwap(ctx context.Context, read *session.Session, next session.State) (*session.Session, error) {
	if read.Version == "" {
		// Without a version the API server would write whatever is there. What was never read was changed by somebody else.
		if _, err := s.Get(ctx, read.Issuer, read.ID); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("writing session %s, which was never read: %w", read.ID, session.ErrConflict)
	}
	written, err := s.patch(ctx, read.Issuer, read.ID, read.Version, stateOf(next))
	switch {
	case apierrors.IsConflict(err):
		return nil, fmt.Errorf("writing session %s: %w: %w", read.ID, session.ErrConflict, err)
	case apierrors.IsInvalid(err):
		// It is another issuer's, or the state goes back behind the one that was read. Reading again tells.
		if _, missing := s.Get(ctx, read.Issuer, read.ID); missing != nil {
			return nil, missing
		}
		return nil, fmt.Errorf("writing session %s: %w: %w", read.ID, session.ErrConflict, err)
	case err != nil:
		return nil, failed("writing", read.ID, err)
	}
	return s.result("writing", read.Issuer, read.ID, written)
}

// patch writes a part of a session's state, in this version or, if that is empty, in whatever there is. The name of the
// issuer is in it because the spec is immutable: the API server refuses to write another issuer's session. Its label
// comes along in case somebody took it away, because the denial of access tokens goes by it.
func (s *Store) patch(ctx context.Context, issuer session.IssuerReference, id session.ID, version string, state partialState) (*unstructured.Unstructured, error) {
	labels := map[string]string{v1alpha1.LabelIssuer: issuer.Name}
	if state.EndReason != "" {
		labels[v1alpha1.LabelEnded] = state.EndReason
	}
	// A list of one empty entry tells the API server to stop recording who has set which field, which nobody asks of a
	// Session: half of its bytes.
	metadata := map[string]any{"labels": labels, "managedFields": []metav1.ManagedFieldsEntry{{}}}
	if version != "" {
		metadata["resourceVersion"] = version
	}
	content, err := json.Marshal(map[string]any{
		"metadata": metadata,
		"spec":     map[string]any{"issuerRef": v1alpha1.IssuerReference{Name: issuer.Name}},
		"state":    state,
	})
	if err != nil {
		return nil, fmt.Errorf("rendering the state: %w", err)
	}
	object := NewObject()
	object.SetNamespace(issuer.Namespace)
	object.SetName(id.String())
	err = s.request(ctx, func(ctx context.Context) error {
		return s.client.Patch(ctx, object, client.RawPatch(types.MergePatchType, content))
	})
	return object, err
}

// request bounds one request to the API server.
func (s *Store) request(ctx context.Context, send func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return send(ctx)
}

// result is the session in an object that the API server has answered with.
func (s *Store) result(doing string, issuer session.IssuerReference, id session.ID, object *unstructured.Unstructured) (*session.Session, error) {
	if object.GetDeletionTimestamp() != nil {
		return nil, fmt.Errorf("%s session %s, which is being deleted: %w", doing, id, session.ErrNotFound)
	}
	found, err := Read(object)
	if err != nil {
		return nil, fmt.Errorf("%s session %s: %w: %w", doing, id, session.ErrNotFound, err)
	}
	if found.Issuer != issuer {
		return nil, fmt.Errorf("%s session %s of %s/%s, which is another issuer's: %w", doing, id, issuer.Namespace, issuer.Name, session.ErrNotFound)
	}
	return found, nil
}

// failed makes an error of a request about one session one of a session.Store.
func failed(doing string, id session.ID, err error) error {
	if gone(err) {
		return fmt.Errorf("%s session %s: %w: %w", doing, id, session.ErrNotFound, err)
	}
	return unavailable(doing, id, err)
}

func unavailable(doing string, id session.ID, err error) error {
	return fmt.Errorf("%s session %s: %w: %w", doing, id, session.ErrUnavailable, err)
}

// gone reports whether the API server has looked for a Session and found none. Any other 404, such as that of an API
// server without the custom resource, says nothing about sessions, and must log nobody out.
func gone(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsNotFound(err) || !errors.As(err, &status) || apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse) {
		return false
	}
	details := status.Status().Details
	return details != nil && details.Group == v1alpha1.GroupVersion.Group
}
