package main

import (
	"archive/tar"
	"bytes"
	"crypto/x509"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// made makes an image of a file with this text in place of the operator, and writes its archive.
func made(t *testing.T, text string, change func(*contents)) (image v1.Image, archive []byte) {
	t.Helper()
	c := contents{
		program: programs["operator"],
		binary:  filepath.Join(t.TempDir(), "any-name"), version: "v1.2.3", arch: "amd64", created: time.Unix(1_700_000_000, 0),
	}
	if err := os.WriteFile(c.binary, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&c)
	}
	image, err := assemble(c)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag("keyturn:test")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "image.tar")
	if err := tarball.WriteToFile(path, tag, image); err != nil {
		t.Fatal(err)
	}
	if archive, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	return image, archive
}

func digest(t *testing.T, image v1.Image) string {
	t.Helper()
	hash, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return hash.String()
}

func TestTheSameContentGivesTheSameImage(t *testing.T) {
	first, firstArchive := made(t, "operator", nil)
	second, secondArchive := made(t, "operator", nil)
	if digest(t, first) != digest(t, second) {
		t.Error("the same content has two digests")
	}
	if !bytes.Equal(firstArchive, secondArchive) {
		t.Error("the same content has two archives")
	}
	for what, change := range map[string]func(*contents){
		"version":      func(c *contents) { c.version = "v1.2.4" },
		"architecture": func(c *contents) { c.arch = "arm64" },
		"time":         func(c *contents) { c.created = c.created.Add(time.Second) },
		"program":      func(c *contents) { c.program = programs["e2e-client"] },
	} {
		if other, _ := made(t, "operator", change); digest(t, other) == digest(t, first) {
			t.Errorf("another %s has the same digest", what)
		}
	}
	if other, _ := made(t, "another operator", nil); digest(t, other) == digest(t, first) {
		t.Error("another operator has the same digest")
	}
}

// TestContentOfTheImage reads the archive as a container engine does.
func TestContentOfTheImage(t *testing.T) {
	_, archive := made(t, "operator", nil)
	image, err := tarball.Image(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive)), nil }, nil)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.OS != "linux" || config.Architecture != "amd64" || config.Config.User != "65532:65532" ||
		strings.Join(config.Config.Entrypoint, " ") != "/keyturn" ||
		config.Config.Labels["org.opencontainers.image.version"] != "v1.2.3" {
		t.Errorf("the configuration is %+v", config)
	}

	files := map[string]*tar.Header{}
	var trusted []byte
	reader := mutate.Extract(image)
	defer func() { _ = reader.Close() }()
	for unpacked := tar.NewReader(reader); ; {
		header, err := unpacked.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		files[header.Name] = header
		if header.Name == rootsPath {
			if trusted, err = io.ReadAll(unpacked); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(files) != 2 || files["keyturn"] == nil || files["keyturn"].FileInfo().Mode() != 0o555 {
		t.Errorf("the files are %v, want the operator, which everybody may run and nobody write, and the authorities", files)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(trusted) || bytes.Count(trusted, []byte("BEGIN CERTIFICATE")) < 50 {
		t.Errorf("%d bytes of authorities are not what is trusted in the world", len(trusted))
	}
}

// TestDockerfileMakesTheSame compares what both ways of making the image must agree about.
func TestDockerfileMakesTheSame(t *testing.T) {
	document, err := os.ReadFile(filepath.Join("..", "..", "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"USER " + user,
		`ENTRYPOINT ["` + programs["operator"].entrypoint + `"]`,
		"COPY --from=build /" + rootsPath + " /" + rootsPath,
		"EXPOSE 8443 8080 8081",
	} {
		if !strings.Contains(string(document), "\n"+line+"\n") {
			t.Errorf("the Dockerfile lacks the line %q", line)
		}
	}
	for _, part := range []string{"CGO_ENABLED=0", "-trimpath", "-buildvcs=false", "-s -w -buildid= -X main.version="} {
		if !strings.Contains(string(document), part) {
			t.Errorf("the Dockerfile does not build with %s", part)
		}
	}
	if hosts := regexp.MustCompile(`[a-z0-9-]+\.[a-z]{2,}/`).FindAllString(string(document), -1); hosts != nil {
		t.Errorf("the Dockerfile names hosts, %v: which registry to use is for who builds to say", hosts)
	}
}

// TestPrograms holds the images to what starts them: the source is there, and is a program.
func TestPrograms(t *testing.T) {
	for name, p := range programs {
		files, err := filepath.Glob(filepath.Join("..", "..", p.source, "*.go"))
		if err != nil || len(files) == 0 {
			t.Errorf("%s: no Go files in %s (%v)", name, p.source, err)
		}
		image, _ := made(t, "program", func(c *contents) { c.program = p })
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Join(config.Config.Entrypoint, " ") != p.entrypoint || len(config.Config.ExposedPorts) != len(p.ports) ||
			config.Config.Labels["org.opencontainers.image.title"] != p.title {
			t.Errorf("%s: the configuration is %+v, want that of %+v", name, config.Config, p)
		}
	}
	if _, err := programNamed("kernel"); err == nil || !strings.Contains(err.Error(), "e2e-client, operator") {
		t.Errorf("an unknown program: %v, want an error that lists the known ones", err)
	}
}

func TestEpoch(t *testing.T) {
	for value, want := range map[string]string{"": "1970-01-01", "1700000000": "2023-11-14"} {
		if got, err := epoch(value); err != nil || got.Format(time.DateOnly) != want || got.Location() != time.UTC {
			t.Errorf("%q: %v, error %v; want %s", value, got, err, want)
		}
	}
	for _, value := range []string{"-1", "now", "1.5"} {
		if _, err := epoch(value); err == nil || !strings.Contains(err.Error(), "SOURCE_DATE_EPOCH") {
			t.Errorf("%q: %v, want an error that names the variable", value, err)
		}
	}
}
