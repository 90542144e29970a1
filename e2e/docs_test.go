package e2e_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/portcullis-av/portcullis/cmd/portcullis/app"
)

var update = flag.Bool("update", false, "rewrite the generated blocks of the docs")

// repository is the top level, as seen from this package's folder.
const repository = ".."

// page is one page of the docs.
type page struct {
	name   string // from the top level
	lines  []string
	blocks []*block
}

// block is a fenced block. Its directive is the comment in the line before the
// fence, "<!-- kind: arg -->" or "<!-- kind -->"; docs/development.md lists them.
type block struct {
	page        *page
	kind, arg   string
	lang        string
	first, last int // lines of the page between the fences; last is the closing one
	indent      string
}

func (b *block) String() string { return fmt.Sprintf("%s:%d", b.page.name, b.first) }

// text is the block without the indentation of its fence.
func (b *block) text() string {
	var out strings.Builder
	for _, line := range b.page.lines[b.first:b.last] {
		out.WriteString(strings.TrimPrefix(line, b.indent) + "\n")
	}
	return out.String()
}

// docPages returns README.md and all of docs/, parsed.
func docPages(t *testing.T) []*page {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(repository, "docs", "*.md"))
	if err != nil || len(names) < 7 {
		t.Fatalf("%d pages in docs, error %v", len(names), err)
	}
	var pages []*page
	for _, path := range append([]string{filepath.Join(repository, "README.md")}, names...) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name, err := filepath.Rel(repository, path)
		if err != nil {
			t.Fatal(err)
		}
		p := &page{name: name, lines: strings.Split(string(text), "\n")}
		p.parse(t)
		pages = append(pages, p)
	}
	return pages
}

var (
	fence     = regexp.MustCompile("^( *)```(.*)$")
	directive = regexp.MustCompile(`^ *<!-- ([a-z.-]+)(?:: (.*))? -->$`)
)

func (p *page) parse(t *testing.T) {
	t.Helper()
	var open *block
	for i, line := range p.lines {
		m := fence.FindStringSubmatch(line)
		switch {
		case m == nil:
		case open != nil:
			open.last = i
			open = nil
		default:
			open = &block{page: p, indent: m[1], lang: m[2], first: i + 1}
			if d := directive.FindStringSubmatch(p.lines[max(0, i-1)]); d != nil {
				open.kind, open.arg = d[1], d[2]
			}
			p.blocks = append(p.blocks, open)
		}
		if directive.MatchString(line) && !fence.MatchString(p.lines[i+1]) {
			t.Errorf("%s:%d: no block follows this comment", p.name, i+1)
		}
	}
	if open != nil {
		t.Fatalf("%v: the block does not end", open)
	}
}

// docBlocks returns every block of a kind; none at all fails the test, or a
// misspelt comment would switch it off.
func docBlocks(t *testing.T, kind string) []*block {
	t.Helper()
	var found []*block
	for _, p := range docPages(t) {
		for _, b := range p.blocks {
			if b.kind == kind {
				found = append(found, b)
			}
		}
	}
	if len(found) == 0 {
		t.Fatalf("no block %q in the docs", kind)
	}
	return found
}

// Every comment before a block is one that a test heeds.
func TestDocsDirectives(t *testing.T) {
	t.Parallel()
	known := map[string]bool{
		"": true, "output": true, "excerpt": true, "config": true, "hash-list": true, "envoy-routes": true, "envoy-tls": true,
		"clamd.conf": true, "file": true, "shell": true, "prints": true, "demo": true,
		"values": true, "notes": true, "probe": true, // in e2e/chart
		"gateway-backend": true,
	}
	for _, p := range docPages(t) {
		for _, b := range p.blocks {
			if !known[b.kind] {
				t.Errorf("%v: no test heeds %q", b, b.kind)
			}
			if b.lang == "" {
				t.Errorf("%v: the fence names no language", b)
			}
		}
	}
}

