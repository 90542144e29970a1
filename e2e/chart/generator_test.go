package chart_test

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/portcullis-av/portcullis/envoy"
)

// values are those of a set that Envoy's configuration depends on, read apart
// from the templates and with the defaults written down once more.
type values struct {
	Profile string
	MaxBody string `yaml:"bufferedMaxBodyBytes"`
	Service struct{ Port int }
	Config  struct {
		Policies []struct {
			Scan   time.Duration `yaml:"scan_timeout"`
			Upload time.Duration `yaml:"upload_timeout"`
		}
	}
	Istio struct {
		ClusterDomain string `yaml:"clusterDomain"`
		Workloads     []struct {
			Name, Namespace, Policy string
			Gateway                 bool
			Selector                map[string]string
			TargetGateway           string `yaml:"targetGateway"`
			Skip, Only              []struct {
				VirtualHost string `yaml:"virtualHost"`
				Route       string
			}
		}
	}
	EnvoyGateway struct {
		Targets []struct {
			Name, Namespace, Gateway, Listener, Route string
			RouteKind                                 string `yaml:"routeKind"`
		}
	} `yaml:"envoyGateway"`
	Standalone struct {
		Mode, Upstream, Policy string
		HTTP2                  bool   `yaml:"upstreamHTTP2"`
		AccessLog              *bool  `yaml:"accessLog"`
		MaxHeap                string `yaml:"maxHeapBytes"`
		Port                   int
		Tunnels                []string
		AllowLocal             bool `yaml:"allowLocal"`
	}
}

func valuesOf(t *testing.T, set string) values {
	t.Helper()
	text, err := os.ReadFile(valuesFile(set))
	if err != nil {
		t.Fatal(err)
	}
	var v values
	if err := yaml.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func (v values) timeouts() (scan, upload time.Duration) {
	for _, p := range v.Config.Policies {
		if p.Scan == 0 {
			p.Scan = 30 * time.Second
		}
		if p.Upload == 0 {
			p.Upload = 5 * time.Minute
		}
		scan, upload = max(scan, p.Scan), max(upload, p.Upload)
	}
	return scan, upload
}

// sizeOf reads the few sizes that the sets of values have.
func sizeOf(t *testing.T, s string) int64 {
	t.Helper()
	var n int64
	var unit string
	if s == "" {
		return 0
	}
	if _, err := fmt.Sscanf(s, "%d%s", &n, &unit); err != nil && unit != "" {
		t.Fatal(err)
	}
	factor, ok := map[string]int64{"": 1, "Mi": 1 << 20, "Gi": 1 << 30}[unit]
	if !ok {
		t.Fatalf("what is %q?", s)
	}
	return n * factor
}

// same reports an object of the chart that is not one of the generator's, save
// for labels.
func same(t *testing.T, set string, generated []byte, all []object) {
	t.Helper()
	for _, want := range objects(t, string(generated)) {
		i := slices.IndexFunc(all, func(o object) bool {
			return o.kind() == want.kind() && o.name() == want.name() && text(o, "metadata", "namespace") == text(want, "metadata", "namespace")
		})
		if i < 0 {
			t.Errorf("%s: the chart has no %s %s", set, want.kind(), want.name())
			continue
		}
		got := all[i]
		delete(got["metadata"].(map[string]any), "labels")
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s %s is not what the generator prints (-generator +chart):\n%s", set, want.kind(), want.name(), d)
		}
	}
}

// The chart's EnvoyFilters are those of "portcullis envoy-config istio".
func TestIstioIsTheGenerators(t *testing.T) {
	t.Parallel()
	compared := 0
	for _, set := range valueSets(t) {
		v := valuesOf(t, set)
		scan, upload := v.timeouts()
		all := rendered(t, set)
		for _, w := range v.Istio.Workloads {
			o := envoy.IstioOptions{
				Profile: envoy.Profile(v.Profile), Name: fullname(set) + "-" + w.Name, Namespace: w.Namespace, Gateway: w.Gateway,
				Selector: w.Selector, TargetGateway: w.TargetGateway, ServiceNamespace: namespace, Port: v.Service.Port,
				ClusterDomain: v.Istio.ClusterDomain, MaxBodyBytes: sizeOf(t, v.MaxBody), ScanTimeout: scan, UploadTimeout: upload, Policy: w.Policy,
			}
			for _, s := range w.Skip {
				o.Skip = append(o.Skip, envoy.IstioRoute{VirtualHost: s.VirtualHost, Route: s.Route})
			}
			for _, s := range w.Only {
				o.Only = append(o.Only, envoy.IstioRoute{VirtualHost: s.VirtualHost, Route: s.Route})
			}
			want, err := envoy.IstioYAML(o)
			if err != nil {
				t.Fatal(err)
			}
			same(t, set, want, all)
			compared++
		}
		if n := len(ofKind(all, "EnvoyFilter")); n != len(v.Istio.Workloads) {
			t.Errorf("%s: %d EnvoyFilters for %d workloads", set, n, len(v.Istio.Workloads))
		}
	}
	if compared < 5 {
		t.Errorf("only %d EnvoyFilters were compared", compared)
	}
}

