package e2e

import (
	"context"
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// rollingRestart exchanges every replica, as kubectl rollout restart does.
func (s *suite) rollingRestart(t *testing.T) {
	before := s.replicas(t)
	s.window(t)
	start := time.Now()
	patch := `{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":"` + start.UTC().Format(time.RFC3339) + `"}}}}}`
	if _, err := s.kube.AppsV1().Deployments(systemNamespace).
		Patch(t.Context(), deployment, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		t.Fatalf("restarting the Deployment: %v", err)
	}
	s.awaitRollout(t)
	t.Logf("measured: rolling restart: every replica was exchanged in %s", time.Since(start).Round(time.Second))
	s.wantExchanged(t, before)
	wantFlawless(t, "rolling restart", s.window(t))
}

// evictions evicts one replica after the other, the leader first, as kubectl drain does.
func (s *suite) evictions(t *testing.T) {
	before := s.replicas(t)
	var leader *corev1.Pod
	await(t, "a leader", short, func(ctx context.Context) (err error) {
		leader, err = s.leader(ctx)
		return err
	})
	if before[0].Name != leader.Name {
		before[0], before[1] = before[1], before[0]
	}
	s.window(t)
	for i := range before {
		start := time.Now()
		eviction := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: before[i].Name}}
		if err := s.kube.PolicyV1().Evictions(systemNamespace).Evict(t.Context(), eviction); err != nil {
			t.Fatalf("evicting %s: %v", before[i].Name, err)
		}
		await(t, before[i].Name+" to be gone", long, func(ctx context.Context) error {
			err := s.api.Get(ctx, client.ObjectKeyFromObject(&before[i]), &corev1.Pod{})
			if err == nil {
				return errors.New("it is still there")
			}
			return client.IgnoreNotFound(err)
		})
		s.awaitRollout(t)
		t.Logf("measured: eviction: %s was replaced in %s", before[i].Name, time.Since(start).Round(time.Second))
	}
	s.wantExchanged(t, before)
	wantFlawless(t, "evictions", s.window(t))
}

// wantExchanged fails if one of these pods is still there.
func (s *suite) wantExchanged(t *testing.T, before []corev1.Pod) {
	t.Helper()
	for _, now := range s.replicas(t) {
		for i := range before {
			if now.UID == before[i].UID {
				t.Errorf("the replica %s is still the same", now.Name)
			}
		}
	}
}
