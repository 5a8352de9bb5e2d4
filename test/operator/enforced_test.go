package operator

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/replicas"
	"github.com/keyturn/keyturn/internal/testenv"
	"github.com/keyturn/keyturn/internal/testenv/testoperator"
)

// liveReplicas are those whose Leases there are.
func liveReplicas(t *testing.T, a *testoperator.Administrator, want int) {
	t.Helper()
	testoperator.Eventually(t, "the Leases of the replicas", func() error {
		var leases coordinationv1.LeaseList
		err := a.List(t.Context(), &leases, client.InNamespace(a.Namespace), client.MatchingLabelsSelector{Selector: replicas.Selector()})
		if err == nil && len(leases.Items) != want {
			err = fmt.Errorf("%d Leases, want %d", len(leases.Items), want)
		}
		return err
	})
}

// enforcement waits until the API says that a revocation is enforced, and returns how long that took and what it said.
func enforcement(t *testing.T, a *testoperator.Administrator, revocation *v1alpha1.TokenRevocation) (time.Duration, *v1alpha1.TokenRevocation, []string) {
	t.Helper()
	watcher, err := client.NewWithWatch(testenv.Environment(t).Config, client.Options{Scheme: a.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	events, err := watcher.Watch(t.Context(), &v1alpha1.TokenRevocationList{}, client.InNamespace(revocation.Namespace))
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	began := time.Now()
	a.Make(revocation)
	var said []string
	timeout := time.After(2 * time.Minute)
	for {
		select {
		case e := <-events.ResultChan():
			now, ok := e.Object.(*v1alpha1.TokenRevocation)
			if !ok || e.Type == watch.Deleted || now.Name != revocation.Name {
				continue
			}
			if c := meta.FindStatusCondition(now.Status.Conditions, v1alpha1.ConditionEnforced); c != nil {
				said = append(said, c.Message)
				if c.Status == metav1.ConditionTrue {
					return time.Since(began), now, said
				}
			}
		case <-timeout:
			t.Fatalf("%s is not enforced; it said %q", revocation.Name, said)
		}
	}
}

// When the API says that a revocation is enforced, every replica denies: there is nothing to wait for.
func TestEnforcedSpeaksForEveryReplica(t *testing.T) {
	a := testoperator.NewAdministrator(t)
	user := a.User()
	leader := testoperator.Run(a, user)
	leader.WaitReady()
	a.WaitReady(a.NewIssuer(a.Namespace, "shop"))
	others := []*testoperator.Process{testoperator.Run(a, user), testoperator.Run(a, user)}
	fleet := append([]*testoperator.Process{leader}, others...)
	for _, p := range others {
		p.WaitReady()
	}
	liveReplicas(t, a, len(fleet))
	mounted := a.Secret(a.Namespace, "shop-signing-key")

	var delays []time.Duration
	for i := range 20 {
		subject := fmt.Sprintf("user-%d", i)
		raw := sign(t, mounted, subject)
		for _, p := range fleet {
			p.WantVerdict(p.Client(), raw, http.StatusOK)
		}
		delay, revocation, said := enforcement(t, a, revocationOf(a.Namespace, subject))
		for n, p := range fleet {
			if code, _, err := p.Verify(p.Client(), raw); err != nil || code != http.StatusUnauthorized {
				t.Errorf("replica %d answers %d, %v, and the API says %q", n, code, err, said)
			}
		}
		if got := revocation.Status.Replicas; got != "3/3" || !strings.Contains(said[len(said)-1], "(3/3)") {
			t.Errorf("replicas = %q, message %q, want 3/3", got, said)
		}
		delays = append(delays, delay)
	}
	slices.Sort(delays)
	t.Logf("from the write to Enforced of 3 replicas: median %s, worst %s", delays[len(delays)/2], delays[len(delays)-1])

	// One that ends serves nobody, and need not be waited for.
	others[1].Terminate()
	<-others[1].Ended
	liveReplicas(t, a, 2)
	if delay, revocation, said := enforcement(t, a, revocationOf(a.Namespace, "after")); revocation.Status.Replicas != "2/2" || delay > replicas.LeaseDuration/2 {
		t.Errorf("after %s with replicas %q, having said %q, want 2/2 without waiting for the one that has ended", delay, revocation.Status.Replicas, said)
	}

	// One that hears nothing is waited for, by name, until its Lease runs out.
	stopped := others[0]
	stopped.Signal(syscall.SIGSTOP)
	defer stopped.Signal(syscall.SIGCONT)
	delay, revocation, said := enforcement(t, a, revocationOf(a.Namespace, "late"))
	if delay < replicas.LeaseDuration/2 || revocation.Status.Replicas != "1/1" || !strings.Contains(strings.Join(said, "\n"), "1 of 2 live replicas deny") {
		t.Errorf("enforced after %s with replicas %q, having said %q, want it to wait for the replica that has stopped", delay, revocation.Status.Replicas, said)
	}
	t.Logf("a dead replica was waited for %s: %q", delay, said)
}

func revocationOf(namespace, subject string) *v1alpha1.TokenRevocation {
	return &v1alpha1.TokenRevocation{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: subject},
		Spec: v1alpha1.TokenRevocationSpec{
			IssuerRef: v1alpha1.IssuerReference{Name: "shop"}, Subject: subject,
			IssuedBefore: &metav1.Time{Time: time.Now().Add(time.Hour)},
		},
	}
}
