package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/portcullis-av/portcullis/scan"
	scangate "github.com/portcullis-av/portcullis/scan/gate"
)

// table is a table of the docs by the words in its head.
type table struct {
	page *page
	line int
	head []string
	rows [][]string
}

// cell is the row's cell under the head's word, trimmed.
func (tb *table) cell(row []string, word string) (string, bool) {
	i := slices.Index(tb.head, word)
	if i < 0 || i >= len(row) {
		return "", false
	}
	return row[i], true
}

func (p *page) tables() []*table {
	var all []*table
	var open *table
	for i, line := range p.lines {
		if !strings.HasPrefix(line, "|") {
			open = nil
			continue
		}
		row := cells(line)
		switch {
		case open == nil:
			open = &table{page: p, line: i + 1, head: row}
			all = append(all, open)
		case strings.Trim(line, "|- ") != "":
			open.rows = append(open.rows, row)
		}
	}
	return all
}

func cells(line string) []string {
	line = strings.ReplaceAll(strings.Trim(line, "| "), `\|`, "\x00")
	var row []string
	for c := range strings.SplitSeq(line, "|") {
		row = append(row, strings.ReplaceAll(strings.TrimSpace(c), "\x00", "|"))
	}
	return row
}

func docPage(t *testing.T, name string) *page {
	t.Helper()
	for _, p := range docPages(t) {
		if p.name == name {
			return p
		}
	}
	t.Fatalf("there is no %s", name)
	return nil
}

// alwaysDefault chooses one policy for everything.
type alwaysDefault struct{ policy scan.Policy }

func (a alwaysDefault) Choose(scan.Attributes, string) (*scan.Policy, error) { return &a.policy, nil }

type nobody struct{}

func (nobody) Observe(*scangate.Record) {}

// answer is what the gate's own code answers to a leg with this verdict.
func answer(l scan.Leg, v scan.Verdict) string {
	p := scan.Policy{Name: "default", Enforce: true, ScanRequest: true, ScanResponse: true}
	if p.ActionFor(v) == scan.Pass {
		return "passes"
	}
	x := scangate.New(scangate.Setup{Policies: alwaysDefault{p}, Observer: nobody{}}).Begin(context.Background(), scangate.Head{}, "")
	defer x.Finish("test")
	return strconv.Itoa(x.Refuse(l, scangate.Decision{Covered: true, Verdict: v}).Status)
}

// Wherever the docs say what a cause means for a leg, they say what the code
// does; the page on operations has every cause once, and README its own.
func TestDocsCauses(t *testing.T) {
	t.Parallel()
	outcomes := map[string]scan.Outcome{}
	for _, o := range scan.Outcomes() {
		outcomes[o.String()] = o
	}
	said := map[string]map[scan.Cause]int{}
	for _, p := range docPages(t) {
		said[p.name] = map[scan.Cause]int{}
		for _, tb := range p.tables() {
			for _, row := range tb.rows {
				quoted, ok := tb.cell(row, "cause")
				if !ok {
					continue
				}
				cause := scan.Cause(strings.Trim(quoted, "`"))
				at := fmt.Sprintf("%s, table of line %d, %s", p.name, tb.line, cause)
				if !slices.Contains(scan.Causes(), cause) {
					t.Errorf("%s: there is no such cause", at)
				}
				said[p.name][cause]++
				up, ok := tb.cell(row, "an upload gets")
				if !ok {
					continue
				}
				down, _ := tb.cell(row, "a download gets")
				word, _ := tb.cell(row, "outcome")
				outcome, known := outcomes[word]
				if !known {
					t.Errorf("%s: there is no outcome %q", at, word)
				}
				v := scan.Verdict{Outcome: outcome, Cause: cause}
				open := (&scan.Policy{Enforce: true, FailOpen: true}).ActionFor(v) == scan.Pass
				if up == "passes" && outcome == scan.OutcomeError {
					if down != "passes" || !strings.Contains(row[0], "fail: open") || !open {
						t.Errorf("%s: fail-open passes it on both legs: %v", at, open)
					}
					continue
				}
				u, d := answer(scan.Request, v), answer(scan.Response, v)
				if up == "–" {
					u = up // a cause of downloads only
				}
				if up != u || down != d {
					t.Errorf("%s: the docs say %s and %s, the code %s and %s", at, up, down, u, d)
				}
				if word, ok := tb.cell(row, "with `fail: open`"); ok && open != (word == "passes") {
					t.Errorf("%s: with fail: open it passes: %v", at, open)
				}
			}
		}
	}
	for _, c := range scan.Causes() {
		if n := said["docs/operations.md"][c]; n != 1 {
			t.Errorf("docs/operations.md has %d rows for %s", n, c)
		}
	}
	if len(said["README.md"]) < 25 {
		t.Errorf("README.md names %d causes only", len(said["README.md"]))
	}
}

