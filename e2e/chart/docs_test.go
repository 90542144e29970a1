package chart_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// docBlocks are the fenced blocks of docs/helm.md behind a comment of a kind, by
// the comment's argument, or by their number where it has none.
func docBlocks(t *testing.T, kind string) map[string]string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(repository, "docs/helm.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for i, part := range strings.Split(string(page), "<!-- "+kind)[1:] {
		arg, rest, ok := strings.Cut(part, " -->\n```")
		if !ok {
			t.Fatalf("no block follows comment %d", i)
		}
		_, rest, _ = strings.Cut(rest, "\n")
		block, _, _ := strings.Cut(rest, "```")
		name := strings.TrimPrefix(arg, ": ")
		if name == "" {
			name = string(rune('a' + i))
		}
		found[name] = block
	}
	if len(found) == 0 {
		t.Fatalf("no block %q in docs/helm.md", kind)
	}
	return found
}

// Every set of values on the page renders, and what it says about Portcullis is
// a configuration with which it starts.
func TestDocsValues(t *testing.T) {
	t.Parallel()
	for name, values := range docBlocks(t, "values") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "values.yaml")
			write(t, file, values)
			text, err := template(t, "--values", file)
			if err != nil {
				t.Fatalf("%v:\n%s", err, values)
			}
			if out, code := portcullis(t, "check", "--config", placed(t, configOf(t, "", objects(t, text)))); code != 0 {
				t.Errorf("check ends with %d: %s\n%s", code, out, values)
			}
		})
	}
}

// What the page promises that the reader will see is what helm prints, and what
// the pod of "helm test" prints.
func TestDocsShowWhatIsPrinted(t *testing.T) {
	t.Parallel()
	for set, want := range docBlocks(t, "notes") {
		if got := notes(t, "--values", valuesFile(set)); strings.TrimSpace(got) != strings.TrimSpace(want) {
			t.Errorf("%s: helm prints\n%s\nand not\n%s", set, got, want)
		}
	}
	door, admin := freeAddress(t), freeAddress(t)
	config := filepath.Join(t.TempDir(), "portcullis.yaml")
	write(t, config, "listen: {extproc: \""+door+"\", admin: \""+admin+"\"}\ndrain: {grace: 0s}\n")
	startGate(t, config)
	await(t, func() string {
		out, _ := portcullis(t, "probe", "--extproc", door)
		if want := docBlocks(t, "probe")["a"]; out != want {
			return "it prints\n" + out + "and not\n" + want
		}
		return ""
	})
}