// replace writes new text into a block's page.
func (b *block) replace(t *testing.T, text string) {
	t.Helper()
	path := filepath.Join(repository, b.page.name)
	now, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head := strings.Join(b.page.lines[:b.first], "\n") + "\n"
	tail := strings.Join(b.page.lines[b.last:], "\n")
	if string(now) != strings.Join(b.page.lines, "\n") {
		t.Fatalf("%v: the page changed meanwhile; run the test again", b)
	}
	if err := os.WriteFile(path, []byte(head+text+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}

// command runs the program in this process and returns what it printed.
func command(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	return commandWith(t, "", args...)
}

func commandWith(t *testing.T, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, complaints bytes.Buffer
	code = app.Run(t.Context(), app.Process{
		Args: args, Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &complaints,
		Getenv: func(string) string { return "" },
	})
	return out.String(), complaints.String(), code
}

// printed is what the command of an output or excerpt block prints.
func (b *block) printed(t *testing.T) string {
	t.Helper()
	args, ok := strings.CutPrefix(b.arg, "portcullis ")
	if !ok {
		t.Fatalf("%v: %q is no command of portcullis", b, b.arg)
	}
	stdout, stderr, code := command(t, strings.Fields(args)...)
	if code != 0 {
		t.Fatalf("%v: %s ends with %d: %s", b, b.arg, code, stderr)
	}
	return stdout
}

var (
	anything  = regexp.QuoteMeta("…")
	exchanges = regexp.MustCompile(`\b[0-9a-f]{16}\b`)
	addresses = regexp.MustCompile(`127\\\.0\\\.0\\\.1:[0-9]+`)
	sizes     = regexp.MustCompile(`\b[0-9]+ bytes ──>`) // a compressed form with a random boundary
	durations = regexp.MustCompile(`\b[0-9]+(?:\\\.[0-9]+)?(?:µs|ms|s)\b`)
)

// endOfBlock is what a script of the docs' blocks prints after each.
const endOfBlock = "=== end of block"

// wantPrinted compares what such a script printed with the blocks that show it.
func wantPrinted(t *testing.T, prints []*block, out []byte) {
	t.Helper()
	answers := strings.Split(string(out), endOfBlock+"\n")
	for i, b := range prints {
		if i >= len(answers) {
			t.Fatalf("%v: nothing was printed any more", b)
		}
		if !like(b.text(), answers[i]) {
			t.Errorf("%v shows\n%s\nbut it is\n%s", b, b.text(), answers[i])
		}
	}
}

// like reports whether printed is what shown says: a line "…" stands for any
// lines, "…" inside a line for anything in it; exchange ids, loopback addresses,
// measured times and sizes of requests stand for any other.
func like(shown, printed string) bool {
	var b strings.Builder
	b.WriteString(`\A`)
	for line := range strings.Lines(shown) {
		line = strings.TrimRight(line, "\n")
		if strings.TrimSpace(line) == "…" {
			b.WriteString(`(?:.*\n)*?`)
			continue
		}
		pattern := regexp.QuoteMeta(line)
		pattern = exchanges.ReplaceAllString(pattern, `[0-9a-f]{16}`)
		pattern = addresses.ReplaceAllString(pattern, `127\.0\.0\.1:[0-9]+`)
		pattern = sizes.ReplaceAllString(pattern, `[0-9]+ bytes ──>`)
		pattern = durations.ReplaceAllString(pattern, `[0-9.]+(?:µs|ms|s)`)
		b.WriteString(strings.ReplaceAll(pattern, anything, `.*`) + `\n`)
	}
	b.WriteString(`\z`)
	return regexp.MustCompile(b.String()).MatchString(printed)
}

// The comparison itself can fail.
func TestDocsLike(t *testing.T) {
	t.Parallel()
	shown := "a 127.0.0.1:43397 b\n…\n  {\"exchange\":\"0123456789abcdef\",…}\n…\ntook 1.2ms\n"
	for printed, want := range map[string]bool{
		"a 127.0.0.1:1 b\nx\n\n  {\"exchange\":\"fedcba9876543210\",\"a\":1}\ntook 813µs\n": true,
		"a 127.0.0.1:1 b\n  {\"exchange\":\"fedcba9876543210\",}\nx\ntook 813µs\n":          true,
		"a 127.0.0.1:1 b\n  {\"exchange\":\"other\",}\ntook 813µs\n":                        false,
		"a 127.0.0.1:1 b\n  {\"exchange\":\"fedcba9876543210\",}\ntook 813µs\nmore\n":       false,
		"b 127.0.0.1:1 b\n  {\"exchange\":\"fedcba9876543210\",}\ntook 813µs\n":             false,
	} {
		if like(shown, printed) != want {
			t.Errorf("like is %v for %q", !want, printed)
		}
	}
}
