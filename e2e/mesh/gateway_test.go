package mesh_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/portcullis-av/portcullis/e2e/rig"
	"github.com/portcullis-av/portcullis/envoy"
)

// gatewayFixture is a Gateway with one route; %s are the GatewayClass's
// parameters, the port, and the backend of the route.
const gatewayFixture = `
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: eg}
spec: {controllerName: gateway.envoyproxy.io/gatewayclass-controller%s}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: public, namespace: edge}
spec:
  gatewayClassName: eg
  listeners: [{name: http, protocol: HTTP, port: %s, allowedRoutes: {namespaces: {from: Same}}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: uploads, namespace: edge}
spec:
  parentRefs: [{name: public}]
  rules: [{matches: [{path: {type: PathPrefix, value: /}}], backendRefs: [%s]}]
---
`

const serviceFixture = `
apiVersion: v1
kind: Service
metadata: {name: web, namespace: edge}
spec: {clusterIP: 10.0.0.1, ports: [{name: http, port: 80, protocol: TCP}]}
---
apiVersion: v1
kind: Service
metadata: {name: portcullis, namespace: portcullis}
spec: {clusterIP: 10.0.0.2, ports: [{name: grpc, port: 9100, protocol: TCP}]}
---
`

func gatewayOptions() map[string]envoy.GatewayOptions {
	plain := envoy.GatewayOptions{Namespace: "edge", Gateway: "public"}
	buffered, listener, route := plain, plain, plain
	buffered.Profile, listener.Listener, route.Route = envoy.Buffered, "http", "uploads"
	return map[string]envoy.GatewayOptions{"duplex": plain, "buffered": buffered, "listener": listener, "route": route}
}

// Envoy Gateway's own tool takes what is generated and makes of it the filter,
// the timers and the buffers that were meant.
func TestEnvoyGatewayTranslates(t *testing.T) {
	t.Parallel()
	egctl := need(t, "egctl")
	for name, o := range gatewayOptions() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			policies, err := envoy.GatewayYAML(o)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "all.yaml")
			text := fmt.Sprintf(gatewayFixture, "", "8080", "{name: web, port: 80}") + serviceFixture + string(policies)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := run(t, nil, egctl, "x", "validate", "-f", file); err != nil || !strings.Contains(out, "OK") {
				t.Errorf("egctl x validate: %v\n%s", err, out)
			}
			status, err := run(t, nil, egctl, "x", "translate", "--from", "gateway-api", "--to", "gateway-api", "-o", "yaml", "-f", file)
			if err != nil || strings.Contains(status, `status: "False"`) || strings.Count(status, "Policy has been accepted") != 3 {
				t.Errorf("want three accepted policies: %v\n%s", err, status)
			}
			xds, err := run(t, nil, egctl, "x", "translate", "--from", "gateway-api", "--to", "xds", "-t", "all", "-o", "json", "-f", file)
			if err != nil {
				t.Fatal(err)
			}
			lint(t, "the translation", []byte(xds), unsettable(o)...)
			wantXDS(t, xds, o)
		})
	}
}

// unsettable are the rules about what Envoy Gateway has no word for: in buffered
// mode, max_message_timeout.
func unsettable(o envoy.GatewayOptions) []string {
	if o.Profile == envoy.Buffered {
		return []string{"L8"}
	}
	return nil
}

