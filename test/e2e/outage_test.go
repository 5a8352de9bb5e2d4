package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keyturn/keyturn/test/e2e/report"
)

// outage stops the API server for a while: it takes connections and answers nothing. Verification goes on as if nothing
// were, and afterwards the controllers do.
func (s *suite) outage(t *testing.T) {
	breaker := s.startBreaker(t, s.controlPlaneNode(t))
	before := s.mustKeys(t, brisk)
	s.window(t)
	var stopped report.Processes
	query := url.Values{"name": {"kube-apiserver"}, "for": {outage.String()}}
	if err := s.ask(t.Context(), http.MethodPost, faultNamespace, breaker.Name, "pause", query, nil, &stopped); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	time.Sleep(2 * time.Second)
	if answers(s, time.Second) {
		t.Fatalf("the API server answers, although its processes %v are stopped", stopped.PIDs)
	}
	time.Sleep(*outage - 5*time.Second)
	await(t, "the API server to answer again", *outage+long, func(ctx context.Context) error {
		return s.kube.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
	t.Logf("measured: outage: the API server was away for about %s", time.Since(start).Round(time.Second))
	window := s.window(t)
	if window.Duration < *outage {
		t.Errorf("the gateway tells of %s, want at least the %s of the outage", window.Duration, *outage)
	}
	wantFlawless(t, "outage", window)

	request := s.requestRotation(t, brisk)
	requested := time.Now()
	after := s.awaitRotation(t, "a rotation after the outage", brisk, request)
	t.Logf("measured: outage: the controllers rotated %s after it was asked for", time.Since(requested).Round(100*time.Millisecond))
	wantOneRotation(t, before, after)
	s.settle(t)
	// Connections may have had to be made again: see settle. No token may have been refused.
	wantNoneRefused(t, "after the outage", s.window(t))
}

// settle waits until the cluster itself has got over the outage. Its node controller, which has heard from no kubelet for
// longer than its grace period, takes all pods for not ready until it hears from them again, and so takes them out of
// their Services: for some seconds after the outage, no new connection reaches any pod.
func (s *suite) settle(t *testing.T) {
	t.Helper()
	const steady = 20 * time.Second
	since := time.Now()
	await(t, "the nodes and the replicas to be ready for "+steady.String(), long, func(ctx context.Context) error {
		if err := s.allReady(ctx); err != nil {
			since = time.Now()
			return err
		}
		if been := time.Since(since); been < steady {
			return fmt.Errorf("they have been for %s", been)
		}
		return nil
	})
}

func (s *suite) allReady(ctx context.Context) error {
	nodes, err := s.kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i := range nodes.Items {
		for _, condition := range nodes.Items[i].Status.Conditions {
			if condition.Type == corev1.NodeReady && condition.Status != corev1.ConditionTrue {
				return fmt.Errorf("the node %s is not ready: %s", nodes.Items[i].Name, condition.Message)
			}
		}
	}
	pods, err := s.operatorPods(ctx)
	if err != nil {
		return err
	}
	for i := range pods {
		if !ready(&pods[i]) {
			return fmt.Errorf("the pod %s is not ready", pods[i].Name)
		}
	}
	return nil
}

// answers says whether the API server answers within the given time.
func answers(s *suite, within time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	return s.kube.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error() == nil
}

// controlPlaneNode is the node where the API server runs: the one with the address at which it is reached in the cluster.
func (s *suite) controlPlaneNode(t *testing.T) string {
	t.Helper()
	endpointSlices, err := s.kube.DiscoveryV1().EndpointSlices(metav1.NamespaceDefault).
		List(t.Context(), metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=kubernetes"})
	if err != nil {
		t.Fatalf("finding the API server: %v", err)
	}
	nodes, err := s.kube.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatalf("listing the nodes: %v", err)
	}
	var at []string
	for _, slice := range endpointSlices.Items {
		for _, endpoint := range slice.Endpoints {
			at = append(at, endpoint.Addresses...)
		}
	}
	for i := range nodes.Items {
		for _, address := range nodes.Items[i].Status.Addresses {
			if address.Type == corev1.NodeInternalIP && slices.Contains(at, address.Address) {
				return nodes.Items[i].Name
			}
		}
	}
	t.Fatalf("no node has one of the addresses %v of the API server, so nobody can stop it", at)
	return ""
}
