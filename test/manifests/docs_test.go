package manifests

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/testenv"
)

// TestObjectsOfTheDocumentationAreAccepted creates every object that a page shows, without keeping it, and with unknown
// fields forbidden. Objects of kinds that a plain API server does not have are somebody else's.
func TestObjectsOfTheDocumentationAreAccepted(t *testing.T) {
	plain, err := client.New(testenv.Environment(t).Config, client.Options{})
	if err != nil {
		t.Fatalf("making a client of the test's API server: %v", err)
	}
	server := client.WithFieldValidation(plain, metav1.FieldValidationStrict)
	ours := 0
	for _, page := range documentation(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for line, document := range documents(string(text)) {
			where := fmt.Sprintf("%s:%d", filepath.ToSlash(strings.TrimPrefix(page, root)), line)
			for _, object := range decode(t, where, document) {
				if object.GroupVersionKind().Group == v1alpha1.GroupVersion.Group {
					ours++
				} else if _, err := server.RESTMapper().RESTMapping(object.GroupVersionKind().GroupKind()); meta.IsNoMatchError(err) {
					continue
				}
				t.Run(where+" "+object.GetKind()+" "+object.GetName(), func(t *testing.T) {
					object.SetNamespace("default")
					if err := server.Create(t.Context(), object, client.DryRunAll); err != nil {
						t.Errorf("refused: %v", err)
					}
				})
			}
		}
	}
	if ours < 10 {
		t.Errorf("found only %d objects of Keyturn in the documentation", ours)
	}
}

var root = filepath.Join("..", "..") + string(filepath.Separator)

func documentation(t *testing.T) []string {
	t.Helper()
	var pages []string
	for _, pattern := range []string{"*.md", "docs/*.md", "examples/*/*.md"} {
		found, err := filepath.Glob(root + pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("found no pages %s (error: %v)", pattern, err)
		}
		pages = append(pages, found...)
	}
	return pages
}

// documents returns the objects in the code of a page, by the number of their first line: from apiVersion, or from the
// spec of a TokenIssuer whose first lines are left out, to the next line that is empty, ends a here-document or a fence,
// or is a command.
func documents(page string) map[int]string {
	all := map[int]string{}
	begin, indent := 0, ""
	for i, line := range strings.Split(page, "\n") {
		trimmed := strings.TrimLeft(line, " ")
		switch {
		case begin == 0 && (strings.HasPrefix(trimmed, "apiVersion: ") || strings.HasPrefix(trimmed, "spec:")):
			begin, indent = i+1, line[:len(line)-len(trimmed)]
		case trimmed == "", trimmed == "EOF", trimmed == "END", strings.HasPrefix(trimmed, "```"), strings.HasPrefix(trimmed, "$ "):
			begin = 0
		}
		if begin > 0 {
			all[begin] += strings.TrimPrefix(line, indent) + "\n"
		}
	}
	for line, document := range all {
		if strings.HasPrefix(document, "apiVersion: ") {
			continue
		}
		if !strings.Contains(document, "issuerURL:") {
			delete(all, line) // A part of something else.
			continue
		}
		all[line] = "apiVersion: " + v1alpha1.GroupVersion.String() + "\nkind: TokenIssuer\nmetadata: {name: shown-in-part}\n" + document
	}
	return all
}

func decode(t *testing.T, where, document string) []*unstructured.Unstructured {
	t.Helper()
	var objects []*unstructured.Unstructured
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewBufferString(document), 4096)
	for {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(&object.Object); errors.Is(err, io.EOF) {
			return objects
		} else if err != nil {
			t.Fatalf("%s: %v in\n%s", where, err, document)
		}
		objects = append(objects, object)
	}
}
