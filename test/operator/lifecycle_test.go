package operator

import (
	"fmt"
	"net/http"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/internal/testenv/testoperator"
)

// After SIGTERM gateways have time to turn to another replica: not ready any more, and still answering, also with what is
// revoked meanwhile. The next leader need not wait for the Lease to expire, and nobody waits for this replica.
func TestTerminationDrains(t *testing.T) {
	a := testoperator.NewAdministrator(t)
	p := testoperator.Run(a, a.User())
	p.WaitReady()
	a.WaitReady(a.NewIssuer(a.Namespace, "shop"))
	alice := sign(t, a.Secret(a.Namespace, "shop-signing-key"), "alice")
	https := p.Client()
	p.WantVerdict(https, alice, http.StatusOK)

	p.Terminate()
	testoperator.Eventually(t, "not ready", func() error {
		if code, _ := p.Status("/readyz"); code == http.StatusOK {
			return fmt.Errorf("still ready")
		}
		return nil
	})
	if code, _, err := p.Verify(https, alice); err != nil || code != http.StatusOK {
		t.Errorf("verdict %d, error %v while it drains, want 200", code, err)
	}
	a.Make(revocationOf(a.Namespace, "alice"))
	p.WantVerdict(https, alice, http.StatusUnauthorized)
	select {
	case <-p.Ended:
		t.Error("it ended before it was asked for what is revoked while it drains")
	default:
		liveReplicas(t, a, 1)
	}
	select {
	case <-p.Ended:
		if p.Err != nil {
			t.Errorf("it ended with %v, want exit code 0", p.Err)
		}
	case <-t.Context().Done():
		t.Fatal("it did not end")
	}
	liveReplicas(t, a, 0)
	var lease coordinationv1.Lease
	if err := a.Get(t.Context(), client.ObjectKey{Namespace: a.Namespace, Name: "keyturn.dev"}, &lease); err != nil {
		t.Fatal(err)
	}
	if holder := lease.Spec.HolderIdentity; holder != nil && *holder != "" {
		t.Errorf("the Lease is still held by %s", *holder)
	}
}

// With --namespaces and Roles in those, no right that spans the cluster is needed, and nothing outside is touched.
func TestConfinedToNamespaces(t *testing.T) {
	a := testoperator.NewAdministrator(t)
	one, two, outside := a.NewNamespace(), a.NewNamespace(), a.NewNamespace()
	untouched := a.NewIssuer(outside, "shop")
	p := testoperator.Run(a, a.User(one, two), "--namespaces="+one+","+two)
	p.WaitReady()
	for _, namespace := range []string{one, two} {
		a.WaitReady(a.NewIssuer(namespace, "shop"))
		p.WantVerdict(p.Client(), sign(t, a.Secret(namespace, "shop-signing-key"), "alice"), http.StatusOK)
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
	wantNoRefusal(t, p.Log.String())
}
