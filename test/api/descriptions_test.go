package api

import (
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/keyturn/keyturn/internal/testenv"
)

// TestEveryFieldIsDescribed keeps `kubectl explain` complete: it is the reference of the API.
func TestEveryFieldIsDescribed(t *testing.T) {
	if n := len(testenv.Environment(t).CRDs); n != 3 {
		t.Fatalf("the API server holds %d custom resources, want TokenIssuer, TokenRevocation and Session", n)
	}
	for _, definition := range testenv.Environment(t).CRDs {
		kind := definition.Spec.Names.Kind
		root := definition.Spec.Versions[0].Schema.OpenAPIV3Schema
		expectDescribed(t, kind, *root)
		for _, part := range []string{"spec", "status", "state"} {
			if schema, ok := root.Properties[part]; ok {
				expectDescribed(t, kind+"."+part, schema)
			}
		}
	}
}

func expectDescribed(t *testing.T, path string, schema apiextensionsv1.JSONSchemaProps) {
	t.Helper()
	if strings.TrimSpace(schema.Description) == "" {
		t.Errorf("%s has no description: write a comment over the field in api/v1alpha1", path)
	}
	if path[strings.LastIndexByte(path, '.')+1:] == schema.Description {
		t.Errorf("the description of %s only repeats its name", path)
	}
	if schema.Items != nil {
		schema = *schema.Items.Schema
	}
	for name, property := range schema.Properties {
		if strings.Contains(path, ".") { // Beside its parts, the object itself has only what all objects have.
			expectDescribed(t, path+"."+name, property)
		}
	}
}
