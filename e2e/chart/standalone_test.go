package chart_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/portcullis-av/portcullis/cmd/portcullis/app"
	"github.com/portcullis-av/portcullis/e2e/rig"
)

// What the chart writes for a standalone pod works: a real Envoy with its
// configuration, a gate with its configuration, and the very command of
// "helm test".
func TestStandaloneBlocksEICAR(t *testing.T) {
	t.Parallel()
	binary, err := rig.FindEnvoy(t.Context())
	if err != nil {
		missing(t, err.Error())
	}
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	}))
	defer origin.Close()
	upstream := strings.TrimPrefix(origin.URL, "http://")
	for mode, values := range map[string]string{
		"reverse": `{topology: standalone, standalone: {upstream: "` + upstream + `"}}`,
		"forward": `{topology: standalone, standalone: {mode: forward, allowLocal: true}}`,
	} {
		t.Run(mode, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "values.yaml")
			write(t, file, values)
			text, err := template(t, "--values", file)
			if err != nil {
				t.Fatal(err)
			}
			all := objects(t, text)
			door, admin := freeAddress(t), freeAddress(t)
			_, port, _ := strings.Cut(door, ":")
			config := strings.NewReplacer("127.0.0.1:9100", door, ":9101", admin).Replace(data(all, "portcullis", "portcullis.yaml"))
			startGate(t, placed(t, strings.Replace(config, "grace: 15s", "grace: 0s", 1)))
			bootstrap := strings.NewReplacer("port_value: 9100", "port_value: "+port, "address: 0.0.0.0, port_value: 10000", "address: 127.0.0.1, port_value: 0").
				Replace(data(all, "portcullis-envoy", "envoy.yaml"))
			e, err := rig.StartEnvoy(rig.EnvoyOptions{
				Binary: binary, Dir: t.TempDir(), Config: []byte(bootstrap + "\nadmin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}\n"),
			})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Kill()
			address, err := e.Address()
			if err != nil {
				t.Fatal(err)
			}
			// The pod's own arguments, with the addresses of this machine.
			var args []string
			for _, a := range list(ofKind(all, "Pod")[0], "spec", "containers", 0, "args") {
				a := strings.NewReplacer("portcullis.portcullis.svc:10000", address, "portcullis-metrics.portcullis.svc:9101", upstream).Replace(a.(string))
				args = append(args, a)
			}
			await(t, func() string { // the first canary, Envoy's first health check
				if out, code := portcullis(t, args...); code != 0 {
					return fmt.Sprintf("%q ends with %d: %s\n%s", args, code, out, e.Tail(10))
				}
				return ""
			})
		})
	}
}

// startGate serves in this process until the test ends.
func startGate(t *testing.T, config string) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		app.Run(ctx, app.Process{
			Args: []string{"serve", "--config", config}, Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: io.Discard,
			// The tests of this process share its memory limit.
			Getenv: func(name string) string { return map[string]string{"GOMEMLIMIT": "off"}[name] },
		})
	}()
	t.Cleanup(func() { stop(); <-done })
	if _, err := os.Stat(config); err != nil {
		t.Fatal(err)
	}
}
