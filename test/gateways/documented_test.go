package gateways

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/moduleroot"
)

// documented is the first block of this language in a section of docs/gateways.md, with the names in it replaced: old, new,
// old, new. Each old one must be there, so that the page and the tests cannot part.
func documented(t testing.TB, section, language string, replacements ...string) string {
	t.Helper()
	root, err := moduleroot.Find()
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(root, "docs", "gateways.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "\n## "+section+"\n")
	if !found {
		t.Fatalf("docs/gateways.md has no section %q", section)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	_, rest, found = strings.Cut(rest, "\n```"+language+"\n")
	if !found {
		t.Fatalf("the section %q of docs/gateways.md has no block of %s", section, language)
	}
	block, _, found := strings.Cut(rest, "\n```\n")
	if !found {
		t.Fatalf("the block of %s in the section %q of docs/gateways.md has no end", language, section)
	}
	for i := 0; i < len(replacements); i += 2 {
		if !strings.Contains(block, replacements[i]) {
			t.Fatalf("the block of %s in the section %q of docs/gateways.md has no %q to replace", language, section, replacements[i])
		}
		block = strings.ReplaceAll(block, replacements[i], replacements[i+1])
	}
	return block + "\n"
}

// written puts a configuration into a file of its own and returns the path.
func written(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
