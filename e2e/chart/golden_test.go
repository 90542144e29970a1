package chart_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// golden compares got with a file, or rewrites it with -update.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; run the test with -update", err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s differs (-want +got); if that is meant, run go test ./e2e/chart -update\n%s", path, d)
	}
}

// What the chart renders changes only when somebody means it, and helm has
// nothing against it.
func TestRenders(t *testing.T) {
	t.Parallel()
	var there []string
	for _, set := range valueSets(t) {
		path := filepath.Join(goldenDir, set+".yaml")
		there = append(there, path)
		t.Run(set, func(t *testing.T) {
			t.Parallel()
			got, err := templateOf(t, set)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, path, got)
			lint(t, "helm", set)
		})
	}
	files, err := filepath.Glob(filepath.Join(goldenDir, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(there)
	if d := cmp.Diff(there, files); d != "" {
		t.Errorf("golden files of sets that are gone (-want +there):\n%s", d)
	}
}

func lint(t *testing.T, helm, set string) {
	t.Helper()
	args := []string{"lint", "--strict", chartDir, "--namespace", namespace, "--kube-version", kubernetes, "--values", valuesFile(set)}
	if _, err := run(t, tool(t, helm), args...); err != nil {
		t.Error(err)
	}
}

// Helm 3 renders the same objects as Helm 4.
func TestRendersAlikeWithHelm3(t *testing.T) {
	t.Parallel()
	for _, set := range valueSets(t) {
		got, err := templateBy(t, "helm3/helm", "--values", valuesFile(set))
		if err != nil {
			t.Fatal(err)
		}
		byName := cmpopts.SortSlices(func(a, b object) bool { return a.kind()+a.name() < b.kind()+b.name() })
		if d := cmp.Diff(rendered(t, set), objects(t, got), byName); d != "" {
			t.Errorf("%s (-helm 4 +helm 3):\n%s", set, d)
		}
		lint(t, "helm3/helm", set)
	}
}

// notes are what helm says after an installation.
func notes(t *testing.T, args ...string) string {
	t.Helper()
	out, err := run(t, tool(t, "helm"), append([]string{"install", release, chartDir, "--namespace", namespace, "--dry-run=client"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	_, notes, ok := strings.Cut(out, "\nNOTES:\n")
	if !ok {
		t.Fatalf("no notes in:\n%s", out)
	}
	return notes
}

// Whoever opens the gate is told so, and nobody else.
func TestNotesNameEveryHole(t *testing.T) {
	t.Parallel()
	for set, want := range map[string][]string{
		"central":          {"no replacement for an antivirus"},
		"cloudmersive-tls": {"FAIL OPEN: policy default lets bodies pass unscanned while its engines fail."},
		"istio-adaptive":   {"FAIL OPEN: policy uploads lets bodies pass that cannot be scanned.", "DETECT ONLY: policy default", "no replacement"},
		"istio":            {"NOT SCANNED: route metrics of shop.example.com:443.", "NOT SCANNED: route default of inbound|http|8080.", "no replacement"},
		"istio-routes":     {`NOT SCANNED: routes of istio-ingress/{"istio":"ingressgateway"} other than uploads of shop.example.com:443, uploads of shop.example.com:80.`, "no replacement"},
		"clamd-sidecar":    nil,
		"sidecar":          nil,
	} {
		got := notes(t, "--values", valuesFile(set))
		for _, line := range want {
			if !strings.Contains(got, line) {
				t.Errorf("%s: the notes lack %q:\n%s", set, line, got)
			}
		}
		found := 0
		for _, word := range []string{"FAIL OPEN", "DETECT ONLY", "NOT SCANNED: ", "no replacement"} {
			found += strings.Count(got, word)
		}
		if found != len(want) {
			t.Errorf("%s: %d warnings, want %d:\n%s", set, found, len(want), got)
		}
	}
}
