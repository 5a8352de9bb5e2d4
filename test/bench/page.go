package main

import (
	"bytes"
	_ "embed"
	"os"
	"text/template"
)

//go:embed page.md.tmpl
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// page is what docs/benchmarks.md is made of.
type page struct {
	Machine machine
	Rounds  int
	Tables  []table
}

func writePage(path string, p page) error {
	var text bytes.Buffer
	if err := pageTemplate.Execute(&text, p); err != nil {
		return err
	}
	return os.WriteFile(path, text.Bytes(), 0o644) //nolint:gosec // A page of the documentation, for everyone to read.
}