// The chart's policies for Envoy Gateway are those of "portcullis envoy-config
// gateway", save that a Gateway gets one ClientTrafficPolicy: it would obey only
// the oldest.
func TestEnvoyGatewayIsTheGenerators(t *testing.T) {
	t.Parallel()
	compared := 0
	for _, set := range valueSets(t) {
		v := valuesOf(t, set)
		scan, upload := v.timeouts()
		all := rendered(t, set)
		clients := map[string]bool{}
		for _, g := range v.EnvoyGateway.Targets {
			if g.Namespace == "" {
				g.Namespace = namespace
			}
			o := envoy.GatewayOptions{
				Profile: envoy.Profile(v.Profile), Name: fullname(set) + "-" + g.Name, Namespace: g.Namespace, Gateway: g.Gateway, Listener: g.Listener,
				Route: g.Route, RouteKind: g.RouteKind, ServiceNamespace: namespace, Port: v.Service.Port,
				MaxBodyBytes: sizeOf(t, v.MaxBody), ScanTimeout: scan, UploadTimeout: upload,
			}
			want, err := envoy.GatewayYAML(o)
			if err != nil {
				t.Fatal(err)
			}
			wanted := objects(t, string(want))
			listener := g.Namespace + "/" + g.Gateway + "/" + g.Listener
			if clients[listener] {
				wanted = slices.DeleteFunc(wanted, func(o object) bool { return o.kind() == "ClientTrafficPolicy" })
			}
			clients[listener] = true
			text, err := marshalAll(wanted)
			if err != nil {
				t.Fatal(err)
			}
			same(t, set, text, all)
			compared++
		}
		if n := len(ofKind(all, "ClientTrafficPolicy")); n != len(clients) {
			t.Errorf("%s: %d ClientTrafficPolicies for %d listeners", set, n, len(clients))
		}
	}
	if compared < 5 {
		t.Errorf("only %d targets were compared", compared)
	}
}

func marshalAll(all []object) ([]byte, error) {
	var text []byte
	for _, o := range all {
		one, err := yaml.Marshal(o)
		if err != nil {
			return nil, err
		}
		text = append(append(text, "---\n"...), one...)
	}
	return text, nil
}

// The standalone Envoy is that of "portcullis envoy-config static" or
// "forward-proxy".
func TestStandaloneIsTheGenerators(t *testing.T) {
	t.Parallel()
	modes := map[string]int{}
	for set, got := range bootstraps(t) {
		v := valuesOf(t, set)
		modes[v.Standalone.Mode]++
		want, err := v.standalone(t)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(objects(t, string(want)), objects(t, got)); d != "" {
			t.Errorf("%s is not what the generator prints (-generator +chart):\n%s", set, d)
		}
	}
	if modes[""] < 2 || modes["forward"] < 2 {
		t.Errorf("too few configurations were compared: %v", modes)
	}
}

func (v values) standalone(t *testing.T) ([]byte, error) {
	t.Helper()
	s := v.Standalone
	scan, upload := v.timeouts()
	listen, heap, log := "0.0.0.0:10000", int64(512<<20), "/dev/stdout"
	if s.Port != 0 {
		listen = fmt.Sprintf("0.0.0.0:%d", s.Port)
	}
	if s.MaxHeap != "" {
		heap = sizeOf(t, s.MaxHeap)
	}
	if s.AccessLog != nil && !*s.AccessLog {
		log = ""
	}
	if s.Mode == "forward" {
		return envoy.ForwardProxyYAML(envoy.ForwardProxyOptions{
			Profile: envoy.Profile(v.Profile), Listen: listen, Tunnels: s.Tunnels, AllowLocal: s.AllowLocal,
			MaxBodyBytes: sizeOf(t, v.MaxBody), ScanTimeout: scan, UploadTimeout: upload, Policy: s.Policy, MaxHeapBytes: heap, AccessLog: log,
		})
	}
	return envoy.StaticYAML(envoy.Options{
		Profile: envoy.Profile(v.Profile), Listen: listen, Upstream: s.Upstream, UpstreamHTTP2: s.HTTP2,
		MaxBodyBytes: sizeOf(t, v.MaxBody), ScanTimeout: scan, UploadTimeout: upload, Policy: s.Policy, MaxHeapBytes: heap, AccessLog: log,
	})
}
