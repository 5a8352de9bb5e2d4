package e2e

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// dump prints what helps to find out why a scenario failed.
func (s *suite) dump(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), short)
	defer cancel()
	for _, namespace := range namespaces {
		events, err := s.kube.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			t.Logf("no events of %s: %v", namespace, err)
			continue
		}
		for _, event := range events.Items {
			if event.Type == corev1.EventTypeNormal {
				continue
			}
			t.Logf("event in %s: %s %s %s: %s", namespace, event.LastTimestamp.UTC().Format(time.TimeOnly), event.InvolvedObject.Name, event.Reason, event.Message)
		}
		pods, err := s.kube.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			t.Logf("no pods of %s: %v", namespace, err)
			continue
		}
		for i := range pods.Items {
			s.dumpPod(ctx, t, &pods.Items[i])
		}
	}
}

func (s *suite) dumpPod(ctx context.Context, t *testing.T, pod *corev1.Pod) {
	t.Helper()
	t.Logf("pod %s/%s: %s", pod.Namespace, pod.Name, state(pod))
	lines := int64(60)
	for _, previous := range []bool{true, false} {
		stream, err := s.kube.CoreV1().Pods(pod.Namespace).
			GetLogs(pod.Name, &corev1.PodLogOptions{TailLines: &lines, Previous: previous}).Stream(ctx)
		if err != nil {
			continue // Most containers have no previous one.
		}
		logged, _ := io.ReadAll(stream)
		_ = stream.Close()
		t.Logf("log of %s/%s (previous: %t):\n%s", pod.Namespace, pod.Name, previous, strings.TrimSpace(string(logged)))
	}
}

// state says in a line how a pod is.
func state(pod *corev1.Pod) string {
	out := fmt.Sprintf("%s, ready %t", pod.Status.Phase, ready(pod))
	for _, status := range pod.Status.ContainerStatuses {
		switch {
		case status.State.Waiting != nil:
			out += fmt.Sprintf(", waiting: %s %s", status.State.Waiting.Reason, status.State.Waiting.Message)
		case status.State.Terminated != nil:
			out += fmt.Sprintf(", ended with %d: %s", status.State.Terminated.ExitCode, status.State.Terminated.Reason)
		}
		out += fmt.Sprintf(", %d restarts", status.RestartCount)
	}
	return out
}
