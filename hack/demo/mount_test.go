package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMountIsLaidOutAsTheKubeletDoes(t *testing.T) {
	m := mount(filepath.Join(t.TempDir(), "shop"))
	first := map[string][]byte{"kid": []byte("one"), "key.jwk": []byte("{1}")}
	second := map[string][]byte{"kid": []byte("two"), "key.jwk": []byte("{2}"), "key.pem": []byte("pem")}

	before := update(t, m, first)
	if again := update(t, m, first); again != before {
		t.Errorf("the same files were laid out anew: %s, then %s", before, again)
	}
	after := update(t, m, second)
	if after == before {
		t.Error("other files did not exchange the folder")
	}
	if _, err := os.Stat(m.path(before)); !os.IsNotExist(err) {
		t.Errorf("the folder before is still there: %v", err)
	}
	names := []string{}
	entries, err := os.ReadDir(string(m))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	if diff := cmp.Diff([]string{"..data", after, "key.jwk", "key.pem", "kid"}, names); diff != "" {
		t.Error(diff)
	}
}

// update checks that the mount holds the files afterwards, and returns what ..data names.
func update(t *testing.T, m mount, files map[string][]byte) string {
	t.Helper()
	if err := m.update(files); err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		for _, path := range []string{m.path(name), filepath.Join(string(m), dataLink, name)} {
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: got %q and %v, want %q", path, got, err, want)
			}
		}
	}
	version, err := os.Readlink(m.path(dataLink))
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(m.path("kid"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("others may read the key: %v", info.Mode())
	}
	return version
}

func TestMountFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := mount(path).update(map[string][]byte{"kid": nil}); err == nil {
		t.Error("files were laid out in what is no folder")
	}
}
