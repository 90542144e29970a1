package chart_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The chart's README is what helm-docs makes of the comments in values.yaml,
// and every value has one.
func TestReadmeIsMadeFromTheComments(t *testing.T) {
	t.Parallel()
	// helm-docs looks into every folder below, and prints a log beside the text.
	dir := t.TempDir()
	for _, name := range []string{"Chart.yaml", "values.yaml", "README.md.gotmpl"} {
		text, err := os.ReadFile(filepath.Join(chartDir, name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), string(text))
	}
	if _, err := run(t, tool(t, "helm-docs"), "--chart-search-root", dir, "--log-level", "warning", "--sort-values-order", "file"); err != nil {
		t.Error(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, filepath.Join(chartDir, "README.md"), string(got))
	rows := 0
	for line := range strings.Lines(string(got)) {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		rows++
		if strings.HasSuffix(line, "|  |\n") {
			t.Errorf("a value without a comment in values.yaml: %s", line)
		}
	}
	if rows < 100 {
		t.Errorf("only %d values are explained", rows)
	}
}
