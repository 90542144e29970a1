package e2e_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/portcullis-av/portcullis/e2e/rig"
)

// Help texts in the docs are the program's own.
func TestDocsOutput(t *testing.T) {
	t.Parallel()
	for _, b := range docBlocks(t, "output") {
		b.compare(t, b.printed(t))
	}
}

// Files in the docs are the files.
func TestDocsFiles(t *testing.T) {
	t.Parallel()
	for _, b := range docBlocks(t, "file") {
		text, err := os.ReadFile(filepath.Join(repository, b.arg))
		if err != nil {
			t.Fatal(err)
		}
		b.compare(t, string(text))
	}
}

// compare holds a block to what it shows, or rewrites it. One block a run and
// page is rewritten: the lines of those after it have moved.
func (b *block) compare(t *testing.T, want string) {
	t.Helper()
	var trimmed strings.Builder
	for line := range strings.Lines(want) {
		trimmed.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	diff := cmp.Diff(trimmed.String(), b.text())
	switch {
	case diff == "":
	case *update:
		b.replace(t, trimmed.String())
		t.Fatalf("%v was rewritten; run the test again for those after it", b)
	default:
		t.Errorf("%v is not what it should show (-want +got); run go test ./e2e -run TestDocs -update:\n%s", b, diff)
	}
}

// Configuration in the docs stands in one piece in what the generator prints.
func TestDocsExcerpts(t *testing.T) {
	t.Parallel()
	for _, b := range docBlocks(t, "excerpt") {
		if !contains(b.printed(t), b.text()) {
			t.Errorf("%v: %s does not print this in one piece:\n%s", b, b.arg, b.text())
		}
	}
}

// contains reports whether the lines of part stand in whole one after another,
// all indented alike.
func contains(whole, part string) bool {
	lines, want := strings.Split(strings.TrimRight(whole, "\n"), "\n"), strings.Split(strings.TrimRight(part, "\n"), "\n")
	for i := 0; i+len(want) <= len(lines); i++ {
		indent, ok := strings.CutSuffix(lines[i], want[0])
		for k := 0; ok && k < len(want); k++ {
			ok = lines[i+k] == indent+want[k]
		}
		if ok && strings.Trim(indent, " ") == "" {
			return true
		}
	}
	return false
}

func TestDocsContains(t *testing.T) {
	t.Parallel()
	whole := "a:\n  b:\n    c: 1\n  d: 2\n"
	for part, want := range map[string]bool{
		"b:\n  c: 1\nd: 2\n": true,
		"a:\n  b:\n":         true,
		"b:\nd: 2\n":         false,
		"b:\n c: 1\n":        false,
		"c: 1\n  d: 2\n":     false,
		"1\n":                false,
	} {
		if contains(whole, part) != want {
			t.Errorf("contains is %v for %q", !want, part)
		}
	}
}

// absolute are the paths of files in a configuration of the docs.
var absolute = regexp.MustCompile(`"(/[^"]+)"`)

// Every configuration in the docs is one that the program starts with, given
// files where it says.
func TestDocsConfigs(t *testing.T) {
	t.Parallel()
	for _, b := range docBlocks(t, "config") {
		dir := t.TempDir()
		text := absolute.ReplaceAllStringFunc(b.text(), func(quoted string) string {
			path := filepath.Join(dir, strings.ReplaceAll(strings.Trim(quoted, `"`), "/", "_"))
			provide(t, path)
			return `"` + path + `"`
		})
		file := filepath.Join(dir, "portcullis.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, complaints, code := command(t, "check", "--config", file); code != 0 {
			t.Errorf("%v: check ends with %d\n%s%s", b, code, out, complaints)
		}
	}
}

// The hash list in the docs is one that the builtin engine reads, with every
// entry, and its entries are of files that it then finds.
func TestDocsHashList(t *testing.T) {
	t.Parallel()
	for _, b := range docBlocks(t, "hash-list") {
		dir := t.TempDir()
		list, config := filepath.Join(dir, "list"), filepath.Join(dir, "portcullis.yaml")
		text := "engines: [{name: builtin, builtin: {hash_lists: [\"" + list + "\"]}}]\n"
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(list, []byte(b.text()), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, complaints, code := command(t, "check", "--config", config); code != 0 {
			t.Errorf("%v: check ends with %d\n%s%s", b, code, out, complaints)
		}
		if err := os.WriteFile(list, []byte(b.text()+"no digest\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, code := command(t, "check", "--config", config); code == 0 {
			t.Errorf("%v: the list is not read at all", b)
		}
	}
}

// provide puts at path what its name asks for.
func provide(t *testing.T, path string) {
	t.Helper()
	content := []byte("a-secret-that-is-long-enough\n")
	switch ext := filepath.Ext(path); {
	case strings.HasSuffix(path, "spool"):
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
		return
	case ext == ".hsb":
		content = []byte(strings.Repeat("00", 32) + ":1:Some-Name\n")
	case ext == ".crt", ext == ".key":
		var err error
		if content, err = rig.KeyPair(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
