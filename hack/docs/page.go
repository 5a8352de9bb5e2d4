package main

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

//go:embed api.md.tmpl
var layout string

// kind is a custom resource, as the page shows it.
type kind struct {
	Name, Plural, Description string
	ShortNames                []string
	Columns, WideColumns      []string
	Objects                   []object // the whole first, then each field that is an object, depth first
}

// kindOrder is the order of the page; a kind that is not in it comes last.
var kindOrder = []string{"TokenIssuer", "TokenRevocation", "Session"}

// render makes the page from the files of a clone.
func render(root string) ([]byte, error) {
	kinds, err := readKinds(filepath.Join(root, "config", "crd", "bases"))
	if err != nil {
		return nil, err
	}
	vocabulary, err := readConstants(filepath.Join(root, "api", "v1alpha1", "constants.go"))
	if err != nil {
		return nil, err
	}
	page, err := template.New("api.md").Funcs(template.FuncMap{
		"anchor": anchor, "code": code, "codes": codes, "value": vocabulary.value, "group": vocabulary.group, "cell": cell,
	}).Parse(layout)
	if err != nil {
		return nil, fmt.Errorf("reading the layout of the reference: %w", err)
	}
	var text bytes.Buffer
	if err := page.Execute(&text, kinds); err != nil {
		return nil, fmt.Errorf("laying out the reference: %w", err)
	}
	return text.Bytes(), vocabulary.unused()
}

func readKinds(folder string) ([]kind, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err == nil && len(files) == 0 {
		err = errors.New("there are none: run `make manifests`, from the root of the clone")
	}
	if err != nil {
		return nil, fmt.Errorf("reading the custom resources in %s: %w", folder, err)
	}
	var kinds []kind
	for _, file := range files {
		document, err := os.ReadFile(file) //nolint:gosec // A file of the clone.
		if err != nil {
			return nil, fmt.Errorf("reading a custom resource: %w", err)
		}
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(document, &crd); err != nil {
			return nil, fmt.Errorf("reading the custom resource %s: %w", file, err)
		}
		if len(crd.Spec.Versions) != 1 {
			return nil, fmt.Errorf("the custom resource %s has %d versions: give the page a part for each", file, len(crd.Spec.Versions))
		}
		kinds = append(kinds, describeKind(&crd))
	}
	place := func(k kind) int {
		if at := slices.Index(kindOrder, k.Name); at >= 0 {
			return at
		}
		return len(kindOrder)
	}
	slices.SortStableFunc(kinds, func(a, b kind) int { return place(a) - place(b) })
	return kinds, nil
}

func describeKind(crd *apiextensionsv1.CustomResourceDefinition) kind {
	version, names := crd.Spec.Versions[0], crd.Spec.Names
	schema := version.Schema.OpenAPIV3Schema
	k := kind{
		Name: names.Kind, Plural: names.Plural, ShortNames: names.ShortNames, Description: paragraphs(schema.Description),
		Objects: objects(names.Kind, schema),
	}
	for _, column := range version.AdditionalPrinterColumns {
		if column.Priority == 0 {
			k.Columns = append(k.Columns, column.Name)
		} else {
			k.WideColumns = append(k.WideColumns, column.Name)
		}
	}
	return k
}

// anchor is the fragment that GitHub gives a heading: lower case, dashes for spaces, and of the rest only letters, digits,
// dashes and underscores.
func anchor(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r > 127:
			return r
		default:
			return -1
		}
	}, strings.ToLower(heading))
}

func code(text string) string { return "`" + text + "`" }

func codes(texts []string) string {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = code(text)
	}
	return strings.Join(quoted, ", ")
}

// cell is text as a cell of a table: in one line, and without the bars that would end it.
func cell(text string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", `\|`)
}

// prose is the text of a comment, safe from what Markdown takes for a tag or for emphasis.
func prose(text string) string {
	return strings.NewReplacer("<", `\<`, "*", `\*`, "__", `\_\_`).Replace(strings.Join(strings.Fields(text), " "))
}

// paragraphs is a longer comment, with its empty lines.
func paragraphs(text string) string {
	var all []string
	for paragraph := range strings.SplitSeq(text, "\n\n") {
		all = append(all, prose(paragraph))
	}
	return strings.Join(all, "\n\n")
}
