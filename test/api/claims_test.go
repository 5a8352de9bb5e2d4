package api

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/keyturn/keyturn/internal/testenv"
)

// mapKey is the key of the entry whose value the tables make invalid.
const mapKey = "a"

// claim is one thing that a custom resource promises to refuse.
type claim struct {
	kind string
	// field is where the API server reports it, with [] for any item of a list; "<nil>" is the object itself.
	field string
	// says is part of what the API server says: the rule's own sentence, or its phrase for a bound.
	says string
}

// TestEveryClaimIsViolated compares the tables of refusals with the schemas, so that no rule is added without a test,
// and none is tested that no longer exists.
func TestEveryClaimIsViolated(t *testing.T) {
	tested := map[claim]bool{}
	for _, refused := range refusals {
		for _, r := range refused {
			tested[r.claim] = true
		}
	}
	for _, change := range append(forbiddenSessionChanges, forbiddenChanges...) {
		tested[change.claim] = true
	}
	claimed := map[claim]bool{}
	for _, definition := range testenv.Environment(t).CRDs {
		root := definition.Spec.Versions[0].Schema.OpenAPIV3Schema
		w := schemaWalk{kind: definition.Spec.Names.Kind, claims: claimed}
		w.rules(root, "<nil>")
		for _, part := range []string{"spec", "state"} {
			if schema, ok := root.Properties[part]; ok {
				w.visit(schema, part)
			}
		}
	}
	if len(claimed) == 0 {
		t.Fatal("the schemas claim nothing: the walk over them is broken")
	}
	for c := range claimed {
		if !tested[c] {
			t.Errorf("nothing violates %+v: add a case to the table of its kind", c)
		}
	}
	for c := range tested {
		if !claimed[c] {
			t.Errorf("the schema makes no such claim: %+v", c)
		}
	}
}

// schemaWalk collects the claims of a schema.
type schemaWalk struct {
	kind   string
	claims map[claim]bool
}

func (w schemaWalk) visit(schema apiextensionsv1.JSONSchemaProps, field string) {
	w.rules(&schema, field)
	w.bounds(&schema, field)
	for name, property := range schema.Properties {
		w.visit(property, field+"."+name)
	}
	if schema.Items != nil {
		w.visit(*schema.Items.Schema, field+"[]")
	}
	if schema.AdditionalProperties != nil {
		w.visit(*schema.AdditionalProperties.Schema, field+"."+mapKey)
	}
}

func (w schemaWalk) rules(schema *apiextensionsv1.JSONSchemaProps, field string) {
	for _, rule := range schema.XValidations {
		w.add(field, rule.Message)
	}
}

func (w schemaWalk) bounds(schema *apiextensionsv1.JSONSchemaProps, field string) {
	for _, name := range schema.Required {
		w.add(field+"."+name, "Required value")
	}
	if schema.MinLength != nil {
		w.add(field, fmt.Sprintf("should be at least %d chars long", *schema.MinLength))
	}
	if schema.MaxLength != nil {
		w.add(field, fmt.Sprintf("may not be more than %d bytes", *schema.MaxLength))
	}
	if schema.Pattern != "" {
		w.add(field, fmt.Sprintf("should match '%s'", schema.Pattern))
	}
	if schema.Minimum != nil {
		w.add(field, fmt.Sprintf("should be greater than or equal to %.0f", *schema.Minimum))
	}
	if schema.Maximum != nil {
		w.add(field, fmt.Sprintf("should be less than or equal to %.0f", *schema.Maximum))
	}
	if schema.MinItems != nil {
		w.add(field, fmt.Sprintf("should have at least %d items", *schema.MinItems))
	}
	if schema.MaxItems != nil {
		w.add(field, fmt.Sprintf("must have at most %d items", *schema.MaxItems))
	}
	if schema.MaxProperties != nil {
		w.add(field, fmt.Sprintf("must have at most %d items", *schema.MaxProperties))
	}
	if schema.XListType != nil && *schema.XListType == "set" {
		w.add(field+"[]", "Duplicate value")
	}
	if len(schema.Enum) > 0 {
		w.add(field, "Unsupported value")
	}
}

func (w schemaWalk) add(field, says string) { w.claims[claim{w.kind, field, says}] = true }

var index = regexp.MustCompile(`\[[0-9]+\]`)

// expectRefused fails the test unless err is the API server's refusal with a cause that matches the claim.
func expectRefused(t *testing.T, err error, want claim) {
	t.Helper()
	if err == nil {
		t.Fatalf("accepted; want it refused at %s with %q", want.field, want.says)
	}
	status, ok := err.(apierrors.APIStatus)
	if !ok || !apierrors.IsInvalid(err) {
		t.Fatalf("got the error %v; want a refusal", err)
	}
	for _, cause := range status.Status().Details.Causes {
		field := index.ReplaceAllString(cause.Field, "[]")
		if field == want.field && strings.Contains(cause.Message, want.says) {
			return
		}
	}
	t.Errorf("refused, but not at %s with %q:\n%v", want.field, want.says, err)
}
