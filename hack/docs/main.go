// Command docs writes docs/api.md, the reference of the API, from what the API is made of: the custom resources, which
// controller-gen has made from the types and their comments, and the constants of api/v1alpha1.
//
//	go run ./hack/docs        # from the root of the clone
//
// A ready-made generator for Go types is not used: the schema already has every default, bound and rule with its message,
// and says better than the types what the API server enforces.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	root := flag.String("root", ".", "the root of the clone")
	flag.Parse()
	if err := write(*root); err != nil {
		fmt.Fprintln(os.Stderr, "docs:", err)
		os.Exit(1)
	}
}

// reference is the page, in the clone.
var reference = filepath.Join("docs", "api.md")

func write(root string) error {
	page, err := render(root)
	if err != nil {
		return err
	}
	path := filepath.Join(root, reference)
	if err := os.WriteFile(path, page, 0o644); err != nil { //nolint:gosec // Part of the clone, for everybody to read.
		return fmt.Errorf("writing the reference of the API: %w", err)
	}
	return nil
}
