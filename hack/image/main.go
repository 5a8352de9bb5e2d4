// Command image builds the operator, or another program of the clone, and writes its container image, without a container
// engine, as an archive that `docker load`, `podman load` and `ctr images import` read. The same source, version and epoch
// give the same image, to the byte: nothing in it depends on the machine that it is made on.
//
//	make image        # dist/keyturn-image.tar
//
// It is a module of its own, so that what it needs never becomes a dependency of the operator.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, arguments []string) error {
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	root := flags.String("root", ".", "the root of the clone")
	programName := flags.String("program", "operator", "what the image is of: operator; signer, the example of a workload; or e2e-client, which the end-to-end suite runs in pods")
	out := flags.String("out", filepath.Join("dist", "keyturn-image.tar"), "the archive to write")
	tag := flags.String("tag", "keyturn:latest", "the name and tag of the image")
	version := flags.String("version", "dev", "the version that the program prints, and a label of the image")
	arch := flags.String("arch", runtime.GOARCH, "the architecture, in Go's words: amd64 or arm64")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	chosen, err := programNamed(*programName)
	if err != nil {
		return err
	}
	reference, err := name.NewTag(*tag)
	if err != nil {
		return fmt.Errorf("-tag: %w", err)
	}
	created, err := epoch(os.Getenv("SOURCE_DATE_EPOCH"))
	if err != nil {
		return err
	}

	folder, err := os.MkdirTemp("", "keyturn-image-")
	if err != nil {
		return fmt.Errorf("making a folder to build in: %w", err)
	}
	defer func() { _ = os.RemoveAll(folder) }()
	binary := filepath.Join(folder, "program")
	if err := compile(ctx, chosen, *root, binary, *version, *arch); err != nil {
		return err
	}
	image, err := assemble(contents{program: chosen, binary: binary, version: *version, arch: *arch, created: created})
	if err != nil {
		return err
	}

	//nolint:gosec // The archive has no secrets in it, and is for everybody to read.
	if err := os.MkdirAll(filepath.Dir(*out), 0o755); err != nil {
		return fmt.Errorf("making the folder of the archive: %w", err)
	}
	if err := tarball.WriteToFile(*out, reference, image); err != nil {
		return fmt.Errorf("writing the archive %s: %w", *out, err)
	}
	digest, err := image.Digest()
	if err != nil {
		return fmt.Errorf("computing the digest: %w", err)
	}
	fmt.Printf("%s: %s for linux/%s, %s\n", *out, *tag, *arch, digest)
	return nil
}

// epoch reads SOURCE_DATE_EPOCH: the time that everything in the image bears, in seconds since 1970. Without it that is
// 1970, rather than a time that differs between two builds.
func epoch(value string) (time.Time, error) {
	if value == "" {
		value = "0"
	}
	seconds, err := strconv.ParseInt(value, 10, 64)
	if err != nil || seconds < 0 {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH: %q is not a number of seconds since 1970", value)
	}
	return time.Unix(seconds, 0).UTC(), nil
}
