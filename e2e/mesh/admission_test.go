package mesh_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/portcullis-av/portcullis/envoy"
)

// The API server takes everything that is generated, and its refusals are where
// they are expected: whoever relies on it for what it does not look at is shown
// by the last column that the linter does.
func TestAPIServer(t *testing.T) {
	t.Parallel()
	l := startLab(t)
	t.Run("generated", func(t *testing.T) {
		files, err := filepath.Glob(filepath.Join(repository, "envoy", "examples", "*.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		judged := 0
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(text, []byte("\nkind:")) {
				continue // for an Envoy of its own
			}
			judged++
			if err := l.judge(t, text); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
		if judged < 7 {
			t.Errorf("%d files only", judged)
		}
	})
	t.Run("mistakes", func(t *testing.T) { l.mistakes(t) })
	t.Run("chart", func(t *testing.T) { l.chart(t) })
}

func (l lab) mistakes(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(repository, "envoy", "examples", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	gateway, istio := read("gateway-duplex.yaml"), read("istio-workload-duplex.yaml")
	for _, c := range []struct {
		what, good, old, new string
		refused, linted      bool // by the API server, by the linter
	}{
		{"EnvoyFilter: an unknown field", istio, "configPatches:", "configPatchez:", true, true},
		{"EnvoyFilter: a wrong applyTo", istio, "applyTo: HTTP_FILTER", "applyTo: HTTP_FILTR", true, true},
		{"EnvoyFilter: an unknown field in a patch", istio, "status_on_error:", "status_on_errror:", false, true},
		{"EnvoyFilter: a wrong duration in a patch", istio, "message_timeout: 35s", "message_timeout: soon", false, true},
		{"EnvoyFilter: fail open", istio, "failure_mode_allow: false", "failure_mode_allow: true", false, true},
		{"Envoy Gateway: an unknown field", gateway, "failOpen:", "failOpn:", true, true},
		{"Envoy Gateway: a wrong mode", gateway, "body: FullDuplexStreamed", "body: Duplex", true, true},
		{"Envoy Gateway: fail open in duplex", gateway, "failOpen: false", "failOpen: true", true, true},
		{"Envoy Gateway: no response", gateway, "        response:\n          body: FullDuplexStreamed\n", "", false, true},
		{"Envoy Gateway: no time for a scan", strings.ReplaceAll(gateway, "FullDuplexStreamed", "Buffered"), "messageTimeout: 35s", "messageTimeout: 1s", false, true},
	} {
		bad := strings.Replace(c.good, c.old, c.new, 1)
		if bad == c.good {
			t.Fatalf("%s: nothing to change", c.what)
		}
		if err := l.judge(t, []byte(bad)); (err != nil) != c.refused {
			t.Errorf("%s: the API server: refused %v, want %v: %v", c.what, err != nil, c.refused, err)
		}
		found, err := envoy.Lint([]byte(bad))
		errors := err != nil
		for _, f := range found {
			errors = errors || f.Level == envoy.LevelError
		}
		if errors != c.linted {
			t.Errorf("%s: the linter: %v, %v", c.what, found, err)
		}
	}
}

// foreign are objects of others, whose definitions are not here.
var foreign = regexp.MustCompile(`(?m)^apiVersion: "?(monitoring\.coreos\.com|cert-manager\.io)/`)

// chart has the API server judge what the chart renders with each of its sets of
// values, if the chart is there.
func (l lab) chart(t *testing.T) {
	chart := filepath.Join(repository, "helm", "portcullis")
	sets, err := filepath.Glob(filepath.Join(chart, "ci", "*-values.yaml"))
	if err != nil || len(sets) == 0 {
		t.Skip("there is no chart with values in helm/portcullis/ci")
	}
	helm := need(t, "helm")
	left := 0
	for _, set := range sets {
		out, err := run(t, nil, helm, "template", "gate", chart, "--namespace", "portcullis", "-f", set)
		if err != nil {
			t.Errorf("%s: %v", set, err)
			continue
		}
		var ours []string
		for _, doc := range strings.Split("\n"+out, "\n---") {
			if foreign.MatchString(doc) {
				left++
				continue
			}
			ours = append(ours, doc)
		}
		if err := l.judge(t, []byte(strings.Join(ours, "\n---"))); err != nil {
			t.Errorf("%s: %v", filepath.Base(set), err)
		}
	}
	t.Logf("%d sets of values; %d objects of Prometheus' and cert-manager's operators were left out: their definitions are not here", len(sets), left)
}
