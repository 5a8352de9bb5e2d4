package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/keyturn/keyturn/api/v1alpha1"
)

var discard = logr.Discard()

// errStopped stands for a replica that ends, or a connection that breaks, before a write.
var errStopped = errors.New("stopped before a write")

// errNotYet is what eventually waits to see the end of.
var errNotYet = errors.New("not yet")

// journal is what a client has written, in order: "create Secret shop-keyring". Failed writes are in it too.
type journal struct {
	mu      sync.Mutex
	entries []string
}

// record returns a client whose writes come into the journal.
func (j *journal) record(c client.WithWatch) client.WithWatch {
	return interceptWrites(c, func(verb string, object client.Object, write func() error) error {
		j.add(verb, object)
		return write()
	})
}

func (j *journal) add(verb string, object client.Object) {
	kind := strings.TrimPrefix(fmt.Sprintf("%T", object), "*")
	kind = kind[strings.LastIndexByte(kind, '.')+1:]
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, verb+" "+kind+" "+object.GetName())
}

// take returns the entries since it was last called.
func (j *journal) take() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	taken := j.entries
	j.entries = nil
	return taken
}

// interceptWrites returns a client that asks around before each write; write carries it out.
func interceptWrites(c client.WithWatch, around func(verb string, object client.Object, write func() error) error) client.WithWatch {
	return interceptor.NewClient(c, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.CreateOption) error {
			return around("create", object, func() error { return c.Create(ctx, object, options...) })
		},
		Update: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.UpdateOption) error {
			return around("update", object, func() error { return c.Update(ctx, object, options...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.DeleteOption) error {
			return around("delete", object, func() error { return c.Delete(ctx, object, options...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, object client.Object, patch client.Patch, options ...client.PatchOption) error {
			return around("patch", object, func() error { return c.Patch(ctx, object, patch, options...) })
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, name string, object client.Object, options ...client.SubResourceUpdateOption) error {
			return around("update "+name, object, func() error { return c.SubResource(name).Update(ctx, object, options...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, name string, object client.Object, patch client.Patch, options ...client.SubResourcePatchOption) error {
			return around("patch "+name, object, func() error { return c.SubResource(name).Patch(ctx, object, patch, options...) })
		},
		Apply: func(context.Context, client.WithWatch, runtime.ApplyConfiguration, ...client.ApplyOption) error {
			panic("nothing here applies; a test that counts writes would miss it")
		},
		DeleteAllOf: func(context.Context, client.WithWatch, client.Object, ...client.DeleteAllOfOption) error {
			panic("nothing here deletes collections; a test that counts writes would miss it")
		},
	})
}

// stopsAt is a client that ends before it writes the object.
func (w *world) stopsAt(name string) client.WithWatch {
	return interceptWrites(withFields(w.WithWatch), func(_ string, object client.Object, write func() error) error {
		if object.GetName() == name {
			return errStopped
		}
		return write()
	})
}

// withFields returns a client that answers lists by the fields that the manager's cache is indexed by. The API server
// itself knows no such fields.
func withFields(c client.WithWatch) client.WithWatch {
	return interceptor.NewClient(c, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			asked := (&client.ListOptions{}).ApplyOptions(options)
			selector := asked.FieldSelector
			asked.FieldSelector = nil
			if err := c.List(ctx, list, asked); err != nil || selector == nil {
				return err
			}
			switch list := list.(type) {
			case *v1alpha1.TokenIssuerList:
				url, _ := selector.RequiresExactMatch(indexIssuerURL)
				list.Items = slices.DeleteFunc(list.Items, func(issuer v1alpha1.TokenIssuer) bool { return issuer.Spec.IssuerURL != url })
			case *v1alpha1.TokenRevocationList:
				keyOf, ofKey := selector.RequiresExactMatch(indexRevokedKeyIssuer)
				of, _ := selector.RequiresExactMatch(indexRevokedIssuer)
				list.Items = slices.DeleteFunc(list.Items, func(r v1alpha1.TokenRevocation) bool {
					return ofKey && (r.Spec.KeyID == "" || r.Spec.IssuerRef.Name != keyOf) || !ofKey && r.Spec.IssuerRef.Name != of
				})
			default:
				return fmt.Errorf("no index for %T", list)
			}
			return nil
		},
	})
}
