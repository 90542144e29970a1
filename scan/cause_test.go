package scan_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/portcullis-av/portcullis/scan"
)

// declaredCauses reads the constants of type Cause from the source.
func declaredCauses(t *testing.T) []scan.Cause {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "cause.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var all []scan.Cause
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); !ok || kind.Name != "Cause" {
			t.Errorf("%v has no type Cause", spec.Names)
			return false
		}
		for _, v := range spec.Values {
			word, err := strconv.Unquote(v.(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, scan.Cause(word))
		}
		return false
	})
	return all
}

// The closed list holds every declared cause, once, in the order of the source.
func TestCausesIsTheClosedList(t *testing.T) {
	declared := declaredCauses(t)
	if len(declared) < 30 {
		t.Fatalf("the test reads only %d causes", len(declared))
	}
	if diff := cmp.Diff(declared, scan.Causes()); diff != "" {
		t.Errorf("Causes() differs from the constants (-declared +listed):\n%s", diff)
	}
	sorted := slices.Sorted(slices.Values(declared))
	if unique := slices.Compact(slices.Clone(sorted)); len(unique) != len(sorted) {
		t.Errorf("two constants share a word: %v", sorted)
	}
}

// A cause stands in headers, metric labels and URNs as it is.
func TestCausesAreSafeWords(t *testing.T) {
	word := regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)
	for _, c := range scan.Causes() {
		if !word.MatchString(string(c)) {
			t.Errorf("%q is no lower-case word", c)
		}
	}
}
