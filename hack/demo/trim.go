package main

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// encoded matches what nobody reads to its end: thumbprints, coordinates of keys, parts of tokens, ids of sessions.
var encoded = regexp.MustCompile(`[A-Za-z0-9_-]{40,}|\b[0-9a-f]{32}\b`)

// refreshTokenPrefix begins every refresh token. What follows is the same in all of a session, up to the end.
const refreshTokenPrefix = "ktr1_"

// shownOfEncoded is how many characters of it are enough to tell two apart.
const shownOfEncoded = 10

// shorten leaves the beginning of every long run of base64url characters, or the end where that tells two apart.
func shorten(text string) string {
	return encoded.ReplaceAllStringFunc(text, func(run string) string {
		if strings.HasPrefix(run, refreshTokenPrefix) {
			return refreshTokenPrefix + "…" + run[len(run)-shownOfEncoded:]
		}
		return run[:shownOfEncoded] + "…"
	})
}

// wrap folds a line at spaces, or after commas, or where it must. It returns at least one line. The width counts
// characters, and is at least 1.
func wrap(text string, width int) []string {
	var lines []string
	for utf8.RuneCountInString(text) > width {
		runes := []rune(text)
		end, next := width, width
		for i := width; i > width/3; i-- {
			if runes[i] == ' ' {
				end, next = i, i+1
				break
			}
			if runes[i-1] == ',' {
				end, next = i, i
				break
			}
		}
		lines = append(lines, string(runes[:end]))
		text = string(runes[next:])
	}
	return append(lines, text)
}

// gap is what stands between the columns of a table of kubectl.
const gap = "  "

// tidyTable shortens the cells of a table of kubectl and draws the columns together again. A text that is no such table
// comes back as it is.
func tidyTable(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	starts := columnStarts(lines[0])
	if len(starts) < 2 {
		return text
	}
	rows := make([][]string, len(lines))
	widths := make([]int, len(starts))
	for i, line := range lines {
		rows[i] = cells(line, starts)
		for column, cell := range rows[i] {
			widths[column] = max(widths[column], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for column, cell := range row {
			line.WriteString(cell + strings.Repeat(" ", widths[column]-utf8.RuneCountInString(cell)) + gap)
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}

// heading matches the headings of a table: upper case, with single spaces or hyphens within one.
var heading = regexp.MustCompile(`[A-Z]+(?:[ -][A-Z]+)*`)

// columnStarts finds where the columns of a table begin, by its first line; none if that is not a line of headings.
func columnStarts(line string) []int {
	if strings.TrimSpace(heading.ReplaceAllString(line, "")) != "" {
		return nil
	}
	var starts []int
	for _, match := range heading.FindAllStringIndex(line, -1) {
		starts = append(starts, match[0])
	}
	return starts
}

// cells cuts a line at the starts of the columns. kubectl counts characters, as this does.
func cells(line string, starts []int) []string {
	runes := []rune(line)
	row := make([]string, len(starts))
	for i, start := range starts {
		end := len(runes)
		if i+1 < len(starts) {
			end = min(starts[i+1], len(runes))
		}
		if start < end {
			row[i] = shorten(strings.TrimSpace(string(runes[start:end])))
		}
	}
	return row
}
