package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
)

// constant is a word of the API that is no field: a label, a condition, a reason.
type constant struct {
	Name     string // in Go
	Value    string
	Sentence string // what it means, without the word itself in front
}

// vocabulary is all constants, in the order of their file.
type vocabulary struct {
	constants []constant
	used      map[string]bool
}

// readConstants reads the string constants of a Go file. Each must have a comment that begins with its name, as is the
// custom, or a sentence in sentences.
func readConstants(file string) (*vocabulary, error) {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		return nil, fmt.Errorf("reading the constants of the API: %w", err)
	}
	v := &vocabulary{used: map[string]bool{}}
	for _, declaration := range parsed.Decls {
		group, ok := declaration.(*ast.GenDecl)
		if !ok || group.Tok != token.CONST {
			continue
		}
		for _, spec := range group.Specs {
			c, err := readConstant(spec.(*ast.ValueSpec))
			if err != nil {
				return nil, fmt.Errorf("reading the constants of %s: %w", file, err)
			}
			v.constants = append(v.constants, c)
		}
	}
	for name := range sentences {
		if !slices.ContainsFunc(v.constants, func(c constant) bool { return c.Name == name }) {
			return nil, fmt.Errorf("hack/docs/sentences.go explains %s, which %s does not have: take the sentence out", name, file)
		}
	}
	v.spellOut()
	return v, nil
}

func readConstant(spec *ast.ValueSpec) (constant, error) {
	c := constant{Name: spec.Names[0].Name}
	if len(spec.Names) != 1 || len(spec.Values) != 1 {
		return c, fmt.Errorf("%s must be one name with one value", c.Name)
	}
	literal, ok := spec.Values[0].(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return c, fmt.Errorf("%s must be a string", c.Name)
	}
	var err error
	if c.Value, err = strconv.Unquote(literal.Value); err != nil {
		return c, fmt.Errorf("the value of %s: %w", c.Name, err)
	}
	comment, begins := strings.CutPrefix(spec.Doc.Text(), c.Name)
	if own, ok := sentences[c.Name]; ok {
		comment, begins = " "+own, true
	}
	if !begins {
		return c, fmt.Errorf("%s must have a comment that begins with its name, or a sentence in hack/docs/sentences.go", c.Name)
	}
	c.Sentence = prose(comment)
	if strings.HasPrefix(comment, " ") {
		c.Sentence = " " + c.Sentence
	}
	return c, nil
}

// spellOut writes the words themselves where comments name other constants. Longer names go first, since one may begin
// with another.
func (v *vocabulary) spellOut() {
	byLength := slices.Clone(v.constants)
	slices.SortFunc(byLength, func(a, b constant) int { return len(b.Name) - len(a.Name) })
	var pairs []string
	for _, c := range byLength {
		pairs = append(pairs, c.Name, code(c.Value))
	}
	replacer := strings.NewReplacer(pairs...)
	for i := range v.constants {
		v.constants[i].Sentence = replacer.Replace(v.constants[i].Sentence)
	}
}

// value is what a constant stands for.
func (v *vocabulary) value(name string) (string, error) {
	for _, c := range v.constants {
		if c.Name == name {
			v.used[name] = true
			return code(c.Value), nil
		}
	}
	return "", fmt.Errorf("api/v1alpha1 has no constant %s", name)
}

// group is the constants whose names begin with a word.
func (v *vocabulary) group(prefix string) ([]constant, error) {
	var group []constant
	for _, c := range v.constants {
		if strings.HasPrefix(c.Name, prefix) {
			v.used[c.Name] = true
			group = append(group, c)
		}
	}
	if len(group) == 0 {
		return nil, fmt.Errorf("api/v1alpha1 has no constant whose name begins with %s", prefix)
	}
	return group, nil
}

// unused complains of constants that are nowhere on the page.
func (v *vocabulary) unused() error {
	for _, c := range v.constants {
		if !v.used[c.Name] {
			return fmt.Errorf("the constant %s is nowhere in the reference: give it a place in hack/docs/api.md.tmpl", c.Name)
		}
	}
	return nil
}
