package app_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/portcullis-av/portcullis/cmd/portcullis/app"
)

// run runs a command in this process.
func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = app.Run(t.Context(), app.Process{
		Args: args, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &err, Getenv: func(string) string { return "" },
	})
	return code, out.String(), err.String()
}

// commands lists every command line that has a help page, from the program's
// own grammar, so that none can be forgotten.
func commands(t *testing.T) [][]string {
	t.Helper()
	_, script, _ := run(t, "completion", "bash")
	all := [][]string{nil}
	for line := range strings.Lines(script) {
		name, rest, ok := strings.Cut(strings.TrimSpace(line), ") choices='")
		if !ok || name == "*" {
			continue
		}
		all = append(all, []string{name})
		for word := range strings.FieldsSeq(strings.TrimSuffix(rest, "' ;;")) {
			if !strings.HasPrefix(word, "--") {
				all = append(all, []string{name, word})
			}
		}
	}
	return all
}

// golden compares got with a file of testdata, or rewrites it with -update.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; run the test with -update", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got); if that is meant, run the test with -update\n%s", path, diff)
	}
}

// Every command explains itself: exit 0, on standard output, with an example
// where there is more than one way to use it.
func TestHelp(t *testing.T) {
	t.Setenv("COLUMNS", "100") // whatever the terminal of who runs the test
	var pages []string
	for _, command := range commands(t) {
		code, stdout, stderr := run(t, append(command, "--help")...)
		if code != 0 || stderr != "" {
			t.Errorf("%q: exit %d, stderr %q", command, code, stderr)
		}
		page := filepath.Join("testdata/help", strings.Join(append([]string{"portcullis"}, command...), "-")+".txt")
		golden(t, page, stdout)
		pages = append(pages, page)
	}
	there, err := filepath.Glob("testdata/help/*")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(pages)
	if diff := cmp.Diff(pages, there); diff != "" {
		t.Errorf("pages of commands that are gone (-want +there)\n%s", diff)
	}
}

// bash returns its path. Every machine that builds Portcullis has it.
func bash(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("bash")
	switch {
	case err == nil:
		return path
	case os.Getenv("CI") == "true":
		t.Fatalf("bash is needed: %v", err)
	}
	t.Skip("bash is not installed: its completion is not tested")
	return ""
}

// The scripts are such that their shell accepts them. That for zsh is bash's,
// run by zsh's own emulation.
func TestCompletionScripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		code, script, stderr := run(t, "completion", shell)
		if code != 0 || stderr != "" {
			t.Errorf("%s: exit %d, stderr %q", shell, code, stderr)
		}
		for _, word := range []string{"scan", "envoy-config", "static", "--config", "--admin"} {
			if !strings.Contains(script, word) {
				t.Errorf("%s: %s cannot be completed:\n%s", shell, word, script)
			}
		}
		if shell == "fish" {
			continue
		}
		cmd := exec.CommandContext(t.Context(), bash(t), "-n")
		cmd.Stdin = strings.NewReader(script)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s\n%s", shell, err, out, script)
		}
	}
}

// Completion offers commands first, and then what belongs to the command.
func TestCompletion(t *testing.T) {
	_, script, _ := run(t, "completion", "bash")
	for typed, want := range map[string]string{
		"portcullis sc":                        "scan",
		"portcullis envoy-config st":           "static",
		"portcullis envoy-config static --pro": "--profile --processor",
		"portcullis scan --j":                  "--json",
		"portcullis health --":                 "--admin",
		"portcullis nobody":                    "",
	} {
		words := strings.Fields(typed)
		ask := script + "\nCOMP_WORDS=(" + typed + "); COMP_CWORD=" + string(rune('0'+len(words)-1)) + "; _portcullis; echo \"${COMPREPLY[*]}\""
		out, err := exec.CommandContext(t.Context(), bash(t), "-c", ask).CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("%q offers %q, want %q (%v)", typed, out, want, err)
		}
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { panic("a defect") }

// A panic is never taken for success.
func TestPanicIsNoSuccess(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("the panic was swallowed")
		}
	}()
	code := app.Run(context.Background(), app.Process{Args: []string{"version"}, Stdout: brokenPipe{}, Stderr: brokenPipe{}})
	t.Errorf("exit code %d", code)
}