func wantXDS(t *testing.T, xds string, o envoy.GatewayOptions) {
	t.Helper()
	var tree any
	if err := json.Unmarshal([]byte(xds), &tree); err != nil {
		t.Fatal(err)
	}
	plain, err := json.Marshal(tree) // without blanks
	if err != nil {
		t.Fatal(err)
	}
	mode, limit := "FULL_DUPLEX_STREAMED", "1048576"
	if o.Profile == envoy.Buffered {
		mode, limit = "BUFFERED", "33554432"
	}
	for _, want := range []string{
		`"requestBodyMode":"` + mode + `"`, `"responseBodyMode":"` + mode + `"`, `"requestHeaderMode":"SEND"`, `"responseHeaderMode":"SEND"`,
		`"messageTimeout":"35s"`, `"statusOnError":{"code":"ServiceUnavailable"}`, `"streamIdleTimeout":"345s"`, `"maxStreamDuration":"1340s"`,
		`"perConnectionBufferLimitBytes":` + limit, `"timeout":"0s"`, `"initialStreamWindowSize":262144`, `"untyped":["portcullis"]`, `"enableTrailers":true`,
	} {
		if !bytes.Contains(plain, []byte(want)) {
			t.Errorf("no %s in the translation", want)
		}
	}
	for _, never := range []string{`"failureModeAllow":true`, `"websocket"`, `"observabilityMode":true`} {
		if bytes.Contains(plain, []byte(never)) {
			t.Errorf("%s in the translation", never)
		}
	}
	if n := bytes.Count(plain, []byte("ext_proc.v3.ExternalProcessor")); n != 1 {
		t.Errorf("%d processors in the translation", n)
	}
}

// What Envoy Gateway refuses, and what only the linter finds.
func TestEnvoyGatewayRefuses(t *testing.T) {
	t.Parallel()
	egctl := need(t, "egctl")
	good, err := envoy.GatewayYAML(gatewayOptions()["duplex"])
	if err != nil {
		t.Fatal(err)
	}
	for mistake, refused := range map[[2]string]bool{
		{"failOpen: false", "failOpen: true"}:                                        true,
		{"body: FullDuplexStreamed", "body: Duplex"}:                                 true,
		{"body: FullDuplexStreamed", "body: BufferedPartial"}:                        false,
		{"        response:\n          body: FullDuplexStreamed\n", ""}:              false,
		{"name: public\n  extProc:", "name: public\n  mergeType: Merge\n  extProc:"}: true,
	} {
		file := filepath.Join(t.TempDir(), "all.yaml")
		bad := strings.Replace(string(good), mistake[0], mistake[1], 1)
		if bad == string(good) {
			t.Fatalf("%q: nothing to change", mistake[0])
		}
		if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := run(t, nil, egctl, "x", "validate", "-f", file)
		if got := err != nil || !strings.Contains(out, "OK") || strings.Contains(out, "ERROR"); got != refused {
			t.Errorf("%q: refused %v, want %v: %v\n%s", mistake[1], got, refused, err, out)
		}
	}
}

// fixedPorts are those that Envoy Gateway and the Envoy that it starts insist on.
func fixedPorts() []string { return []string{"8081", "18000", "18002", "19000", "19001", "19003"} }

// A real Envoy Gateway reads the generated policies and runs a real Envoy: the
// gate holds.
func TestEnvoyGateway(t *testing.T) {
	binary := need(t, "envoy-gateway")
	for _, port := range fixedPorts() {
		l, err := net.Listen("tcp", ":"+port) //nolint:noctx // does not block
		if err != nil {
			t.Skipf("Envoy Gateway needs port %s, and something else has it: %v", port, err)
		}
		_ = l.Close() // it was only asked for
	}
	for name, o := range gatewayOptions() {
		if name == "listener" {
			continue // translated alike
		}
		t.Run(name, func(t *testing.T) {
			p, web, listen := startPortcullis(t), startOrigin(t), freeAddress(t)
			o.ServiceNamespace = "edge"
			objects := standaloneObjects(t, o, listen, web.Address(), p.ExtProc)
			home := startEnvoyGateway(t, binary, objects)
			gate{listen, web}.holds(t)
			files, err := filepath.Glob(filepath.Join(home, "run", "*", "admin-address.txt"))
			if err != nil || len(files) != 1 {
				t.Fatalf("Envoy's admin address is in %v, error %v", files, err)
			}
			admin, err := os.ReadFile(files[0])
			if err != nil {
				t.Fatal(err)
			}
			dump, err := run(t, nil, need(t, "curl"), "-sS", "http://"+string(admin)+"/config_dump")
			if err != nil {
				t.Fatal(err)
			}
			lint(t, "what Envoy Gateway made of it", []byte(dump), unsettable(o)...)
		})
	}
}

