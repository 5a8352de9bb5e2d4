package main

import (
	"archive/tar"
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

const (
	// user is that of the chart and of config/, and no user of any node.
	user = "65532:65532"
	// rootsPath is where Go's crypto/x509 looks for the authorities to trust. They are for the keys of external issuers.
	rootsPath = "etc/ssl/certs/ca-certificates.crt"
)

// contents are what makes an image.
type contents struct {
	program               program
	binary, version, arch string
	created               time.Time
}

// assemble makes an image of a program and of the authorities to trust, and of nothing else: no shell, no package
// manager, no library. The authorities are a layer of their own, because they change less often than the program.
func assemble(c contents) (v1.Image, error) {
	executable, err := os.ReadFile(c.binary)
	if err != nil {
		return nil, fmt.Errorf("reading the %s: %w", c.program.what, err)
	}
	ports := map[string]struct{}{}
	for _, port := range c.program.ports {
		ports[port] = struct{}{}
	}
	// Reading the configuration of the image and writing it back leaves no field of ours out.
	image, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{
		OS: "linux", Architecture: c.arch, Created: v1.Time{Time: c.created}, RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{
			User: user, Entrypoint: []string{c.program.entrypoint}, WorkingDir: "/",
			ExposedPorts: ports,
			Labels: map[string]string{
				"org.opencontainers.image.title":       c.program.title,
				"org.opencontainers.image.description": c.program.description,
				"org.opencontainers.image.licenses":    "Apache-2.0",
				"org.opencontainers.image.version":     c.version,
			},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("configuring the image: %w", err)
	}
	for _, file := range []struct {
		path, why string
		content   []byte
		mode      int64
	}{
		{rootsPath, "the authorities to trust", roots(), 0o444},
		{c.program.entrypoint[1:], "the " + c.program.what, executable, 0o555},
	} {
		layer, err := layerOf(file.path, file.content, file.mode, c.created)
		if err != nil {
			return nil, fmt.Errorf("making the layer with %s: %w", file.why, err)
		}
		image, err = mutate.Append(image, mutate.Addendum{Layer: layer, History: v1.History{
			Created: v1.Time{Time: c.created}, CreatedBy: "hack/image", Comment: file.why,
		}})
		if err != nil {
			return nil, fmt.Errorf("adding the layer with %s: %w", file.why, err)
		}
	}
	return image, nil
}

// roots are the authorities that Mozilla trusts, in PEM, at the version that go.mod pins. Those that it trusts with a
// reservation are left out, since a file of certificates cannot tell it.
func roots() []byte {
	var out bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			out.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}))
		}
	}
	return out.Bytes()
}

// layerOf makes a layer with one file. The folders above it are made by whoever unpacks it.
func layerOf(path string, content []byte, mode int64, modified time.Time) (v1.Layer, error) {
	var archive bytes.Buffer
	writer := tar.NewWriter(&archive)
	header := &tar.Header{
		Typeflag: tar.TypeReg, Name: path, Size: int64(len(content)), Mode: mode, ModTime: modified, Format: tar.FormatPAX,
	}
	if err := writer.WriteHeader(header); err != nil {
		return nil, err
	}
	if _, err := writer.Write(content); err != nil {
		return nil, err
	}
	if err := writer.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(archive.Bytes())), nil
	})
}
