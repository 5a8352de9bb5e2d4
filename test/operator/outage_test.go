package operator

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/testenv/testoperator"
)

// An operator that cannot reach the API server is never ready, and neither is one that the kubelet starts in its place;
// once it can, it is.
func TestStartWithoutAPIServer(t *testing.T) {
	a := testoperator.NewAdministrator(t)
	kubeconfig, line := through(t, a.User())
	line.setCut(true)
	p := testoperator.Run(a, kubeconfig)
	testoperator.Eventually(t, "attempts to connect", func() error {
		if code, _ := p.Status("/readyz"); code == http.StatusOK {
			t.Fatal("ready without ever having heard from the API server")
		}
		if line.refused.Load() < 3 {
			return fmt.Errorf("%d so far", line.refused.Load())
		}
		return nil
	})
	line.setCut(false)
	testoperator.Eventually(t, "the operator ready", func() error {
		select {
		case <-p.Ended:
			if !strings.Contains(p.Log.String(), "connecting to the API server https://") {
				t.Fatalf("it has ended without saying why: %v", p.Err)
			}
			p = testoperator.Run(a, kubeconfig) // as the kubelet does
		default:
		}
		if code, body := p.Status("/readyz"); code != http.StatusOK {
			return fmt.Errorf("/readyz answers %d %s", code, body)
		}
		return nil
	})
}

// While it may not read what it must know, the operator is alive, and not ready.
func TestNotReadyBeforeTheFirstSync(t *testing.T) {
	a := testoperator.NewAdministrator(t)
	elsewhere := a.NewNamespace()
	p := testoperator.Run(a, a.User(elsewhere)) // it may act in one namespace, and acts in all
	p.WantLogged("forbidden")
	if code, body := p.Status("/healthz"); code != http.StatusOK {
		t.Errorf("/healthz answers %d %s, want 200: a restart would help nobody", code, body)
	}
	if code, body := p.Status("/readyz"); code != http.StatusInternalServerError {
		t.Errorf("/readyz answers %d %s, want 500", code, body)
	}
	a.GrantEverywhere()
	p.WaitReady()
}

// A replica that hears nothing from the API server goes on with what it last knew, says how old that is, and catches up.
func TestVerificationGoesOnWithoutAPIServer(t *testing.T) {
	a := testoperator.NewAdministrator(t)
	kubeconfig := a.User()
	leader := testoperator.Run(a, kubeconfig)
	leader.WaitReady()
	issuer := a.NewIssuer(a.Namespace, "shop")
	a.WaitReady(issuer) // so the other cannot be the leader
	alice := sign(t, a.Secret(a.Namespace, "shop-signing-key"), "alice")

	changed, line := through(t, kubeconfig)
	follower := testoperator.Run(a, changed)
	follower.WaitReady()
	toLeader, toFollower := leader.Client(), follower.Client()
	follower.WantVerdict(toFollower, alice, http.StatusOK)

	line.setCut(true)
	a.Make(&v1alpha1.TokenRevocation{
		ObjectMeta: metav1.ObjectMeta{Namespace: a.Namespace, Name: "all"},
		Spec:       v1alpha1.TokenRevocationSpec{IssuerRef: v1alpha1.IssuerReference{Name: "shop"}, All: ptr.To(true), IssuedBefore: ptr.To(metav1.NewTime(issuer.CreationTimestamp.AddDate(1, 0, 0)))},
	})
	leader.WantVerdict(toLeader, alice, http.StatusUnauthorized)
	// Every attempt to connect is one more moment in which it could have given up.
	testoperator.Eventually(t, "attempts to connect", func() error {
		follower.Alive()
		if code, _, err := follower.Verify(toFollower, alice); err != nil || code != http.StatusOK {
			t.Fatalf("verdict %d, error %v during the outage; want 200: the token is good as far as it can know", code, err)
		}
		if line.refused.Load() < 10 {
			return fmt.Errorf("%d so far", line.refused.Load())
		}
		return nil
	})
	if code, body := follower.Status("/readyz"); code != http.StatusOK {
		t.Errorf("/readyz answers %d %s during the outage, want 200", code, body)
	}
	if scraped := follower.Scrape(); !strings.Contains(scraped, "\nkeyturn_sync_age_seconds ") {
		t.Error("the metrics do not say how old the knowledge is")
	}
	line.setCut(false)
	follower.WantVerdict(toFollower, alice, http.StatusUnauthorized)
}

// The leader loses its Lease when it hears nothing from the API server for long enough. Its controllers stop then, its
// verification does not; and when the API server is back, it leads again and does what was missed.
func TestLeaderOutlivesItsLease(t *testing.T) {
	a := testoperator.NewAdministrator(t)
	kubeconfig, line := through(t, a.User())
	p := testoperator.Run(a, kubeconfig)
	p.WaitReady()
	issuer := a.NewIssuer(a.Namespace, "shop")
	a.WaitReady(issuer)
	alice := sign(t, a.Secret(a.Namespace, "shop-signing-key"), "alice")
	client := p.Client()
	p.WantVerdict(client, alice, http.StatusOK)

	line.setCut(true)
	testoperator.Eventually(t, "the Lease to be lost", func() error {
		p.Alive()
		if code, _, err := p.Verify(client, alice); err != nil || code != http.StatusOK {
			t.Fatalf("verdict %d, error %v while the Lease is being lost, want 200", code, err)
		}
		if !strings.Contains(p.Log.String(), "the controllers have stopped; verification goes on") {
			return errors.New("the controllers go on")
		}
		return nil
	})
	p.WantVerdict(client, alice, http.StatusOK)
	if code, body := p.Status("/readyz"); code != http.StatusOK {
		t.Errorf("/readyz answers %d %s without the Lease, want 200: it verifies", code, body)
	}
	line.setCut(false)
	a.WaitReady(a.NewIssuer(a.Namespace, "opened-later"))
	p.WantVerdict(client, alice, http.StatusOK)
}
