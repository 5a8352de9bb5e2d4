package e2e

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/test/e2e/report"
)

// install installs the chart with default values, makes two issuers, and starts a workload and a gateway, as somebody does
// who follows the documentation. Nothing waits for anything that it need not wait for.
func (s *suite) install(t *testing.T) {
	s.makeNamespace(t, systemNamespace, "restricted")
	s.makeNamespace(t, shopNamespace, "restricted")
	s.makeNamespace(t, gatewayNamespace, "restricted")
	s.makeNamespace(t, faultNamespace, "privileged")
	t.Logf("a Secret takes at most %s to reach a pod of this cluster", s.propagation)

	start := time.Now()
	s.helmInstall(t)
	t.Logf("measured: helm install took %s", time.Since(start).Round(10*time.Millisecond))
	s.makeIssuers(t)
	s.awaitSecret(t, shopNamespace, brisk+"-signing-key")
	s.awaitSecret(t, shopNamespace, steady+"-signing-key")
	s.startMinter(t)
	s.copyAuthorities(t)
	s.startVerifier(t)
	var first report.Window
	await(t, "the first token to pass both ways", long, func(ctx context.Context) error {
		var window report.Window
		if err := s.ask(ctx, http.MethodPost, gatewayNamespace, verifier, "window", nil, nil, &window); err != nil {
			return err
		}
		first = add(first, window)
		if first.Issuers[shopNamespace+"/"+brisk].Tokens+first.Issuers[shopNamespace+"/"+steady].Tokens == 0 {
			return fmt.Errorf("the gateway's troubles: %q", first.Troubles)
		}
		return nil
	})
	t.Logf("measured: the first verified token was seen %s after the start of helm install", time.Since(start).Round(10*time.Millisecond))
	for name, seen := range first.Issuers {
		if seen.Rejected > 0 {
			t.Errorf("%s: %d tokens were rejected: %q", name, seen.Rejected, first.Troubles)
		}
	}
	s.awaitRollout(t)
	t.Logf("measured: both replicas were seen ready %s after the start of helm install", time.Since(start).Round(10*time.Millisecond))
	s.checkDefaults(t)
	s.window(t) // What could not be reached while it started does not count.
}

// awaitSecret waits for a Secret that Keyturn makes.
func (s *suite) awaitSecret(t *testing.T, namespace, name string) *corev1.Secret {
	t.Helper()
	secret := &corev1.Secret{}
	await(t, "the Secret "+namespace+"/"+name, long, func(ctx context.Context) error {
		return s.api.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, secret)
	})
	return secret
}

// copyAuthorities brings the authority of Keyturn's certificate to where the gateway can mount it.
func (s *suite) copyAuthorities(t *testing.T) {
	t.Helper()
	secret := s.awaitSecret(t, systemNamespace, "keyturn-tls")
	s.create(t, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: gatewayNamespace, Name: authorities},
		Data:       map[string]string{"ca.crt": string(secret.Data["ca.crt"])},
	})
}

// checkDefaults looks at what the chart promises without a value, as far as no later scenario does.
func (s *suite) checkDefaults(t *testing.T) {
	t.Helper()
	var d appsv1.Deployment
	if err := s.api.Get(t.Context(), client.ObjectKey{Namespace: systemNamespace, Name: deployment}, &d); err != nil {
		t.Fatal(err)
	}
	if d.Status.ReadyReplicas != 2 {
		t.Errorf("%d replicas are ready, want 2", d.Status.ReadyReplicas)
	}
	for _, pod := range s.replicas(t) {
		for _, status := range pod.Status.ContainerStatuses {
			if status.RestartCount > 0 {
				t.Errorf("%s has restarted %d times since it was installed", pod.Name, status.RestartCount)
			}
		}
	}
	if _, err := s.leader(t.Context()); err != nil {
		t.Errorf("nobody leads: %v", err)
	}
	for _, name := range []string{brisk, steady} {
		await(t, "the issuer "+name+" to be settled", short, func(ctx context.Context) error {
			_, err := s.settled(ctx, name)
			return err
		})
	}
}
