package main

import (
	"fmt"
	"net/http"
	"syscall"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client/config"

	"github.com/keyturn/keyturn/test/e2e/report"
)

// killAtChange kills processes as soon as the API server tells that a Secret is no longer at the given version. It waits
// for that here, on the node, because a message more would come too late: what follows the change takes milliseconds.
func killAtChange(r *http.Request) (report.Processes, error) {
	query := r.URL.Query()
	found, err := processes(r)
	if err != nil {
		return report.Processes{}, err
	}
	connection, err := config.GetConfig()
	if err != nil {
		return report.Processes{}, fmt.Errorf("finding the API server: %w", err)
	}
	api, err := kubernetes.NewForConfig(connection)
	if err != nil {
		return report.Processes{}, fmt.Errorf("connecting to the API server: %w", err)
	}
	changes, err := api.CoreV1().Secrets(query.Get("namespace")).Watch(r.Context(), metav1.ListOptions{
		FieldSelector:   fields.OneTermEqualSelector(metav1.ObjectNameField, query.Get("secret")).String(),
		ResourceVersion: query.Get("version"),
	})
	if err != nil {
		return report.Processes{}, fmt.Errorf("watching the Secret %s/%s: %w", query.Get("namespace"), query.Get("secret"), err)
	}
	defer changes.Stop()
	for change := range changes.ResultChan() {
		if change.Type == watch.Modified {
			return found, signalAll(found.PIDs, syscall.SIGKILL)
		}
	}
	return report.Processes{}, fmt.Errorf("the watch of the Secret %s/%s ended before it changed", query.Get("namespace"), query.Get("secret"))
}
