package controllers

import (
	"fmt"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
)

// A hundred issuers at rest, half of them with sessions, cost the API server nothing: neither when each of them is looked at again, nor when another
// replica becomes the leader, with everything to be read anew.
func TestSteadyStateWritesNothing(t *testing.T) {
	const count = 100
	w := newWorld(t)
	var objects []client.Object
	for i := range count {
		var edits []func(*v1alpha1.TokenIssuer)
		if i%2 == 0 {
			edits = append(edits, sessions)
		}
		issuer := w.create(fmt.Sprintf("shop-%d", i), edits...)
		objects = append(objects, issuer)
		if i%5 == 0 {
			objects = append(objects, w.revoke(fmt.Sprintf("r-%d", i), issuer.Name, all))
		}
	}
	leader := w.start()
	for i := range count {
		leader.ready(fmt.Sprintf("shop-%d", i))
	}
	for i := 0; i < count; i += 5 {
		eventually(t, "an enforced revocation", func() error {
			if status := w.revocation(fmt.Sprintf("r-%d", i)).Status; len(status.Conditions) != 2 || status.ExpiresAt == nil {
				return fmt.Errorf("status %+v", status)
			}
			return nil
		})
	}
	leader.stop()
	if got := len(w.journal.take()); got < 4*count+count/2 {
		t.Fatalf("%d writes to begin with, want at least %d: they are not counted", got, 4*count+count/2)
	}

	follower := w.start()
	eventually(t, "a look at every object", func() error {
		for _, object := range objects {
			if follower.looked(object) == 0 {
				return fmt.Errorf("none at %s", object.GetName())
			}
		}
		return nil
	})
	follower.stop()
	if got := w.journal.take(); len(got) > 0 {
		t.Errorf("a new leader wrote %d times: %v", len(got), got[:min(len(got), 10)])
	}
	for _, object := range objects {
		if _, ok := object.(*v1alpha1.TokenIssuer); ok {
			w.reconcile(object.GetName())
		}
	}
	if got := w.journal.take(); len(got) > 0 {
		t.Errorf("looking again wrote %d times: %v", len(got), got[:min(len(got), 10)])
	}
}
