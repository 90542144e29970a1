package chart_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/portcullis-av/portcullis/cmd/portcullis/app"
	"github.com/portcullis-av/portcullis/e2e/rig"
)

// portcullis runs a command in this process.
func portcullis(t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	var b bytes.Buffer
	code = app.Run(t.Context(), app.Process{
		Args: args, Stdin: strings.NewReader(""), Stdout: &b, Stderr: &b, Getenv: func(string) string { return "" },
	})
	return b.String(), code
}

// mounted is a file or folder that the pods have.
var mounted = regexp.MustCompile(`(/etc/portcullis|/run/secrets|/var/lib/portcullis)/[A-Za-z0-9/._-]+`)

// placed writes a configuration with its paths moved into a folder where each
// of them exists.
func placed(t *testing.T, config string) (file string) {
	t.Helper()
	dir := t.TempDir()
	config = mounted.ReplaceAllStringFunc(config, func(path string) string {
		here := filepath.Join(dir, strings.ReplaceAll(path, "/", "_"))
		switch {
		case strings.HasSuffix(path, "/spool"):
			if err := os.MkdirAll(here, 0o700); err != nil {
				t.Fatal(err)
			}
			return here
		case strings.HasSuffix(path, ".hsb"):
			write(t, here, strings.Repeat("00", 32)+":1:Some-Name\n")
		case strings.HasSuffix(path, ".crt"), strings.HasSuffix(path, ".key"):
			pair, err := rig.KeyPair()
			if err != nil {
				t.Fatal(err)
			}
			write(t, here, string(pair))
		default:
			write(t, here, "a-secret-that-is-long-enough\n")
		}
		return here
	})
	file = filepath.Join(dir, "portcullis.yaml")
	write(t, file, config)
	return file
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// fullname is what the chart calls its objects for the release of these tests.
func fullname(set string) string {
	if set == "icap-mtls" {
		return "gate"
	}
	return "portcullis"
}

func configOf(t *testing.T, set string, all []object) string {
	t.Helper()
	config := data(all, fullname(set), "portcullis.yaml")
	if config == "" {
		t.Fatalf("%s: no configuration of Portcullis", set)
	}
	return config
}

// Every configuration that the chart writes is one with which Portcullis starts.
func TestConfigIsAccepted(t *testing.T) {
	t.Parallel()
	for _, set := range valueSets(t) {
		t.Run(set, func(t *testing.T) {
			t.Parallel()
			config := configOf(t, set, rendered(t, set))
			if out, code := portcullis(t, "check", "--config", placed(t, config)); code != 0 {
				t.Errorf("check ends with %d: %s\n%s", code, out, config)
			}
		})
	}
}

// An exchange under way is never killed: Kubernetes waits longer than the gate
// drains, and unless somebody says otherwise the gate drains for as long as its
// policies may hold both legs.
func TestStopsAfterTheDrain(t *testing.T) {
	t.Parallel()
	for _, set := range valueSets(t) {
		all := rendered(t, set)
		var config struct {
			Drain    struct{ Grace, Timeout string }
			Policies []struct {
				Scan   string `yaml:"scan_timeout"`
				Upload string `yaml:"upload_timeout"`
			}
		}
		if err := yaml.Unmarshal([]byte(configOf(t, set, all)), &config); err != nil {
			t.Fatal(err)
		}
		grace, timeout := duration(t, config.Drain.Grace), duration(t, config.Drain.Timeout)
		longest := 30*time.Second + 5*time.Minute
		for _, p := range config.Policies {
			scan, upload := 30*time.Second, 5*time.Minute
			if p.Scan != "" {
				scan = duration(t, p.Scan)
			}
			if p.Upload != "" {
				upload = duration(t, p.Upload)
			}
			longest = max(longest, scan+upload)
		}
		if set != "icap-mtls" && timeout <= min(2*longest, time.Hour-1) {
			t.Errorf("%s: drains for %v, but a policy may hold legs for %v", set, timeout, 2*longest)
		}
		for _, d := range ofKind(all, "Deployment") {
			seconds, ok := at(d, "spec", "template", "spec", "terminationGracePeriodSeconds").(int)
			if killed := time.Duration(seconds) * time.Second; !ok || killed <= grace+timeout {
				t.Errorf("%s: killed after %v, while it drains for %v", set, killed, grace+timeout)
			}
		}
	}
}

func duration(t *testing.T, s string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A collector of traces can be reached through the network policy, and a change of
// it, which only a restart takes, restarts the pods.
func TestCollectorIsReached(t *testing.T) {
	t.Parallel()
	const policy = `{networkPolicy: {enabled: true, from: [{namespaceSelector: {}}]}, config: {tracing: %s}}`
	checksums := map[string]bool{}
	for tracing, reached := range map[string]bool{"{}": false, `{otlp: {address: "a:4317"}}`: true, `{otlp: {address: "b:4317"}}`: true} {
		file := filepath.Join(t.TempDir(), "values.yaml")
		write(t, file, fmt.Sprintf(policy, tracing))
		text, err := template(t, "--values", file)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(text, "endPort: 65535"); got != reached {
			t.Errorf("tracing %s: the network policy lets it through: %v", tracing, got)
		}
		checksums[regexp.MustCompile(`checksum/config: (\w+)`).FindString(text)] = true
	}
	if len(checksums) != 3 {
		t.Errorf("three settings have %d checksums", len(checksums))
	}
}
