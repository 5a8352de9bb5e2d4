// Package moduleroot finds the clone that a test or the demo runs in, to read its manifests and build its programs.
package moduleroot

import (
	"fmt"
	"os"
	"path/filepath"
)

// marker is a file that only the root of a clone has: folders such as hack/image have a go.mod of their own.
const marker = "PROJECT"

// Find returns the root of the clone, found upwards from the working directory, which go test sets to the package's own
// folder.
func Find() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("looking for the root of the clone: %w", err)
	}
	for folder := start; ; folder = filepath.Dir(folder) {
		if _, err := os.Stat(filepath.Join(folder, marker)); err == nil {
			return folder, nil
		}
		if folder == filepath.Dir(folder) {
			return "", fmt.Errorf("looking for %s upwards from %s: there is none; run this in a clone of the repository", marker, start)
		}
	}
}
