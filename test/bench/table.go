package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/keyturn/keyturn/test/bench/stats"
)

// section is a part of the table, and row a line in it, as they are to be filled.
type section struct {
	title string
	// rooms are those whose figures it shows.
	rooms []string
	// note is said below it, in Markdown.
	note string
	rows []row
	// each, where it is set, makes the rows of what was measured.
	each func(figures) []row
}

type row struct {
	what   string
	result measure
	as     format
	target target
	// figures are what the result comes from, or what else there is to say.
	figures []shown
}

type shown struct {
	name  string
	value measure
	as    format
}

// target is what a result should be at most or at least. The zero one is none.
type target struct {
	atMost, atLeast *float64
}

func atMost(limit float64) target  { return target{atMost: &limit} }
func atLeast(limit float64) target { return target{atLeast: &limit} }

// met says whether a result is what it should be; empty where there is no target.
func (t target) met(result float64) string {
	switch {
	case t.atMost != nil && result <= *t.atMost, t.atLeast != nil && result >= *t.atLeast:
		return "met"
	case t.atMost != nil, t.atLeast != nil:
		return "missed"
	}
	return ""
}

func (t target) text(as format) string {
	switch {
	case t.atMost != nil:
		return "≤ " + as(*t.atMost)
	case t.atLeast != nil:
		return "≥ " + as(*t.atLeast)
	}
	return ""
}

// table is a section that is filled.
type table struct {
	Title, Note string
	Lines       []line
}

// line is a row: its cells, as text.
type line struct {
	What, Result, Spread, Target, Met, Figures string
}

// fill computes the sections of the rooms that ran.
func fill(sections []section, measured figures, ran map[string]bool) ([]table, error) {
	var tables []table
	for _, s := range sections {
		if slices.ContainsFunc(s.rooms, func(room string) bool { return !ran[room] }) {
			continue
		}
		filled := table{Title: s.title, Note: s.note}
		rows := s.rows
		if s.each != nil {
			rows = s.each(measured)
		}
		if len(rows) == 0 {
			return nil, fmt.Errorf("nothing was measured for %q", s.title)
		}
		for _, r := range rows {
			l, err := r.fill(measured)
			if err != nil {
				return nil, fmt.Errorf("the line %q of %q: %w", r.what, s.title, err)
			}
			filled.Lines = append(filled.Lines, l)
		}
		tables = append(tables, filled)
	}
	return tables, nil
}

func (r row) fill(measured figures) (line, error) {
	values, err := r.result(measured)
	if err != nil {
		return line{}, err
	}
	result := stats.Median(values)
	filled := line{What: r.what, Result: r.as(result), Target: r.target.text(r.as), Met: r.target.met(result)}
	if least, most := r.as(slices.Min(values)), r.as(slices.Max(values)); least != most {
		filled.Spread = least + " to " + most
	}
	var figures []string
	for _, f := range r.figures {
		values, err := f.value(measured)
		if err != nil {
			return line{}, err
		}
		figures = append(figures, strings.TrimSpace(f.name+" "+f.as(stats.Median(values))))
	}
	filled.Figures = strings.Join(figures, ", ")
	return filled, nil
}

// withoutVerdicts leaves out the targets, for figures that are worth nothing.
func withoutVerdicts(tables []table) {
	for _, t := range tables {
		for i := range t.Lines {
			t.Lines[i].Target, t.Lines[i].Met = "", ""
		}
	}
}

// printed writes the tables for a terminal.
func printed(w io.Writer, tables []table) error {
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, t := range tables {
		_, _ = fmt.Fprintf(columns, "\n%s\tresult\ttarget\t\trounds\tfigures\n", strings.ToUpper(t.Title))
		for _, l := range t.Lines {
			_, _ = fmt.Fprintf(columns, "%s\t%s\t%s\t%s\t%s\t%s\n", l.What, l.Result, l.Target, l.Met, l.Spread, l.Figures)
		}
	}
	return columns.Flush()
}
