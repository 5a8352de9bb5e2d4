package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/utils/ptr"
)

var clone = filepath.Join("..", "..")

func TestReferenceIsCurrent(t *testing.T) {
	want, err := render(clone)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(clone, reference))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s is not current; run `make docs` (-want +page):\n%s", reference, diff)
	}
}

func TestTypeOf(t *testing.T) {
	text := schema{Type: "string", MaxLength: ptr.To[int64](64)}
	rule := func(rule string) apiextensionsv1.ValidationRules {
		return apiextensionsv1.ValidationRules{{Rule: rule}}
	}
	for name, test := range map[string]struct {
		schema schema
		want   string
	}{
		"text without bounds": {schema{Type: "string"}, "string"},
		"text with both":      {schema{Type: "string", MinLength: ptr.To[int64](1), MaxLength: ptr.To[int64](9)}, "string, 1 to 9 characters"},
		"text with a pattern": {schema{Type: "string", Pattern: "^a|b$"}, "string, like `^a|b$`"},
		"choice":              {schema{Type: "integer", Enum: []apiextensionsv1.JSON{{Raw: []byte("2048")}, {Raw: []byte("3072")}}}, "one of `2048`, `3072`"},
		"duration": {
			schema{Type: "string", Pattern: durationPattern, MaxLength: ptr.To[int64](32), XValidations: rule("duration(self) >= duration('0s') && duration(self) <= duration('5m')")},
			"duration, 0s to 5m",
		},
		"time":   {schema{Type: "string", Format: "date-time"}, "time"},
		"number": {schema{Type: "integer", Minimum: ptr.To(1.0), Maximum: ptr.To(100.0)}, "integer, 1 to 100"},
		"set": {
			schema{Type: "array", XListType: ptr.To("set"), MinItems: ptr.To[int64](1), Items: &apiextensionsv1.JSONSchemaPropsOrArray{Schema: &text}},
			"list of at least 1, no two the same: string, at most 64 characters",
		},
		"map": {
			schema{Type: "object", MaxProperties: ptr.To[int64](16), AdditionalProperties: &apiextensionsv1.JSONSchemaPropsOrBool{Schema: &text}},
			"map of at most 16: string, at most 64 characters",
		},
		"objects": {
			schema{Type: "array", XListType: ptr.To("map"), XListMapKeys: []string{"id"}, Items: &apiextensionsv1.JSONSchemaPropsOrArray{
				Schema: &schema{Type: "object", Properties: map[string]schema{"id": text}},
			}},
			"list, no two with the same `id`: [object](#kindspecfield)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := typeOf("Kind.spec.field", &test.schema); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// TestRules wants every message of a rule on the page, those of values in lists and maps too, but for the bounds of
// durations.
func TestRules(t *testing.T) {
	message := func(text string) apiextensionsv1.ValidationRules {
		return apiextensionsv1.ValidationRules{{Rule: "true", Message: text}}
	}
	s := schema{XValidations: message("of the object"), Properties: map[string]schema{
		"list": {Type: "array", XValidations: message("of the list"), Items: &apiextensionsv1.JSONSchemaPropsOrArray{
			Schema: &schema{Type: "string", XValidations: message("of an element")},
		}},
		"period": {Type: "string", Pattern: durationPattern, XValidations: apiextensionsv1.ValidationRules{{
			Rule: "duration(self) >= duration('0s') && duration(self) <= duration('5m')", Message: "of the bounds",
		}}},
		"inner": {Type: "object", Properties: map[string]schema{"a": {Type: "string", XValidations: message("of a field")}}},
	}}
	all := objects("Kind", &s)
	if len(all) != 2 {
		t.Fatalf("got %d objects, want the outer and the inner one", len(all))
	}
	if diff := cmp.Diff([]string{"of the object", "of the list", "of an element"}, all[0].Rules); diff != "" {
		t.Errorf("rules of the outer object (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"of a field"}, all[1].Rules); diff != "" {
		t.Errorf("rules of the inner object (-want +got):\n%s", diff)
	}
}

func TestConstantsAreExplained(t *testing.T) {
	source, err := os.ReadFile(filepath.Join(clone, "api", "v1alpha1", "constants.go"))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ from, to, want string }{
		"without a comment":    {"const (\n", "const (\n\tLabelNew = \"keyturn.dev/new\"\n", "LabelNew must have a comment"},
		"with another comment": {"// LabelIssuer names", "// It names", "LabelIssuer must have a comment"},
		"with no place":        {"// LabelIssuer names", "// Other is new.\n\tOther = \"other\"\n\t// LabelIssuer names", "Other is nowhere"},
		"gone":                 {"ReasonExpired ", "// ReasonExpired ", "explains ReasonExpired"},
	} {
		t.Run(name, func(t *testing.T) {
			changed := strings.Replace(string(source), test.from, test.to, 1)
			if changed == string(source) {
				t.Fatalf("found no %q in the constants", test.from)
			}
			root := t.TempDir()
			bases := filepath.Join(root, "config", "crd")
			if err := os.MkdirAll(bases, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(filepath.Join(bases, "bases"), os.DirFS(filepath.Join(clone, "config", "crd", "bases"))); err != nil {
				t.Fatal(err)
			}
			folder := filepath.Join(root, "api", "v1alpha1")
			if err := os.MkdirAll(folder, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(folder, "constants.go"), []byte(changed), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := render(root); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got the error %v, want one with %q", err, test.want)
			}
		})
	}
}
