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

	"go.yaml.in/yaml/v3"

	"github.com/portcullis-av/portcullis/cmd/portcullis/app"
	"github.com/portcullis-av/portcullis/e2e/rig"
	"github.com/portcullis-av/portcullis/envoy"
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

// A real Envoy with the filter switched off in its chain scans the routes that
// switch it on, by the very patches of the chart, and no other.
func TestOnlyTheRoutesThatAreNamed(t *testing.T) {
	t.Parallel()
	binary, err := rig.FindEnvoy(t.Context())
	if err != nil {
		missing(t, err.Error())
	}
	patches := map[string]any{}
	for _, p := range list(ofKind(rendered(t, "istio-routes"), "EnvoyFilter")[0], "spec", "configPatches") {
		patches[text(p, "applyTo")] = at(p, "patch", "value")
	}
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
	defer origin.Close()
	door, admin := freeAddress(t), freeAddress(t)
	config := filepath.Join(t.TempDir(), "portcullis.yaml")
	write(t, config, "listen: {extproc: \""+door+"\", admin: \""+admin+"\"}\ndrain: {grace: 0s}\n")
	startGate(t, config)
	static, err := envoy.StaticYAML(envoy.Options{
		Listen: "127.0.0.1:0", Admin: "127.0.0.1:0", Processor: door, Upstream: strings.TrimPrefix(origin.URL, "http://"),
	})
	if err != nil {
		t.Fatal(err)
	}
	tree := objects(t, string(static))[0]
	manager := at(tree, "static_resources", "listeners", 0, "filter_chains", 0, "filters", 0, "typed_config").(map[string]any)
	filter := patches["HTTP_FILTER"].(map[string]any)
	at(filter, "typed_config", "grpc_service", "envoy_grpc").(map[string]any)["cluster_name"] = "portcullis"
	list(manager, "http_filters")[0] = filter
	host := at(manager, "route_config", "virtual_hosts", 0).(map[string]any)
	named := map[string]any{"match": map[string]any{"prefix": "/named"}, "route": map[string]any{"cluster": "upstream", "timeout": "0s"}}
	for k, v := range patches["HTTP_ROUTE"].(map[string]any) {
		named[k] = v
	}
	host["routes"] = append([]any{named}, list(host, "routes")...)
	bootstrap, err := yaml.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	e, err := rig.StartEnvoy(rig.EnvoyOptions{Binary: binary, Dir: t.TempDir(), Config: bootstrap})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Kill()
	address, err := e.Address()
	if err != nil {
		t.Fatal(err)
	}
	await(t, func() string {
		if out, code := portcullis(t, "probe", "http://"+address+"/named"); code != 0 {
			return out
		}
		return ""
	})
	out, code := portcullis(t, "probe", "http://"+address+"/other")
	if code != 1 || !strings.Contains(out, "EICAR, the harmless test virus: passed") {
		t.Errorf("another route: exit %d, %s", code, out)
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
