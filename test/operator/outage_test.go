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
)

// An operator that cannot reach the API server is never ready, and neither is one that the kubelet starts in its place;
// once it can, it is.
func TestStartWithoutAPIServer(t *testing.T) {
	a := newAdministrator(t)
	kubeconfig, line := through(t, a.user())
	line.setCut(true)
	p := run(a, kubeconfig)
	eventually(t, "attempts to connect", func() error {
		if code, _ := p.status("/readyz"); code == http.StatusOK {
			t.Fatal("ready without ever having heard from the API server")
		}
		if line.refused.Load() < 3 {
			return fmt.Errorf("%d so far", line.refused.Load())
		}
		return nil
	})
	line.setCut(false)
	eventually(t, "the operator ready", func() error {
		select {
		case <-p.ended:
			if !strings.Contains(p.log.String(), "connecting to the API server https://") {
				t.Fatalf("it has ended without saying why: %v", p.err)
			}
			p = run(a, kubeconfig) // as the kubelet does
		default:
		}
		if code, body := p.status("/readyz"); code != http.StatusOK {
			return fmt.Errorf("/readyz answers %d %s", code, body)
		}
		return nil
	})
}

// While it may not read what it must know, the operator is alive, and not ready.
func TestNotReadyBeforeTheFirstSync(t *testing.T) {
	a := newAdministrator(t)
	elsewhere := a.newNamespace()
	p := run(a, a.user(elsewhere)) // it may act in one namespace, and acts in all
	p.wantLogged("forbidden")
	if code, body := p.status("/healthz"); code != http.StatusOK {
		t.Errorf("/healthz answers %d %s, want 200: a restart would help nobody", code, body)
	}
	if code, body := p.status("/readyz"); code != http.StatusInternalServerError {
		t.Errorf("/readyz answers %d %s, want 500", code, body)
	}
	a.grantEverywhere()
	p.ready()
}

// A replica that hears nothing from the API server goes on with what it last knew, says how old that is, and catches up.
func TestVerificationGoesOnWithoutAPIServer(t *testing.T) {
	a := newAdministrator(t)
	kubeconfig := a.user()
	leader := run(a, kubeconfig)
	leader.ready()
	issuer := a.issuer(a.namespace, "shop")
	a.ready(issuer) // so the other cannot be the leader
	alice := sign(t, a.secret(a.namespace, "shop-signing-key"), "alice")

	changed, line := through(t, kubeconfig)
	follower := run(a, changed)
	follower.ready()
	toLeader, toFollower := leader.client(), follower.client()
	follower.wantVerdict(toFollower, alice, http.StatusOK)

	line.setCut(true)
	a.create(&v1alpha1.TokenRevocation{
		ObjectMeta: metav1.ObjectMeta{Namespace: a.namespace, Name: "all"},
		Spec:       v1alpha1.TokenRevocationSpec{IssuerRef: v1alpha1.IssuerReference{Name: "shop"}, All: ptr.To(true), IssuedBefore: ptr.To(metav1.NewTime(issuer.CreationTimestamp.AddDate(1, 0, 0)))},
	})
	leader.wantVerdict(toLeader, alice, http.StatusUnauthorized)
	// Every attempt to connect is one more moment in which it could have given up.
	eventually(t, "attempts to connect", func() error {
		follower.alive()
		if code, _, err := follower.verify(toFollower, alice); err != nil || code != http.StatusOK {
			t.Fatalf("verdict %d, error %v during the outage; want 200: the token is good as far as it can know", code, err)
		}
		if line.refused.Load() < 10 {
			return fmt.Errorf("%d so far", line.refused.Load())
		}
		return nil
	})
	if code, body := follower.status("/readyz"); code != http.StatusOK {
		t.Errorf("/readyz answers %d %s during the outage, want 200", code, body)
	}
	if scraped := follower.scrape(); !strings.Contains(scraped, "\nkeyturn_sync_age_seconds ") {
		t.Error("the metrics do not say how old the knowledge is")
	}
	line.setCut(false)
	follower.wantVerdict(toFollower, alice, http.StatusUnauthorized)
}

// The leader loses its Lease when it hears nothing from the API server for long enough. Its controllers stop then, its
// verification does not; and when the API server is back, it leads again and does what was missed.
func TestLeaderOutlivesItsLease(t *testing.T) {
	a := newAdministrator(t)
	kubeconfig, line := through(t, a.user())
	p := run(a, kubeconfig)
	p.ready()
	issuer := a.issuer(a.namespace, "shop")
	a.ready(issuer)
	alice := sign(t, a.secret(a.namespace, "shop-signing-key"), "alice")
	client := p.client()
	p.wantVerdict(client, alice, http.StatusOK)

	line.setCut(true)
	eventually(t, "the Lease to be lost", func() error {
		p.alive()
		if code, _, err := p.verify(client, alice); err != nil || code != http.StatusOK {
			t.Fatalf("verdict %d, error %v while the Lease is being lost, want 200", code, err)
		}
		if !strings.Contains(p.log.String(), "the controllers have stopped; verification goes on") {
			return errors.New("the controllers go on")
		}
		return nil
	})
	p.wantVerdict(client, alice, http.StatusOK)
	if code, body := p.status("/readyz"); code != http.StatusOK {
		t.Errorf("/readyz answers %d %s without the Lease, want 200: it verifies", code, body)
	}
	line.setCut(false)
	a.ready(a.issuer(a.namespace, "opened-later"))
	p.wantVerdict(client, alice, http.StatusOK)
}
