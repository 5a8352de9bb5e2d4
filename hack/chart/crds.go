package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

// definitions are the custom resources.
type definitions struct {
	// documents are their files as they are, by name.
	documents map[string]any
	// namespaced tells for each whether its objects are in namespaces.
	namespaced map[schema.GroupResource]bool
}

func customResources(folder string) (definitions, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err == nil && len(files) == 0 {
		err = errors.New("there are none: run `make manifests`, from the root of the clone")
	}
	if err != nil {
		return definitions{}, fmt.Errorf("reading the custom resources in %s: %w", folder, err)
	}
	all := definitions{documents: map[string]any{}, namespaced: map[schema.GroupResource]bool{}}
	for _, file := range files {
		document, err := os.ReadFile(file) //nolint:gosec // A file of the clone.
		if err != nil {
			return definitions{}, fmt.Errorf("reading a custom resource: %w", err)
		}
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(document, &crd); err != nil {
			return definitions{}, fmt.Errorf("reading the custom resource %s: %w", file, err)
		}
		all.documents[filepath.Base(file)] = document
		all.namespaced[schema.GroupResource{Group: crd.Spec.Group, Resource: crd.Spec.Names.Plural}] =
			crd.Spec.Scope == apiextensionsv1.NamespaceScoped
	}
	return all, nil
}
