// Package moduleroot finds the clone that a test or the demo runs in, to read its manifests and build its programs.
package moduleroot

import (
	"fmt"
	"os"
	"path/filepath"
)

// Find returns the folder of go.mod, found upwards from the working directory, which go test sets to the package's own
// folder.
func Find() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("looking for go.mod: %w", err)
	}
	for folder := start; ; folder = filepath.Dir(folder) {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder, nil
		}
		if folder == filepath.Dir(folder) {
			return "", fmt.Errorf("looking for go.mod upwards from %s: there is none; run this in a clone of the repository", start)
		}
	}
}
