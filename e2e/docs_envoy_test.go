package e2e_test

import (
	"strings"
	"testing"

	"github.com/portcullis-av/portcullis/e2e/rig"
	"github.com/portcullis-av/portcullis/envoy"
)

// The routes in the docs, put into the generated configuration, are such that
// neither the linter nor Envoy objects.
func TestDocsRoutes(t *testing.T) {
	t.Parallel()
	binary := needEnvoy(t)
	for _, b := range docBlocks(t, "envoy-routes") {
		config := withRoutes(t, b.text())
		found, err := envoy.Lint(config)
		if err != nil {
			t.Fatalf("%v: %v", b, err)
		}
		for _, f := range found {
			if f.Level != envoy.LevelInfo {
				t.Errorf("%v: %v", b, f)
			}
		}
		if err := rig.ValidateEnvoy(t.Context(), binary, t.TempDir(), config); err != nil {
			t.Errorf("%v: %v\n%s", b, err, config)
		}
	}
}

// withRoutes puts routes in the place of the generated ones.
func withRoutes(t *testing.T, routes string) []byte {
	t.Helper()
	generated, complaints, code := command(t, "envoy-config", "static")
	if code != 0 {
		t.Fatal(complaints)
	}
	var out strings.Builder
	indent, inside := "", false
	for line := range strings.Lines(generated) {
		own := line[:len(line)-len(strings.TrimLeft(line, " "))]
		if inside && len(own) > len(indent) {
			continue
		}
		inside = false
		out.WriteString(line)
		if strings.TrimSpace(line) == "routes:" {
			inside, indent = true, own
			for route := range strings.Lines(routes) {
				out.WriteString(own + "  " + route)
			}
		}
	}
	if !strings.Contains(out.String(), routes[:10]) {
		t.Fatalf("no routes in:\n%s", generated)
	}
	return []byte(out.String())
}

// Every Envoy configuration that the docs quote is part of one that Envoy takes.
func TestDocsExcerptsInEnvoy(t *testing.T) {
	t.Parallel()
	binary, seen := needEnvoy(t), map[string]bool{}
	for _, b := range docBlocks(t, "excerpt") {
		if !strings.Contains(b.arg, " static") || seen[b.arg] {
			continue
		}
		seen[b.arg] = true
		if err := rig.ValidateEnvoy(t.Context(), binary, t.TempDir(), []byte(b.printed(t))); err != nil {
			t.Errorf("%v: %v", b, err)
		}
	}
	if len(seen) < 3 {
		t.Errorf("%d configurations only", len(seen))
	}
}