// standaloneObjects are the generated policies with addresses in the place of
// Services, as docs/envoy-gateway.md shows it.
func standaloneObjects(t *testing.T, o envoy.GatewayOptions, listen, web, processor string) string {
	t.Helper()
	policies, err := envoy.GatewayYAML(o)
	if err != nil {
		t.Fatal(err)
	}
	const service = "- group: \"\"\n          kind: Service\n          name: portcullis\n          port: 9100\n"
	backed := strings.Replace(string(policies), service, "- {group: gateway.envoyproxy.io, kind: Backend, name: portcullis}\n", 1)
	if backed == string(policies) {
		t.Fatal("no Service in the policy")
	}
	const parameters = ", parametersRef: {group: gateway.envoyproxy.io, kind: EnvoyProxy, name: host, namespace: edge}"
	text := fmt.Sprintf(gatewayFixture, parameters, portOf(t, listen), "{group: gateway.envoyproxy.io, kind: Backend, name: web}")
	text += fmt.Sprintf("apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyProxy\nmetadata: {name: host, namespace: edge}\n"+
		"spec: {provider: {type: Host, host: {envoyVersion: %q}}}\n---\n", rig.EnvoyVersion)
	text += fmt.Sprintf("apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: Backend\nmetadata: {name: web, namespace: edge}\n"+
		"spec: {endpoints: [{ip: {address: 127.0.0.1, port: %s}}]}\n---\n", portOf(t, web))
	return text + strings.Replace(docsBackend(t), "port: 9100", "port: "+portOf(t, processor), 1) + "---\n" + backed
}

// docsBackend is the object that the docs show.
func docsBackend(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(repository, "docs", "envoy-gateway.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "<!-- gateway-backend -->\n```yaml\n")
	block, _, found := strings.Cut(rest, "```")
	if !found || !strings.Contains(block, "port: 9100") {
		t.Fatalf("docs/envoy-gateway.md shows no Backend: %q", block)
	}
	return block
}

// startEnvoyGateway returns its folder.
func startEnvoyGateway(t *testing.T, binary, objects string) string {
	t.Helper()
	dir := t.TempDir()
	home, watched := filepath.Join(dir, "home"), filepath.Join(dir, "objects")
	versions := filepath.Join(home, "data", "envoy-versions", rig.EnvoyVersion, "bin")
	for _, d := range []string{watched, versions} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(findEnvoy(t), filepath.Join(versions, "envoy")); err != nil { // or it would look on the internet
		t.Fatal(err)
	}
	config := filepath.Join(dir, "config.yaml")
	text := fmt.Sprintf(`apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyGateway
gateway: {controllerName: gateway.envoyproxy.io/gatewayclass-controller}
provider:
  type: Custom
  custom:
    resource: {type: File, file: {paths: [%[1]q]}}
    infrastructure: {type: Host, host: {configHome: %[2]s/config, dataHome: %[2]s/data, stateHome: %[2]s/state, runtimeDir: %[2]s/run}}
extensionApis: {enableBackend: true}
`, watched, home)
	for path, content := range map[string]string{config: text, filepath.Join(watched, "all.yaml"): objects} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := run(t, nil, binary, "certgen", "--local", "--config-home", filepath.Join(home, "config")); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p := spawn(t, "envoy-gateway", nil, binary, "server", "--config-path", config)
	t.Cleanup(func() { endChildren(t, p, home) }) // before the process itself, which would leave them
	return home
}

// endChildren stops Envoy Gateway and then every Envoy of its home that it left.
func endChildren(t *testing.T, p *rig.Process, home string) {
	t.Helper()
	_ = p.Stop(10 * time.Second) // kills it otherwise
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range commands {
		line, err := os.ReadFile(path)
		if err != nil || !bytes.HasPrefix(line, []byte(home)) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			continue
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Errorf("Envoy %d: %v", pid, err)
		}
		await(t, "Envoy ends", 10*time.Second, func() error {
			if _, err := os.Stat(filepath.Dir(path)); err == nil {
				return errors.New("it still runs")
			}
			return nil
		})
	}
}
