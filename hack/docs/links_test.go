package main

import (
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// pages are the texts of all Markdown files of the clone, by their path in it.
func pages(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(clone, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && slices.Contains([]string{".git", "bin", "dist", "node_modules"}, entry.Name()) {
			return filepath.SkipDir
		}
		if entry.IsDir() || filepath.Ext(path) != ".md" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(clone, path)
		all[filepath.ToSlash(name)] = string(text)
		return err
	})
	if err != nil || len(all) < 10 {
		t.Fatalf("found %d pages, error %v", len(all), err)
	}
	return all
}

var (
	heading = regexp.MustCompile("^#{1,6} +(.+?) *$")
	link    = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	inCode  = regexp.MustCompile("`[^`]*`")
	inLink  = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
)

// split returns the anchors of the headings of a page, and the targets of its links, without what stands in code.
func split(text string) (anchors map[string]bool, targets []string) {
	anchors = map[string]bool{}
	fenced := false
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
		}
		if fenced || strings.HasPrefix(line, "    ") {
			continue
		}
		if match := heading.FindStringSubmatch(line); match != nil {
			anchors[anchor(inLink.ReplaceAllString(match[1], "$1"))] = true
		}
		for _, match := range link.FindAllStringSubmatch(inCode.ReplaceAllString(line, ""), -1) {
			targets = append(targets, match[1])
		}
	}
	return anchors, targets
}

func TestLinks(t *testing.T) {
	all, links := pages(t), 0
	for page, text := range all {
		_, targets := split(text)
		for _, target := range targets {
			links++
			to, err := url.Parse(target)
			if err != nil {
				t.Errorf("%s: the link %s: %v", page, target, err)
				continue
			}
			if to.IsAbs() {
				continue // Somebody else's page, which a test of this clone cannot answer for.
			}
			file := page
			if to.Path != "" {
				file = filepath.ToSlash(filepath.Join(filepath.Dir(page), to.Path))
			}
			if _, err := os.Stat(filepath.Join(clone, file)); err != nil || strings.HasPrefix(file, "..") {
				t.Errorf("%s: the link %s leads nowhere", page, target)
				continue
			}
			if anchors, _ := split(all[file]); to.Fragment != "" && !anchors[to.Fragment] {
				t.Errorf("%s: the link %s leads to no heading of %s", page, target, file)
			}
		}
	}
	if links < 50 {
		t.Errorf("found only %d links", links)
	}
}

// TestEveryPageIsInTheList wants a way from the README to each page of the documentation.
func TestEveryPageIsInTheList(t *testing.T) {
	all := pages(t)
	_, targets := split(all["README.md"])
	for page := range all {
		if strings.HasPrefix(page, "docs/") && !slices.Contains(targets, page) {
			t.Errorf("the README has no link to %s", page)
		}
	}
}
