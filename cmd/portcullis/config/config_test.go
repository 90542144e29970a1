package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/portcullis-av/portcullis/cmd/portcullis/config"
)

// Every mistake of a file is reported at once, with its place and what to do.
func TestBad(t *testing.T) {
	for _, path := range files(t, "testdata/bad/*.yaml") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			c, err := config.Parse(filepath.Base(path), data)
			var e *config.Error
			if c != nil || !errors.As(err, &e) {
				t.Fatalf("Parse = %v, %v; want nil and a *config.Error", c, err)
			}
			if strings.Contains(e.Error()+e.Explain(), "hunter2@") {
				t.Error("a message shows a password")
			}
			golden(t, strings.TrimSuffix(path, ".yaml")+".err", e.Error()+"\n\n"+e.Explain())
		})
	}
}

// What is left out gets its default, and the configuration in use, written out,
// is that very configuration again.
func TestGood(t *testing.T) {
	t.Setenv("TMPDIR", "/var/tmp")
	for _, path := range files(t, "testdata/good/*.yaml") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			c := parse(t, string(data))
			out, err := c.Redacted()
			if err != nil {
				t.Fatal(err)
			}
			golden(t, strings.TrimSuffix(path, ".yaml")+".out", string(out))
			again := parse(t, string(out))
			if diff := cmp.Diff(c.Message(), again.Message(), protocmp.Transform()); diff != "" {
				t.Errorf("written out and parsed again (-first +again):\n%s", diff)
			}
		})
	}
}

func TestDefault(t *testing.T) {
	m := config.Default().Message()
	if diff := cmp.Diff(parse(t, "").Message(), m, protocmp.Transform()); diff != "" {
		t.Errorf("an empty file is not the default (-empty +default):\n%s", diff)
	}
	if m.GetEngines()[0].GetBuiltin() == nil || len(m.GetEngines()) != 1 {
		t.Errorf("engines = %v, want the builtin one", m.GetEngines())
	}
	p := m.GetPolicies()[0]
	got := []string{p.GetName(), p.GetRequest(), p.GetResponse(), p.GetFail(), p.GetUnscannable(), strings.Join(p.GetEngines(), ",")}
	if diff := cmp.Diff([]string{"default", "scan", "scan", "closed", "block", "builtin"}, got); diff != "" {
		t.Error(diff)
	}
	if !p.GetEnforce() {
		t.Error("the default only detects")
	}
	for _, address := range []string{m.GetListen().GetExtproc(), m.GetListen().GetAdmin()} {
		if !strings.HasPrefix(address, "127.0.0.1:") {
			t.Errorf("listens on %s", address)
		}
	}
}

// Engines without policies are all used, not ignored.
func TestDefaultPolicyUsesEveryEngine(t *testing.T) {
	m := parse(t, "engines: [{name: a, builtin: {}}, {name: b, builtin: {}}]").Message()
	if diff := cmp.Diff([]string{"a", "b"}, m.GetPolicies()[0].GetEngines()); diff != "" {
		t.Error(diff)
	}
}

// What a caller does to its copy does not change the configuration.
func TestImmutable(t *testing.T) {
	c := config.Default()
	c.Message().Policies[0].Name = "changed"
	if name := c.Message().GetPolicies()[0].GetName(); name != "default" {
		t.Errorf("policy is named %q", name)
	}
}

// A mistake that only the caller sees is reported with the others and with its
// place.
func TestCheck(t *testing.T) {
	check := func(c *config.Config) []config.Problem {
		if when := c.Message().GetRules()[0].GetWhen(); when != "1 +" {
			t.Errorf("the check sees %q", when)
		}
		return []config.Problem{{Path: "rules[0].when", Message: "is not CEL:\n  | 1 +\n  | ...^"}}
	}
	text := "rules:\n  - when: 1 +\n    policy: default\nlog: {level: loud}\n"
	_, err := config.Parse("f.yaml", []byte(text), check)
	want := "f.yaml:2:11: rules[0].when: is not CEL: | 1 + | ...^\n" +
		`f.yaml:4:14: log.level: must be "debug", "info", "warn" or "error", not "loud"`
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Error(diff)
	}
}

func TestReject(t *testing.T) {
	c := parse(t, "engines:\n  - name: a\n    builtin: {hash_lists: [x, y]}\n")
	if err := c.Reject(); err != nil {
		t.Errorf("nothing to reject: %v", err)
	}
	err := c.Reject(
		config.Problem{Path: "engines[0].builtin.hash_lists[1]", Message: "line 3 is no hash"},
		config.Problem{Path: "spool.disk_dir", Message: "is full"},
		config.Problem{Path: "engines[0].canary.interval", Message: "is odd"},
	)
	want := "test.yaml:1:1: spool.disk_dir: is full\n" +
		"test.yaml:2:5: engines[0].canary.interval: is odd\n" +
		"test.yaml:3:31: engines[0].builtin.hash_lists[1]: line 3 is no hash"
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Error(diff)
	}
}

func TestTooLarge(t *testing.T) {
	fits := "#" + strings.Repeat("x", config.MaxFileBytes-1)
	parse(t, fits)
	path := filepath.Join(t.TempDir(), "large.yaml")
	if err := os.WriteFile(path, []byte(fits+"x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(path); err == nil || !strings.Contains(err.Error(), "larger than 1048576 bytes") {
		t.Errorf("error = %v", err)
	}
}

// A file full of mistakes neither takes long nor floods the reader.
func TestManyProblems(t *testing.T) {
	for name, tc := range map[string]struct {
		text     string
		problems int
	}{
		"entries":  {"policies: [" + strings.Repeat("x,", 100_000) + "]", 1},
		"mistakes": {"policies: [" + strings.Repeat("x,", 2000) + "]", 101},
		"keys":     {"log: {" + strings.Repeat("x: 1,", 100_000) + "}", 101},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Parse("f.yaml", []byte(tc.text))
			var e *config.Error
			if !errors.As(err, &e) {
				t.Fatalf("error = %v", err)
			}
			if n := len(e.Problems); n != tc.problems {
				t.Errorf("%d problems, want %d; last %q", n, tc.problems, e.Problems[n-1].Message)
			}
		})
	}
}

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}
