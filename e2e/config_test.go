package e2e_test

import (
	"bytes"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/portcullis-av/portcullis/e2e/client"
	"github.com/portcullis-av/portcullis/e2e/origin"
	"github.com/portcullis-av/portcullis/e2e/payload"
	"github.com/portcullis-av/portcullis/e2e/rig"
	"github.com/portcullis-av/portcullis/envoy"
)

// What `portcullis envoy-config static` prints is a configuration Envoy accepts.
func TestEnvoyAcceptsPrintedConfig(t *testing.T) {
	t.Parallel()
	envoyPath, portcullis := needEnvoy(t), needPortcullis(t)
	for _, profile := range envoy.Profiles() {
		t.Run(string(profile), func(t *testing.T) {
			t.Parallel()
			var stderr bytes.Buffer
			cmd := exec.CommandContext(t.Context(), portcullis, "envoy-config", "static",
				"--profile", string(profile), "--upstream", "service.example:8080")
			cmd.Stderr = &stderr
			config, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, stderr.Bytes())
			}
			if err := rig.ValidateEnvoy(t.Context(), envoyPath, t.TempDir(), config); err != nil {
				t.Errorf("%v\n%s", err, config)
			}
		})
	}
}

// Without a configuration file, Portcullis scans both legs with the embedded
// engine and fails closed.
func TestDefaultConfig(t *testing.T) {
	t.Parallel()
	g := startGate(t, startPortcullis(t, rig.PortcullisOptions{}), envoy.Options{})
	g.blocksUpload(t, "x", client.HTTP1, framing{name: "length"}, "raw")
	g.blocksDownload(t, "x", client.HTTP1, framing{name: "length"}, "form")
	g.crosses(t, "x", client.HTTP1, framing{name: "length"}, payload.Random(1, 10<<10))
	x := g.send(t, client.HTTP2, client.Request{Path: "/x"}, origin.Answer{})
	if x.Status != http.StatusOK {
		t.Errorf("status %d", x.Status)
	}
}

// What a running Envoy says of its configuration is as sound as what it was given.
func TestLintOfRunningEnvoy(t *testing.T) {
	t.Parallel()
	for _, profile := range profiles() {
		e, _ := startEnvoy(t, envoy.Options{Profile: profile})
		dump, err := e.Admin("/config_dump")
		if err != nil {
			t.Fatal(err)
		}
		found, err := envoy.Lint([]byte(dump))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			if f.Level != envoy.LevelInfo {
				t.Errorf("%s: %v", profile, f)
			}
		}
		bad := strings.ReplaceAll(dump, `"status_on_error":`, `"failure_mode_allow":true,"status_on_error":`)
		found, err = envoy.Lint([]byte(bad))
		if err != nil || !slices.ContainsFunc(found, func(f envoy.Finding) bool { return f.Rule == "L1" }) {
			t.Errorf("%s: the linter is blind to a dump: %v, error %v", profile, found, err)
		}
	}
}

// One exchange is one log line, with the words of the answer and no word of the
// body.
func TestLogLine(t *testing.T) {
	t.Parallel()
	p := startPortcullis(t, rig.PortcullisOptions{})
	g := startGate(t, p, envoy.Options{})
	g.blocksUpload(t, "one-of-a-kind", client.HTTP1, framing{name: "length"}, "form")
	about := func(line map[string]any) bool {
		path, _ := line["path"].(string)
		return path == "/one-of-a-kind/upload"
	}
	if _, err := p.AwaitLog(exchangeTimeout, about); err != nil {
		t.Fatal(err)
	}
	lines := 0
	for _, line := range p.Log() {
		if about(line) {
			lines++
		}
	}
	if lines != 1 {
		t.Errorf("%d log lines about one exchange", lines)
	}
	for _, secret := range [][]byte{payload.EICAR()[:40], []byte("canary:")} {
		if bytes.Contains(p.Output(), secret) {
			t.Errorf("the log quotes the body: %q", secret)
		}
	}
}
