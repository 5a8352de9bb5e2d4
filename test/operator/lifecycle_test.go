package operator

import (
	"fmt"
	"net/http"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// After SIGTERM gateways have time to turn to another replica: not ready any more, and still answering. The next leader
// need not wait for the Lease to expire.
func TestTerminationDrains(t *testing.T) {
	a := newAdministrator(t)
	p := run(a, a.user())
	p.ready()
	a.ready(a.issuer(a.namespace, "shop"))
	alice := sign(t, a.secret(a.namespace, "shop-signing-key"), "alice")
	https := p.client()
	p.wantVerdict(https, alice, http.StatusOK)

	p.terminate()
	eventually(t, "not ready", func() error {
		if code, _ := p.status("/readyz"); code == http.StatusOK {
			return fmt.Errorf("still ready")
		}
		return nil
	})
	if code, _, err := p.verify(https, alice); err != nil || code != http.StatusOK {
		t.Errorf("verdict %d, error %v while it drains, want 200", code, err)
	}
	select {
	case <-p.ended:
		if p.err != nil {
			t.Errorf("it ended with %v, want exit code 0", p.err)
		}
	case <-t.Context().Done():
		t.Fatal("it did not end")
	}
	var lease coordinationv1.Lease
	if err := a.Get(t.Context(), client.ObjectKey{Namespace: a.namespace, Name: "keyturn.dev"}, &lease); err != nil {
		t.Fatal(err)
	}
	if holder := lease.Spec.HolderIdentity; holder != nil && *holder != "" {
		t.Errorf("the Lease is still held by %s", *holder)
	}
}

// With --namespaces and Roles in those, no right that spans the cluster is needed, and nothing outside is touched.
func TestConfinedToNamespaces(t *testing.T) {
	a := newAdministrator(t)
	one, two, outside := a.newNamespace(), a.newNamespace(), a.newNamespace()
	untouched := a.issuer(outside, "shop")
	p := run(a, a.user(one, two), "--namespaces="+one+","+two)
	p.ready()
	for _, namespace := range []string{one, two} {
		a.ready(a.issuer(namespace, "shop"))
		p.wantVerdict(p.client(), sign(t, a.secret(namespace, "shop-signing-key"), "alice"), http.StatusOK)
	}
	// Issuers that came later are ready, so this one, which was there first, has been left alone.
	if err := a.Get(t.Context(), client.ObjectKeyFromObject(untouched), untouched); err != nil {
		t.Fatal(err)
	}
	if len(untouched.Status.Conditions) > 0 {
		t.Errorf("an issuer outside has the conditions %+v", untouched.Status.Conditions)
	}
	err := a.Get(t.Context(), client.ObjectKey{Namespace: outside, Name: "shop-keyring"}, &corev1.Secret{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("error %v, want that there is no ring outside", err)
	}
	wantNoRefusal(t, p.log.String())
}
