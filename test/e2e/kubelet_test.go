package e2e

import (
	"encoding/json"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// kubeletDelay returns how long the kubelets of the cluster take to bring a changed Secret to a pod, at most. A kubelet
// looks at each pod every syncFrequency, lengthened by up to a half, so that not all pods have their turn at once.
func (s *suite) kubeletDelay(t *testing.T) time.Duration {
	t.Helper()
	nodes, err := s.kube.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatalf("listing the nodes: %v", err)
	}
	var slowest time.Duration
	for i := range nodes.Items {
		answer, err := s.kube.CoreV1().RESTClient().Get().Resource("nodes").Name(nodes.Items[i].Name).
			SubResource("proxy").Suffix("configz").Do(t.Context()).Raw()
		if err != nil {
			t.Fatalf("reading the configuration of the kubelet of %s: %v", nodes.Items[i].Name, err)
		}
		var configuration struct {
			Kubelet struct {
				SyncFrequency metav1.Duration `json:"syncFrequency"`
			} `json:"kubeletconfig"`
		}
		if err := json.Unmarshal(answer, &configuration); err != nil || configuration.Kubelet.SyncFrequency.Duration <= 0 {
			t.Fatalf("the configuration of the kubelet of %s has no syncFrequency (%v): %s", nodes.Items[i].Name, err, answer)
		}
		slowest = max(slowest, configuration.Kubelet.SyncFrequency.Duration)
	}
	const forTheWrite = 5 * time.Second
	return slowest + slowest/2 + forTheWrite
}
