package kubernetes

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/session"
)

// pageSize is how many objects one request lists, as kubectl does. A Session has 1 to 2 KiB, and 16 at most.
const pageSize = 500

// consistency says how much a list may lag behind.
type consistency string

const (
	// consistent is the state of the moment.
	consistent consistency = ""
	// recent is what the API server has in memory. It costs etcd nothing, may be seconds old, and comes in one page: it is
	// for what labels select.
	recent consistency = "0"
)

// ListSubject implements session.Store. It is one request, answered from the API server's memory.
func (s *Store) ListSubject(ctx context.Context, issuer session.IssuerReference, subject string, now time.Time, limit int) ([]*session.Session, error) {
	found, err := s.ofSubject(ctx, issuer, subject, recent)
	if err != nil {
		return nil, err
	}
	live := slices.DeleteFunc(found, func(s *session.Session) bool { return !s.Live(now) })
	slices.SortFunc(live, func(a, b *session.Session) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), slices.Compare(a.ID[:], b.ID[:]))
	})
	return live[:min(len(live), max(limit, 0))], nil
}

// ofSubject returns the sessions of a subject, live or not. Labels find them and decide nothing: two subjects can have
// one label, and somebody can have edited it.
func (s *Store) ofSubject(ctx context.Context, issuer session.IssuerReference, subject string, how consistency) ([]*session.Session, error) {
	var found []*session.Session
	err := s.pages(ctx, issuer.Namespace, how, func(object *unstructured.Unstructured) error {
		if object.GetDeletionTimestamp() != nil {
			return nil
		}
		read, err := Read(object)
		if err == nil && read.Issuer == issuer && read.Subject == subject {
			found = append(found, read)
		}
		return nil // What cannot be read is nobody's session.
	}, client.MatchingLabels{v1alpha1.LabelIssuer: issuer.Name, v1alpha1.LabelSubject: SubjectLabel(subject)})
	if err != nil {
		return nil, fmt.Errorf("listing the sessions of a subject of %s/%s: %w", issuer.Namespace, issuer.Name, err)
	}
	return found, nil
}

// pages calls a function for each Session of a namespace, or of all, page by page, until it returns an error.
func (s *Store) pages(ctx context.Context, namespace string, how consistency, each func(*unstructured.Unstructured) error, options ...client.ListOption) error {
	next := ""
	for {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("SessionList"))
		raw := &metav1.ListOptions{}
		if next == "" { // Later pages are of the version of the first.
			raw.ResourceVersion = string(how)
		}
		all := append([]client.ListOption{
			client.InNamespace(namespace), client.Limit(pageSize), client.Continue(next), &client.ListOptions{Raw: raw},
		}, options...)
		if err := s.request(ctx, func(ctx context.Context) error { return s.client.List(ctx, list, all...) }); err != nil {
			return fmt.Errorf("%w: %w", session.ErrUnavailable, err)
		}
		for i := range list.Items {
			if err := each(&list.Items[i]); err != nil {
				return err
			}
		}
		if next = list.GetContinue(); next == "" {
			return nil
		}
	}
}
