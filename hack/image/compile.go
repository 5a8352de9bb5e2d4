package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// compile builds the program for Linux. The flags are those of the Dockerfile: no paths of this machine, no state of
// the clone, no cgo and so no C library, no symbols.
func compile(ctx context.Context, p program, root, out, version, arch string) error {
	out, err := filepath.Abs(out)
	if err != nil {
		return fmt.Errorf("finding the path of %s: %w", out, err)
	}
	//nolint:gosec // The arguments are those of who builds.
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -buildid= -X main.version="+version, "-o", out, p.source)
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOFLAGS=", "GOWORK=off")
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building the %s in %s for linux/%s: %w\n%s", p.what, root, arch, err, output)
	}
	return nil
}
