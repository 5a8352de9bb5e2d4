package e2e

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
)

// removeEverything removes what this or an earlier run has made. It refuses to touch a Keyturn of anybody else.
func (s *suite) removeEverything(t *testing.T) {
	t.Helper()
	ctx := context.Background()
	ours := 0
	for _, name := range namespaces {
		var namespace corev1.Namespace
		err := s.api.Get(ctx, client.ObjectKey{Name: name}, &namespace)
		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			t.Fatalf("reading the namespace %s: %v", name, err)
		case namespace.Labels[labelSuite] == "":
			t.Fatalf("the namespace %s exists, and is not the suite's: run it on a cluster without Keyturn", name)
		default:
			ours++
		}
	}
	crds := s.customResources(ctx, t)
	if ours == 0 && len(crds) > 0 {
		t.Fatalf("the cluster has %s already: run the suite on a cluster without Keyturn", crds[0].Name)
	}
	if ours == 0 {
		return
	}
	if _, err := s.helm("uninstall", release, "--namespace", systemNamespace, "--ignore-not-found", "--wait"); err != nil {
		t.Errorf("removing the release: %v", err)
	}
	for i := range crds {
		if err := client.IgnoreNotFound(s.api.Delete(ctx, &crds[i])); err != nil {
			t.Errorf("removing %s: %v", crds[i].Name, err)
		}
	}
	for _, name := range namespaces {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if err := client.IgnoreNotFound(s.api.Delete(ctx, namespace)); err != nil {
			t.Errorf("removing the namespace %s: %v", name, err)
		}
	}
	await(t, "the suite's objects to be gone", long, func(ctx context.Context) error {
		for _, name := range namespaces {
			err := s.api.Get(ctx, client.ObjectKey{Name: name}, &corev1.Namespace{})
			if err == nil {
				return fmt.Errorf("the namespace %s is still there", name)
			}
			if !apierrors.IsNotFound(err) {
				return err
			}
		}
		if left := s.customResources(ctx, t); len(left) > 0 {
			return fmt.Errorf("%s is still there", left[0].Name)
		}
		return nil
	})
}

// customResources are the definitions of Keyturn that the cluster has.
func (s *suite) customResources(ctx context.Context, t *testing.T) []apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	var all apiextensionsv1.CustomResourceDefinitionList
	if err := s.api.List(ctx, &all); err != nil {
		t.Fatalf("listing custom resources: %v", err)
	}
	var out []apiextensionsv1.CustomResourceDefinition
	for _, crd := range all.Items {
		if crd.Spec.Group == v1alpha1.GroupVersion.Group {
			out = append(out, crd)
		}
	}
	return out
}
