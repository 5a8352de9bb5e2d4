package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/go-logr/logr"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/replicas"
)

// podNamespaceFile is where a pod finds its namespace, with the token of its ServiceAccount.
const podNamespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// podNamespace returns the namespace that this pod is in.
func podNamespace() (string, error) {
	namespace, err := os.ReadFile(podNamespaceFile)
	if err != nil {
		return "", fmt.Errorf("finding the pod's own namespace: %w", err)
	}
	return strings.TrimSpace(string(namespace)), nil
}

// fleet is how this replica and the others know of each other. It is nil without an election: then there are no others.
type fleet struct {
	leases    coordinationclient.LeasesGetter
	namespace string // of the Leases
	self      string // the name of this replica's Lease
	progress  *replicas.Progress
}

func newFleet(o *options, config *rest.Config) (*fleet, error) {
	if !o.leaderElect {
		return nil, nil
	}
	client, err := coordinationclient.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("the connection to the API server for the Leases of replicas: %w", err)
	}
	return &fleet{
		leases: client, namespace: o.leaderNamespace, self: replicas.NewName(), progress: replicas.NewProgress(o.namespaces),
	}, nil
}

// join has this replica say how far it is with what it watches.
func (f *fleet) join(mgr manager.Manager, watching *issuers.WatcherOptions, log logr.Logger) error {
	if f == nil {
		return nil
	}
	watching.Progress = f.progress
	return mgr.Add(&replicas.Reporter{
		Leases: f.leases, Namespace: f.namespace, Name: f.self, Progress: f.progress, Served: watching.Served,
		Clock: clock.RealClock{}, Log: log.WithName("replicas"),
	})
}
