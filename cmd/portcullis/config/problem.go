package config

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Problem is one mistake in a configuration file.
type Problem struct {
	// Line and Column count from 1, columns in characters. 0 means unknown, or
	// that the problem is not inside the file.
	Line, Column int
	// Path names the field, such as "policies[0].fail"; empty for the whole file.
	Path string
	// Message says what is wrong and what to do, in one line that is safe to print.
	Message string
}

// Error says why a configuration was not taken.
type Error struct {
	// File is the name that was given to [Load] or [Parse].
	File string
	// Problems are ordered by their place in the file; there is at least one.
	Problems []Problem

	lines []string // of the file; nil when it is no text
}

// Error prints one problem a line: "portcullis.yaml:12:5: policies[0].fail: must
// be …".
func (e *Error) Error() string {
	lines := make([]string, 0, len(e.Problems))
	for _, p := range e.Problems {
		lines = append(lines, e.head(p))
	}
	return strings.Join(lines, "\n")
}

// Explain prints what [Error.Error] prints, with the line of the file and a
// caret below each problem, for a terminal. It ends with a newline.
func (e *Error) Explain() string {
	var b strings.Builder
	for _, p := range e.Problems {
		b.WriteString(e.head(p))
		b.WriteByte('\n')
		if p.Line < 1 || p.Line > len(e.lines) {
			continue
		}
		line := e.lines[p.Line-1]
		if utf8.RuneCountInString(line) > maxShownLine {
			continue
		}
		fmt.Fprintf(&b, "%5d | %s\n", p.Line, maskUserinfo(line))
		if p.Column > 0 && p.Column <= utf8.RuneCountInString(line)+1 {
			fmt.Fprintf(&b, "      | %s^\n", indentTo(line, p.Column))
		}
	}
	return b.String()
}

// maxShownLine keeps a generated file of one line from flooding the terminal.
const maxShownLine = 200

func (e *Error) head(p Problem) string {
	var b strings.Builder
	b.WriteString(e.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
		if p.Column > 0 {
			fmt.Fprintf(&b, ":%d", p.Column)
		}
	}
	b.WriteString(": ")
	if p.Path != "" {
		b.WriteString(p.Path)
		b.WriteString(": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// indentTo returns white space as wide as line is before column, tabs kept.
func indentTo(line string, column int) string {
	var b strings.Builder
	for _, r := range line {
		if column--; column < 1 {
			break
		}
		if r == '\t' {
			b.WriteRune(r)
			continue
		}
		b.WriteByte(' ')
	}
	return b.String()
}

var userinfo = regexp.MustCompile(`://[^/?#@\s]*@`)

// maskUserinfo hides what stands before the @ of any URL in s. A caret below may
// then be off; a secret is not shown.
func maskUserinfo(s string) string { return userinfo.ReplaceAllString(s, "://***@") }

// maxProblems is more than anyone reads at once.
const maxProblems = 100

// report collects problems.
type report struct {
	places   places
	problems []Problem
	seen     map[string]bool // paths with a problem
	seenAt   map[place]bool  // places with a problem
	broken   map[string]bool // paths whose value was not read at all
	hopeless bool            // looking further would take long and tell nothing
}

func newReport(places places) *report {
	return &report{places: places, seen: map[string]bool{}, seenAt: map[place]bool{}, broken: map[string]bool{}}
}

// note reports a problem at a known place.
func (r *report) note(at place, path, format string, args ...any) {
	r.seen[path], r.seenAt[at] = true, true
	r.problems = append(r.problems, Problem{
		Line: at.line, Column: at.column, Path: path, Message: oneLine(fmt.Sprintf(format, args...)),
	})
}

// add reports a problem at the field's value, or where the field would stand. A
// field that has a problem already gets no second one, nor do fields inside a
// value that was not read: later steps stumble over what earlier ones reported.
func (r *report) add(path, format string, args ...any) {
	if r.seen[path] {
		return
	}
	for p := path; p != ""; p = parent(p) {
		if r.broken[p] {
			return
		}
	}
	r.note(r.places.find(path), path, format, args...)
}

// oneLine keeps what other libraries and the file itself say from breaking the
// form of a message.
func oneLine(s string) string {
	if !strings.ContainsFunc(s, unicode.IsControl) {
		return s
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}

func (r *report) err(file string, lines []string) error {
	if len(r.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(r.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Path, b.Path))
	})
	problems := r.problems
	if len(problems) > maxProblems {
		problems = append(problems[:maxProblems:maxProblems], Problem{Message: "and more problems; correct these first"})
	}
	return &Error{File: file, Problems: problems, lines: lines}
}
