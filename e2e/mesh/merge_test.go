package mesh_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/portcullis-av/portcullis/envoy"
)

// What the docs say of a route's own policy is so: without mergeType it replaces
// the Gateway's and opens a hole, which the linter finds before and after the
// translation; with it the gate stays, and scans once.
func TestEnvoyGatewayMerges(t *testing.T) {
	t.Parallel()
	egctl := need(t, "egctl")
	whole, err := envoy.GatewayYAML(gatewayOptions()["duplex"])
	if err != nil {
		t.Fatal(err)
	}
	ofRoute := gatewayOptions()["route"]
	ofRoute.Name = "own"
	route, err := envoy.GatewayYAML(ofRoute)
	if err != nil {
		t.Fatal(err)
	}
	route, _, _ = cutDocument(string(route)) // the EnvoyExtensionPolicy alone
	const header = "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyExtensionPolicy\nmetadata: {name: own, namespace: edge}\n" +
		"spec:\n  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: uploads}]\n"
	const lua = "  lua: [{type: Inline, inline: \"function envoy_on_response(r) end\"}]\n"
	for name, c := range map[string]struct {
		policy        string
		before, after string // rules that say so
	}{
		"replaces":                  {header + lua, "L30", "L6"},
		"merges":                    {header + "  mergeType: StrategicMerge\n" + lua, "", ""},
		"merges a gate of its own":  {string(route), "", ""},
		"a gate of its own instead": {strings.Replace(string(route), "  mergeType: StrategicMerge\n", "", 1), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := fmt.Sprintf(gatewayFixture, "", "8080", "{name: web, port: 80}") + serviceFixture + string(whole) + "---\n" + c.policy
			wantRule(t, "the objects", text, c.before)
			file := filepath.Join(t.TempDir(), "all.yaml")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			xds, err := run(t, nil, egctl, "x", "translate", "--from", "gateway-api", "--to", "xds", "-t", "all", "-o", "json", "-f", file)
			if err != nil {
				t.Fatal(err)
			}
			wantRule(t, "the translation", xds, c.after)
			_, routes, _ := strings.Cut(xds, "RoutesConfigDump")
			want := 1
			if c.after != "" {
				want = 0
			}
			if n := strings.Count(routes, `"envoy.filters.http.ext_proc/`); n != want {
				t.Errorf("the route switches on %d gates, want %d", n, want)
			}
		})
	}
}

// cutDocument cuts a YAML text at its first separator.
func cutDocument(text string) (first []byte, rest string, found bool) {
	one, rest, found := strings.Cut(text, "\n---\n")
	return []byte(one + "\n"), rest, found
}

// wantRule requires an error of that rule, or none at all.
func wantRule(t *testing.T, what, config, rule string) {
	t.Helper()
	found, err := envoy.Lint([]byte(config))
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	seen := false
	for _, f := range found {
		switch {
		case f.Level != envoy.LevelError:
		case f.Rule == rule:
			seen = true
		default:
			t.Errorf("%s: %v", what, f)
		}
	}
	if seen != (rule != "") {
		t.Errorf("%s: rule %q found: %v", what, rule, seen)
	}
}
