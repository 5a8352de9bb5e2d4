package main

import (
	"fmt"
	"io"
	"os"
	"strings"
)

const (
	// columns is the width of the terminal that the transcript is written for.
	columns = 100
	// margin is the indentation of everything below the sentence of a step.
	margin = "    "
)

// transcript tells the story to a person: each step a sentence, the commands as one would type them, what they really
// print, and what was checked. An error of writing is not looked at: when nobody reads any more, SIGPIPE ends the demo.
type transcript struct {
	out    io.Writer
	color  bool
	number int
}

// newTranscript writes to a file, in color where that is a terminal and nobody objects (https://no-color.org).
func newTranscript(file *os.File) *transcript {
	info, err := file.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	_, plain := os.LookupEnv("NO_COLOR")
	return &transcript{out: file, color: terminal && !plain && os.Getenv("TERM") != "dumb"}
}

// style is an SGR sequence (ECMA-48 section 8.3.117).
type style string

const (
	bold  style = "\x1b[1m"
	dim   style = "\x1b[2m"
	green style = "\x1b[32m"
	red   style = "\x1b[31m"
)

func (t *transcript) paint(s style, text string) string {
	if !t.color {
		return text
	}
	return string(s) + text + "\x1b[0m"
}

// say writes a paragraph.
func (t *transcript) say(text string) {
	t.lines("", wrap(text, columns))
}

// step begins a step with its sentence.
func (t *transcript) step(sentence string) {
	t.number++
	lines := wrap(sentence, columns-len(margin))
	fmt.Fprintf(t.out, "\n%s\n", t.paint(bold, fmt.Sprintf("%2d. %s", t.number, lines[0])))
	for _, line := range lines[1:] {
		fmt.Fprintln(t.out, t.paint(bold, margin+line))
	}
}

// note writes a remark within a step.
func (t *transcript) note(text string) {
	t.lines(margin, wrap(text, columns-len(margin)))
}

// command writes a command as one would type it. It may have several lines.
func (t *transcript) command(line string) {
	for i, part := range strings.Split(line, "\n") {
		prompt := "$ "
		if i > 0 {
			prompt = "> "
		}
		fmt.Fprintln(t.out, margin+t.paint(dim, prompt)+part)
	}
}

// output writes what a command printed, with long key ids, keys and tokens shortened, and lines folded.
func (t *transcript) output(text string) {
	for line := range strings.SplitSeq(strings.TrimRight(tidyTable(text), "\n"), "\n") {
		for i, part := range wrap(shorten(line), columns-len(margin)-2) {
			if i > 0 {
				part = "  " + part
			}
			fmt.Fprintln(t.out, margin+t.paint(dim, strings.TrimRight(part, " ")))
		}
	}
}

// held writes that what was promised is so.
func (t *transcript) held(sentence string) {
	lines := wrap(sentence, columns-len(margin)-2)
	fmt.Fprintln(t.out, margin+t.paint(green, "✓ "+lines[0]))
	for _, line := range lines[1:] {
		fmt.Fprintln(t.out, margin+"  "+t.paint(green, line))
	}
}

// failed writes why the demo ends early.
func (t *transcript) failed(text string) {
	fmt.Fprintln(t.out)
	for i, paragraph := range strings.Split(text, "\n") {
		mark := "  "
		if i == 0 {
			mark = "✗ "
		}
		for _, line := range wrap(paragraph, columns-len(margin)-2) {
			fmt.Fprintln(t.out, strings.TrimRight(margin+t.paint(red, mark+line), " "))
			mark = "  "
		}
	}
}

func (t *transcript) lines(indent string, lines []string) {
	for _, line := range lines {
		fmt.Fprintln(t.out, indent+line)
	}
}
