// Package api asks a real API server what it does with Keyturn's custom resources: what it refuses and in which words,
// what it accepts, and what it fills in.
package api

import (
	"fmt"
	"os"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/testenv"
)

const namespace = "default"

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// apiServer returns a client of the API server with an administrator's rights.
func apiServer(t *testing.T) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(testenv.Environment(t).Config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatalf("making a client of the test's API server: %v", err)
	}
	return c
}

// The smallest valid specs, which the tables below change in one place.
const (
	signingIssuer = `
issuerURL: https://tokens.shop.example
audiences: [shop-api]
signing: {}`
	externalIssuer = `
issuerURL: https://login.shop.example/realms/shop
audiences: [shop-api]
external: {}`
	revocation = `
issuerRef: {name: shop}`
)

// object returns an object of the kind whose spec is base with the fields of change put over it; null removes a field.
// For a Session, base and change hold its state too.
func object(t *testing.T, kind, name, base, change string) *unstructured.Unstructured {
	t.Helper()
	spec := map[string]any{}
	for _, document := range []string{base, change} {
		overlay(spec, fieldsOf(t, document))
	}
	made := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	if kind == "Session" {
		made.Object = spec
	}
	made.SetAPIVersion(v1alpha1.GroupVersion.String())
	made.SetKind(kind)
	made.SetNamespace(namespace)
	made.SetName(name)
	return made
}

// fieldsOf reads YAML with whole numbers as int64, as they come from the API server.
func fieldsOf(t *testing.T, document string) map[string]any {
	t.Helper()
	var fields map[string]any
	text, err := yaml.YAMLToJSON([]byte(document))
	if err == nil {
		err = json.Unmarshal(text, &fields)
	}
	if err != nil {
		t.Fatalf("the table holds bad YAML: %v\n%s", err, document)
	}
	return fields
}

// changeable is what the tables change of an object.
func changeable(object *unstructured.Unstructured) map[string]any {
	if object.GetKind() == "Session" {
		return object.Object
	}
	return object.Object["spec"].(map[string]any)
}

// nameOf returns a name that an object of the kind may have.
func nameOf(kind string) string {
	if kind == "Session" {
		return sessionID
	}
	return "shop"
}

// overlay is a JSON merge patch (RFC 7396).
func overlay(target, patch map[string]any) {
	for key, value := range patch {
		nested, isObject := value.(map[string]any)
		existing, wasObject := target[key].(map[string]any)
		switch {
		case value == nil:
			delete(target, key)
		case isObject && wasObject:
			overlay(existing, nested)
		default:
			target[key] = value
		}
	}
}

// list returns a YAML list of n different strings.
func list(n int) string {
	items := ""
	for i := range n {
		items += fmt.Sprintf("v%d, ", i)
	}
	return "[" + items + "]"
}

// mapping returns a YAML map of n different entries.
func mapping(n int) string {
	entries := ""
	for i := range n {
		entries += fmt.Sprintf("k%d: v, ", i)
	}
	return "{" + entries + "}"
}
