package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	metav1config "k8s.io/client-go/applyconfigurations/meta/v1"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/keyturn/keyturn/api/v1alpha1"
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

// fleet is how this replica and the others know of each other. Without an election there are no others.
type fleet struct {
	options *options
	// progress is nil without an election: nobody would report it, nor ever take back what is announced to it.
	progress *replicas.Progress

	// What follows is there once it has joined.
	leases  coordinationclient.LeasesGetter
	members *replicas.Fleet
}

func newFleet(o *options) *fleet {
	if !o.leaderElect {
		return &fleet{options: o}
	}
	return &fleet{options: o, progress: replicas.NewProgress(o.namespaces)}
}

// received announces each revocation before it is handled: see replicas.Progress.
func (f *fleet) received(object any) (any, error) {
	if gone, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
		object = gone.Obj
	}
	if accessor, err := meta.Accessor(object); err == nil && f.progress != nil {
		f.progress.Received(client.ObjectKey{Namespace: accessor.GetNamespace(), Name: accessor.GetName()}, accessor.GetResourceVersion())
	}
	return cache.TransformStripManagedFields()(object)
}

// join has this replica say how far it is with what it watches, and listen to what the others say.
func (f *fleet) join(mgr manager.Manager, watching *issuers.WatcherOptions, log logr.Logger) error {
	if f.progress == nil {
		return nil
	}
	leases, err := coordinationclient.NewForConfig(mgr.GetConfig())
	if err != nil {
		return fmt.Errorf("the connection to the API server for the Leases of replicas: %w", err)
	}
	self := replicas.NewName()
	f.leases, f.members = leases, replicas.NewFleet(self, mgr.GetCache(), clock.RealClock{})
	watching.Progress = f.progress
	return errors.Join(mgr.Add(f.members), mgr.Add(&replicas.Reporter{
		Leases: leases, Namespace: f.options.leaderNamespace, Name: self, Progress: f.progress, Served: watching.Served,
		Latest: latestRevocations(mgr.GetAPIReader(), f.options.namespaces),
		Owner:  owner(),
		Clock:  clock.RealClock{}, Log: log.WithName("replicas"),
	}))
}

// owner is the pod, as its environment names it; nil outside of one.
func owner() *metav1config.OwnerReferenceApplyConfiguration {
	name, uid := os.Getenv("POD_NAME"), os.Getenv("POD_UID")
	if name == "" || uid == "" {
		return nil
	}
	return metav1config.OwnerReference().WithAPIVersion("v1").WithKind("Pod").WithName(name).WithUID(types.UID(uid))
}

// latestRevocations asks for the metadata of all TokenRevocations, page by page.
func latestRevocations(reader client.Reader, namespaces []string) func(context.Context) (map[string]string, error) {
	if len(namespaces) == 0 {
		namespaces = []string{metav1.NamespaceAll}
	}
	const page = 500
	return func(ctx context.Context) (map[string]string, error) {
		latest := map[string]string{}
		for _, namespace := range namespaces {
			list := &metav1.PartialObjectMetadataList{}
			list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("TokenRevocationList"))
			for more := true; more; more = list.Continue != "" {
				if err := reader.List(ctx, list, client.InNamespace(namespace), client.Limit(page), client.Continue(list.Continue)); err != nil {
					return nil, fmt.Errorf("asking for the latest TokenRevocations: %w", err)
				}
				for i := range list.Items {
					version := list.Items[i].ResourceVersion
					if replicas.Later(version, latest[namespace]) {
						latest[namespace] = version
					}
				}
			}
		}
		return latest, nil
	}
}
