package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// awaitRollout waits until all replicas are of the Deployment's current template and ready, and no others are left, not
// even ones that are about to end.
func (s *suite) awaitRollout(t *testing.T) {
	t.Helper()
	await(t, "the rollout of "+deployment, long, func(ctx context.Context) error {
		var d appsv1.Deployment
		if err := s.api.Get(ctx, client.ObjectKey{Namespace: systemNamespace, Name: deployment}, &d); err != nil {
			return err
		}
		want := *d.Spec.Replicas
		if d.Status.ObservedGeneration != d.Generation || d.Status.UpdatedReplicas != want || d.Status.AvailableReplicas != want {
			return fmt.Errorf("%d updated, %d available of %d", d.Status.UpdatedReplicas, d.Status.AvailableReplicas, want)
		}
		pods, err := s.operatorPods(ctx)
		if err != nil {
			return err
		}
		if len(pods) != int(want) {
			return fmt.Errorf("there are %d pods, want %d", len(pods), want)
		}
		for i := range pods {
			if !ready(&pods[i]) {
				return fmt.Errorf("the pod %s is not ready", pods[i].Name)
			}
		}
		return nil
	})
}

// operatorPods are all pods of the operator, also those that are about to end.
func (s *suite) operatorPods(ctx context.Context) ([]corev1.Pod, error) {
	var pods corev1.PodList
	err := s.api.List(ctx, &pods, client.InNamespace(systemNamespace), client.MatchingLabels{
		"app.kubernetes.io/instance": release, "app.kubernetes.io/component": "controller-manager",
	})
	return pods.Items, err
}

// replicas are the replicas of the operator, two and no more, all of them ready.
func (s *suite) replicas(t *testing.T) []corev1.Pod {
	t.Helper()
	pods, err := s.operatorPods(t.Context())
	if err != nil {
		t.Fatalf("listing the replicas: %v", err)
	}
	if len(pods) != 2 {
		t.Fatalf("there are %d pods of the operator, want 2", len(pods))
	}
	return pods
}

// addresses are where the replicas serve HTTPS.
func addresses(pods []corev1.Pod) []string {
	var out []string
	for i := range pods {
		out = append(out, net.JoinHostPort(pods[i].Status.PodIP, httpsPort))
	}
	return out
}

// leader returns the replica that leads.
func (s *suite) leader(ctx context.Context) (*corev1.Pod, error) {
	holder, err := s.leaseHolder(ctx)
	if err != nil {
		return nil, err
	}
	pods, err := s.operatorPods(ctx)
	if err != nil {
		return nil, err
	}
	for i := range pods {
		if strings.HasPrefix(holder, pods[i].Name+"_") {
			return &pods[i], nil
		}
	}
	return nil, errors.New("the leader " + holder + " is none of the pods")
}

// leaseHolder is who leads, as the Lease says.
func (s *suite) leaseHolder(ctx context.Context) (string, error) {
	lease, err := s.kube.CoordinationV1().Leases(systemNamespace).Get(ctx, "keyturn.dev", metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" {
		return "", errors.New("the Lease has no holder")
	}
	return *lease.Spec.HolderIdentity, nil
}

func ready(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}
