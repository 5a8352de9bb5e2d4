package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// dataLink is the link by which the kubelet exchanges all files of a volume at once.
const dataLink = "..data"

// mount is a folder that holds the files of a Secret as the kubelet lays them out in a pod: each file is a link into
// ..data, and ..data is a link to a folder that is never changed.
type mount string

// update brings the files to those of the Secret, all at once: who follows ..data sees the old files or the new ones,
// never some of each.
func (m mount) update(files map[string][]byte) error {
	if m.holds(files) {
		return nil
	}
	if err := m.exchange(files); err != nil {
		return fmt.Errorf("laying out the Secret's files in %s: %w", string(m), err)
	}
	return nil
}

func (m mount) exchange(files map[string][]byte) error {
	if err := os.MkdirAll(string(m), 0o700); err != nil {
		return err
	}
	version, err := os.MkdirTemp(string(m), "..version-")
	if err != nil {
		return err
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(version, name), content, 0o600); err != nil {
			return err
		}
		if err := m.link(filepath.Join(dataLink, name), name); err != nil {
			return err
		}
	}
	before, err := os.Readlink(m.path(dataLink))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := m.link(filepath.Base(version), dataLink); err != nil {
		return err
	}
	if before == "" {
		return nil
	}
	return os.RemoveAll(m.path(before))
}

// link makes a link, in place of what has its name.
func (m mount) link(target, name string) error {
	temporary := m.path("..link")
	if err := os.Symlink(target, temporary); err != nil {
		return err
	}
	return os.Rename(temporary, m.path(name))
}

// holds says whether the files are there already.
func (m mount) holds(files map[string][]byte) bool {
	for name, content := range files {
		if there, err := os.ReadFile(m.path(name)); err != nil || !bytes.Equal(there, content) {
			return false
		}
	}
	return true
}

func (m mount) path(name string) string { return filepath.Join(string(m), name) }