// Every cause stands in the docs under the outcome under which scan lists it.
func TestDocsOutcomesOfCauses(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile(filepath.Join(repository, "scan", "cause.go"))
	if err != nil {
		t.Fatal(err)
	}
	want, outcome := map[string]string{}, ""
	group, constant := regexp.MustCompile(`^// Causes? of ([A-Z]+)\.$`), regexp.MustCompile(`Cause = "([a-z-]+)"`)
	for line := range strings.Lines(string(source)) {
		if m := group.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			outcome = m[1]
		}
		if m := constant.FindStringSubmatch(line); m != nil {
			want[m[1]] = outcome
		}
	}
	if len(want) != len(scan.Causes()) {
		t.Fatalf("%d causes in the source, %d in the list", len(want), len(scan.Causes()))
	}
	for _, p := range docPages(t) {
		for _, tb := range p.tables() {
			for _, row := range tb.rows {
				cause, ok := tb.cell(row, "cause")
				said, both := tb.cell(row, "outcome")
				if cause = strings.Trim(cause, "`"); ok && both && said != want[cause] {
					t.Errorf("%s: %s is %s, not %s", p.name, cause, want[cause], said)
				}
			}
		}
	}
}

// What is refused by default is said in README: every UNSCANNABLE and POLICY
// cause is named in that section.
func TestReadmeNamesEveryRefusal(t *testing.T) {
	t.Parallel()
	text := strings.Join(docPage(t, "README.md").lines, "\n")
	_, section, ok := strings.Cut(text, "\n## What the gate refuses by default")
	if !ok {
		t.Fatal("no such section")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	for _, c := range scan.Causes() {
		if inSection := strings.Contains(section, "`"+string(c)+"`"); refusedContent(c) != inSection {
			t.Errorf("%s: a refusal of content: %v, in the section: %v", c, refusedContent(c), inSection)
		}
	}
}

// refusedContent are the causes between INFECTED's and those of ERROR in
// scan.Causes: POLICY and UNSCANNABLE.
func refusedContent(c scan.Cause) bool {
	all := scan.Causes()
	i := slices.Index(all, c)
	return i > slices.Index(all, scan.CauseMalware) && i < slices.Index(all, scan.CauseEngineUnreachable)
}

// Settings that the docs name exist: every `a.b` or `a: b` in code that begins
// like a setting is in the reference.
func TestDocsSettings(t *testing.T) {
	t.Parallel()
	reference, err := os.ReadFile(filepath.Join(repository, "cmd", "portcullis", "config", "REFERENCE.md"))
	if err != nil {
		t.Fatal(err)
	}
	fields, sections := map[string]bool{}, map[string]bool{}
	for line := range strings.Lines(string(reference)) {
		if m := regexp.MustCompile("^\\| `([a-z_]+)` \\|").FindStringSubmatch(line); m != nil {
			fields[m[1]] = true
		}
		if m := regexp.MustCompile("^## `(?:.*\\.)?([a-z_]+)(?:\\[\\])?`").FindStringSubmatch(line); m != nil {
			sections[m[1]] = true
		}
	}
	dotted := regexp.MustCompile("`([a-z]+)\\.([a-z_]+)(?:\\.([a-z_]+))?`")
	checked := 0
	for _, p := range docPages(t) {
		for i, line := range p.lines {
			for _, m := range dotted.FindAllStringSubmatch(line, -1) {
				if !sections[m[1]] || m[2] == "conf" {
					continue // not a setting: request.path, engines.md, clamd.conf
				}
				checked++
				if !fields[m[2]] || m[3] != "" && !fields[m[3]] {
					t.Errorf("%s:%d: %s is not in the reference", p.name, i+1, m[0])
				}
			}
		}
	}
	if checked < 20 {
		t.Errorf("%d settings found in the docs: the pattern is blind", checked)
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`^#+ (.*)$`)
)

// anchors are the headings of a page, as links name them.
func anchors(lines []string) []string {
	var all []string
	for _, line := range lines {
		m := heading.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		name := strings.ToLower(m[1])
		name = regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(name, "")
		all = append(all, strings.ReplaceAll(name, " ", "-"))
	}
	return all
}

// Links inside the repository lead to a file, and to a heading of it.
func TestDocsLinks(t *testing.T) {
	t.Parallel()
	inside := 0
	for _, p := range docPages(t) {
		for i, line := range p.lines {
			for _, m := range link.FindAllStringSubmatch(line, -1) {
				if strings.Contains(m[1], "://") {
					continue
				}
				inside++
				path, anchor, _ := strings.Cut(m[1], "#")
				target := filepath.Join(repository, filepath.Dir(p.name), path)
				if path == "" {
					target = filepath.Join(repository, p.name)
				}
				text, err := os.ReadFile(target)
				if info, statErr := os.Stat(target); statErr == nil && info.IsDir() {
					err = nil
				}
				if err != nil {
					t.Errorf("%s:%d: %s: %v", p.name, i+1, m[1], err)
				} else if anchor != "" && !slices.Contains(anchors(strings.Split(string(text), "\n")), anchor) {
					t.Errorf("%s:%d: %s: no such heading", p.name, i+1, m[1])
				}
			}
		}
	}
	if inside < 20 {
		t.Errorf("%d links found: the pattern is blind", inside)
	}
	// Every page can be reached from README.
	readme := strings.Join(docPage(t, "README.md").lines, "\n")
	for _, p := range docPages(t)[1:] {
		if !strings.Contains(readme, "]("+p.name) {
			t.Errorf("README.md has no link to %s", p.name)
		}
	}
}

// Commands, flags and make targets that the docs show exist.
func TestDocsCommands(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile(filepath.Join(repository, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	targets, flags := regexp.MustCompile(`\bmake (?:-s )?([a-z-]+)`), regexp.MustCompile(`--[a-z0-9-]+`)
	call := regexp.MustCompile("(?:^|`|\\| |bin/)portcullis ((?:[a-z]+(?:-[a-z]+)*)(?: (?:static|istio|gateway|forward-proxy|bash|fish))?)([^|>`#]*)")
	commands := 0
	for _, p := range docPages(t) {
		for i, line := range p.lines {
			code := strings.Contains(line, "`") || inBlock(p, i, "sh")
			for _, m := range targets.FindAllStringSubmatch(line, -1) {
				if code && strings.Contains(line, "`"+m[0]) && !bytes.Contains(makefile, []byte("\n"+m[1]+":")) {
					t.Errorf("%s:%d: make has no target %s", p.name, i+1, m[1])
				}
			}
			if !code {
				continue
			}
			for _, m := range call.FindAllStringSubmatch(line, -1) {
				commands++
				help, complaints, code := command(t, append(strings.Fields(m[1]), "--help")...)
				if code != 0 {
					t.Errorf("%s:%d: portcullis %s: %s", p.name, i+1, m[1], complaints)
				}
				for _, flag := range flags.FindAllString(m[2], -1) {
					if !regexp.MustCompile(regexp.QuoteMeta(flag) + `[=\s]`).MatchString(help) {
						t.Errorf("%s:%d: portcullis %s has no flag %s", p.name, i+1, m[1], flag)
					}
				}
			}
		}
	}
	if commands < 20 {
		t.Errorf("%d commands found: the pattern is blind", commands)
	}
}

func inBlock(p *page, line int, lang string) bool {
	return slices.ContainsFunc(p.blocks, func(b *block) bool { return b.lang == lang && line >= b.first && line < b.last })
}

// The docs name every rule of the linter.
func TestDocsLintRules(t *testing.T) {
	t.Parallel()
	rule := regexp.MustCompile(`"(L[0-9]+)"`)
	sources, err := filepath.Glob(filepath.Join(repository, "envoy", "lint*.go"))
	if err != nil || len(sources) == 0 {
		t.Fatalf("no source of the linter, error %v", err)
	}
	want := map[string]bool{}
	for _, path := range sources {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range rule.FindAllStringSubmatch(string(text), -1) {
			want[m[1]] = true
		}
	}
	got := map[string]bool{}
	for _, tb := range docPage(t, "docs/plain-envoy.md").tables() {
		for _, row := range tb.rows {
			if name, ok := tb.cell(row, "rule"); ok {
				got[name] = true
			}
		}
	}
	for name := range want {
		if !got[name] {
			t.Errorf("the docs lack rule %s", name)
		}
	}
	for name := range got {
		if !want[name] {
			t.Errorf("there is no rule %s", name)
		}
	}
}

// The docs can be read by people and kept on machines with a scanner: no test
// virus stands in them, and no path of the machine they were written on.
func TestDocsAreHarmless(t *testing.T) {
	t.Parallel()
	for _, p := range docPages(t) {
		text := strings.Join(p.lines, "\n")
		if out, complaints, code := commandWith(t, text, "scan", "-"); code != 0 {
			t.Errorf("%s is not clean: %s%s", p.name, out, complaints)
		}
		for _, foreign := range []string{"/work/", "/root/", os.TempDir() + "/"} {
			if strings.Contains(text, foreign) {
				t.Errorf("%s names %s", p.name, foreign)
			}
		}
	}
}
