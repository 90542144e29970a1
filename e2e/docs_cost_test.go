package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The README's figures are those of docs/cost.md, which "make bench-page" writes.
func TestDocsCost(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(repository, "docs", "cost.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "\n| figure |")
	table, _, whole := strings.Cut(rest, "\n\n")
	if !found || !whole || strings.Count(table, "\n") < 7 {
		t.Fatalf("docs/cost.md holds no table of figures:\n%s", table)
	}
	table = "| figure |" + table + "\n"
	readme := filepath.Join(repository, "README.md")
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), "| figure |")
	old, after, whole := strings.Cut(rest, "\n\n")
	if !found || !whole {
		t.Fatal("README.md has no table of figures")
	}
	if "| figure |"+old+"\n" == table {
		return
	}
	if !*update {
		t.Fatalf("README.md's figures are not those of docs/cost.md; run the test with -update. There:\n%s", table)
	}
	if err := os.WriteFile(readme, []byte(before+table+"\n"+after), 0o644); err != nil { //nolint:gosec // documentation
		t.Fatal(err)
	}
}
