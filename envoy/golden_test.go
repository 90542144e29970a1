package envoy

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the files of examples/ anew")

// staticCases are the stand-alone configurations under test. Those whose name
// has a file in examples/ are shown to readers.
func staticCases() map[string]Options {
	return map[string]Options{
		"static-duplex":   {},
		"static-buffered": {Profile: Buffered},
		"static-adaptive": {Profile: Adaptive},
		"edge": {
			Listen: "0.0.0.0:80", Upstream: "app.internal:8080", Processor: "portcullis.internal:9100", StatPrefix: "edge",
			Admin: "127.0.0.1:9901", AccessLog: "/dev/stdout", MaxHeapBytes: 2 << 30,
		},
		"sidecar": {
			Listen: "0.0.0.0:8081", Upstream: "127.0.0.1:8080", Processor: "unix:/run/portcullis/extproc.sock", StatPrefix: "sidecar",
		},
		"everything": {
			Profile: Adaptive, Listen: "[::1]:8443", Upstream: "app.example.com:8080", UpstreamHTTP2: true,
			Processor: "unix:/run/portcullis/extproc.sock", Admin: "127.0.0.1:9901", MaxBodyBytes: 4 << 20,
			ScanTimeout: 1500 * time.Millisecond, UploadTimeout: time.Hour, Policy: "uploads-strict",
			MaxHeapBytes: 1 << 30, AccessLog: "/dev/stdout", StatPrefix: "edge", KeepPaths: true, AllowUnderscores: true,
		},
		"names and everything else": {
			Profile: Buffered, Listen: "0.0.0.0:0", Upstream: "app:80", Processor: "portcullis.av.svc:9100",
			Admin: "127.0.0.1:0", MaxBodyBytes: 1, AccessLog: "/var/log/envoy.json",
		},
	}
}

func istioCases() map[string]IstioOptions {
	workload := IstioOptions{Namespace: "shop", Selector: map[string]string{"app": "uploads"}}
	gateway := IstioOptions{
		Namespace: "istio-ingress", Gateway: true, Selector: map[string]string{"istio": "ingressgateway"},
		Skip: []IstioRoute{{VirtualHost: "shop.example.com:443", Route: "metrics"}},
	}
	buffered := func(o IstioOptions) IstioOptions { o.Profile = Buffered; return o }
	routes := workload
	routes.Only = []IstioRoute{{VirtualHost: "inbound|http|8080", Route: "default"}}
	return map[string]IstioOptions{
		"istio-workload-duplex":   workload,
		"istio-workload-buffered": buffered(workload),
		"istio-gateway-duplex":    gateway,
		"istio-gateway-buffered":  buffered(gateway),
		"istio-workload-routes":   routes,
		"everything": {
			Profile: Adaptive, Name: "av", Namespace: "edge", Gateway: true, TargetGateway: "public",
			Service: "gate", ServiceNamespace: "security", Port: 9443, ClusterDomain: "corp.internal",
			MaxBodyBytes: 8 << 20, ScanTimeout: time.Minute, UploadTimeout: time.Hour, Policy: "strict",
		},
	}
}

func gatewayCases() map[string]GatewayOptions {
	gateway := GatewayOptions{Namespace: "edge", Gateway: "public"}
	buffered := gateway
	buffered.Profile = Buffered
	route := gateway
	route.Route = "uploads"
	return map[string]GatewayOptions{
		"gateway-duplex":   gateway,
		"gateway-buffered": buffered,
		"gateway-route":    route,
		"gateway-everything": {
			Profile: Buffered, Name: "av", Namespace: "edge", Gateway: "public.v2", Listener: "https",
			Service: "gate", ServiceNamespace: "edge", Port: 9443,
			MaxBodyBytes: 8 << 20, ScanTimeout: 1500 * time.Millisecond, UploadTimeout: 24 * time.Hour,
		},
		"gateway-grpc": {Namespace: "edge", Gateway: "public", Route: "chat", RouteKind: "GRPCRoute"},
	}
}

func forwardCases() map[string]ForwardProxyOptions {
	return map[string]ForwardProxyOptions{
		"forward-proxy":         {},
		"forward-proxy-tunnels": {Tunnels: []string{"updates.example.com:443", "*.example.org:443"}},
		"forward-everything": {
			Profile: Adaptive, Listen: "[::1]:3128", Name: "edge", AllowLocal: true, Tunnels: []string{"[::1]:443"},
			Processor: "unix:/run/portcullis/extproc.sock", Admin: "127.0.0.1:9901", MaxBodyBytes: 4 << 20,
			ScanTimeout: 1500 * time.Millisecond, UploadTimeout: time.Hour, Policy: "egress-strict",
			MaxHeapBytes: 1 << 30, AccessLog: "/dev/stdout",
		},
		"forward-buffered": {Profile: Buffered, Listen: "0.0.0.0:0"},
	}
}

func TestGoldenFiles(t *testing.T) {
	shown := map[string][]byte{}
	for name, o := range staticCases() {
		shown[name] = mustYAML(t, StaticYAML, o)
	}
	for name, o := range istioCases() {
		if name == "everything" {
			name = "istio-everything"
		}
		shown[name] = mustYAML(t, IstioYAML, o)
	}
	for name, o := range gatewayCases() {
		shown[name] = mustYAML(t, GatewayYAML, o)
	}
	for name, o := range forwardCases() {
		shown[name] = mustYAML(t, ForwardProxyYAML, o)
	}
	want := []string{
		"edge",
		"forward-proxy", "forward-proxy-tunnels",
		"gateway-buffered", "gateway-duplex", "gateway-route",
		"istio-gateway-buffered", "istio-gateway-duplex", "istio-workload-buffered", "istio-workload-duplex", "istio-workload-routes",
		"sidecar", "static-adaptive", "static-buffered", "static-duplex",
	}
	for _, name := range want {
		file := filepath.Join("examples", name+".yaml")
		if *update {
			if err := os.WriteFile(file, shown[name], 0o644); err != nil {
				t.Fatal(err)
			}
		}
		golden, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(golden), string(shown[name])); d != "" {
			t.Errorf("%s is not what is generated now (go test ./envoy -update writes it anew):\n%s", file, d)
		}
	}
	files, err := filepath.Glob("examples/*")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, f[len("examples/"):len(f)-len(".yaml")])
	}
	if d := cmp.Diff(want, slices.Sorted(slices.Values(names))); d != "" {
		t.Errorf("examples/ holds other files than the tests write:\n%s", d)
	}
}

// Equal options must give equal bytes: protojson varies its blanks and Go its
// maps on purpose.
func TestOutputIsStable(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(istioCases())) {
		first := mustYAML(t, IstioYAML, istioCases()[name])
		for range 5 {
			if d := cmp.Diff(string(first), string(mustYAML(t, IstioYAML, istioCases()[name]))); d != "" {
				t.Fatalf("%s varies:\n%s", name, d)
			}
		}
	}
}

func mustYAML[O any](t *testing.T, generate func(O) ([]byte, error), o O) []byte {
	t.Helper()
	y, err := generate(o)
	if err != nil {
		t.Fatal(err)
	}
	return y
}
