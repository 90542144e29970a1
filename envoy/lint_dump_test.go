package envoy

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
)

// dumped is a bootstrap as /config_dump would print the running Envoy: the routes
// come by RDS, every message is packed. Change may alter the parts before.
func dumped(t *testing.T, o Options, change func(*listenerv3.Listener, *hcmv3.HttpConnectionManager, *routev3.RouteConfiguration)) string {
	t.Helper()
	b, err := Static(o)
	if err != nil {
		t.Fatal(err)
	}
	listener, manager := b.GetStaticResources().GetListeners()[0], connectionManagerOf(t, b)
	routes := manager.GetRouteConfig()
	routes.Name = "shop"
	manager.RouteSpecifier = &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{RouteConfigName: "shop"}}
	change(listener, manager, routes)
	listener.GetFilterChains()[0].GetFilters()[0].ConfigType = &listenerv3.Filter_TypedConfig{TypedConfig: pack(t, manager)}
	const admin = "type.googleapis.com/envoy.admin.v3."
	return fmt.Sprintf(`{"configs": [
		{"@type": "%[1]sBootstrapConfigDump", "bootstrap": {"node": {"user_agent_build_version": {"version": {"major_number": 1, "minor_number": 37, "patch": 2}}}}},
		{"@type": "%[1]sClustersConfigDump", "static_clusters": [{"cluster": %[2]s}], "dynamic_active_clusters": [{"cluster": %[3]s}]},
		{"@type": "%[1]sListenersConfigDump", "dynamic_listeners": [{"name": "x", "active_state": {"listener": %[4]s}}]},
		{"@type": "%[1]sRoutesConfigDump", "dynamic_route_configs": [{"route_config": %[5]s}]}
	]}`, admin, packedJSON(t, b.GetStaticResources().GetClusters()[1]), packedJSON(t, b.GetStaticResources().GetClusters()[0]),
		packedJSON(t, listener), packedJSON(t, routes))
}

func packedJSON(t *testing.T, m proto.Message) string {
	t.Helper()
	j, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(pack(t, m))
	if err != nil {
		t.Fatal(err)
	}
	return string(j)
}

const (
	dumpHCM   = "configs[2].dynamic_listeners[0].active_state.listener.filter_chains[0].filters[0].typed_config"
	dumpRoute = "configs[3].dynamic_route_configs[0].route_config.virtual_hosts[0].routes[0]"
)

func TestLintReadsDumps(t *testing.T) {
	keep := func(*listenerv3.Listener, *hcmv3.HttpConnectionManager, *routev3.RouteConfiguration) {}
	good := dumped(t, Options{}, keep)
	found, err := Lint([]byte(good))
	if err != nil || !has(found, LevelError, "L18", "(version)") {
		t.Errorf("%v; the release in the dump is not seen:\n%s", err, lines(found))
	}
	onlyInfo(t, "dump", Linter{EnvoyVersion: "1.40.0"}, []byte(good))
	onlyInfo(t, "egctl", Linter{EnvoyVersion: "1.40.0"}, []byte(`{"xds": {"edge/public": `+good+`}}`))
	pods := `{"envoy-gateway-system": {"envoy-edge-1": ` + good + `, "envoy-edge-2": ` + strings.ReplaceAll(compact(t, good), `"stream_idle_timeout":"345s"`, `"stream_idle_timeout":"60s"`) + `}}`
	onlyInfo(t, "egctl config", Linter{EnvoyVersion: "1.40.0"}, []byte(`{"envoy-gateway-system": {"envoy-edge-1": `+good+`}}`))
	found, err = Lint([]byte(pods))
	if err != nil || !has(found, LevelError, "L9", `envoy-gateway-system["envoy-edge-2"].`+dumpHCM+".stream_idle_timeout") {
		t.Errorf("the second pod: %v\n%s", err, lines(found))
	}
	newer := strings.Replace(good, `"stat_prefix"`, `"of_a_newer_release": 1, "stat_prefix"`, 1)
	if newer == good {
		t.Fatal("nothing to add a field to")
	}
	onlyInfo(t, "a newer release's field", Linter{EnvoyVersion: "1.40.0"}, []byte(newer))

	for _, b := range []breakage{
		{old: `"stream_idle_timeout":"345s"`, new: `"stream_idle_timeout":"60s"`, level: LevelError, rule: "L9", path: dumpHCM + ".stream_idle_timeout"},
		{old: `"timeout":"0s"`, new: `"timeout":"15s"`, level: LevelError, rule: "L9", path: dumpRoute + ".route.timeout"},
		{old: `"cluster_name":"portcullis"`, new: `"cluster_name":"gate"`, level: LevelError, rule: "L26", path: dumpHCM + ".http_filters[0].typed_config.grpc_service.envoy_grpc.cluster_name"},
		{old: `"max_requests":8192`, new: `"max_requests":1`, level: LevelError, rule: "L13", path: "configs[1].dynamic_active_clusters[0].cluster.circuit_breakers.thresholds[0].max_requests"},
	} {
		plain := compact(t, good)
		at := strings.LastIndex(plain, b.old)
		if at < 0 {
			t.Fatalf("%s is not in the dump", b.old)
		}
		bad := plain[:at] + b.new + plain[at+len(b.old):]
		if b.rule == "L26" { // the load assignment has the name too
			bad = strings.Replace(plain, `"envoy_grpc":{`+b.old, `"envoy_grpc":{`+b.new, 1)
		}
		if b.rule == "L13" {
			bad = strings.ReplaceAll(plain, b.old, b.new)
		}
		found, err := Lint([]byte(bad))
		if err != nil || !has(found, b.level, b.rule, b.path) {
			t.Errorf("%s: %v; no %s at %s in:\n%s", b.new, err, b.rule, b.path, lines(found))
		}
	}
}

// compact removes the blanks that protojson varies.
func compact(t *testing.T, text string) string {
	t.Helper()
	var tree any
	if err := json.Unmarshal([]byte(text), &tree); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// Envoy Gateway puts the filter into the chain switched off, and routes switch
// it on by a FilterConfig.
func TestLintReadsFiltersThatRoutesSwitchOn(t *testing.T) {
	on := func(t *testing.T) *anypb.Any {
		return pack(t, &routev3.FilterConfig{Config: &anypb.Any{}})
	}
	for name, c := range map[string]struct {
		settings func(*testing.T, *routev3.RouteConfiguration)
		want     *breakage
	}{
		"on": {func(t *testing.T, r *routev3.RouteConfiguration) {
			r.GetVirtualHosts()[0].GetRoutes()[0].TypedPerFilterConfig = map[string]*anypb.Any{filterName: on(t)}
		}, nil},
		"on for the host": {func(t *testing.T, r *routev3.RouteConfiguration) {
			r.GetVirtualHosts()[0].TypedPerFilterConfig = map[string]*anypb.Any{filterName: on(t)}
		}, nil},
		"nowhere on": {func(*testing.T, *routev3.RouteConfiguration) {}, &breakage{level: LevelError, rule: "L6", path: dumpHCM + ".http_filters"}},
		"off on one route": {func(t *testing.T, r *routev3.RouteConfiguration) {
			host := r.GetVirtualHosts()[0]
			other := proto.CloneOf(host.GetRoutes()[0])
			host.GetRoutes()[0].TypedPerFilterConfig = map[string]*anypb.Any{filterName: on(t)}
			host.Routes = append(host.Routes, other)
		}, &breakage{level: LevelWarn, rule: "L10", path: strings.Replace(dumpRoute, "routes[0]", "routes[1]", 1)}},
		"a time limit on the route": {func(t *testing.T, r *routev3.RouteConfiguration) {
			route := r.GetVirtualHosts()[0].GetRoutes()[0]
			route.TypedPerFilterConfig = map[string]*anypb.Any{filterName: on(t)}
			route.GetRoute().Timeout = nil
		}, &breakage{level: LevelError, rule: "L9", path: dumpRoute + ".route.timeout"}},
	} {
		text := dumped(t, Options{}, func(_ *listenerv3.Listener, m *hcmv3.HttpConnectionManager, r *routev3.RouteConfiguration) {
			m.GetHttpFilters()[0].Disabled = true
			c.settings(t, r)
		})
		found, err := Linter{EnvoyVersion: "1.40.0"}.Lint([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if c.want == nil {
			onlyInfo(t, name, Linter{EnvoyVersion: "1.40.0"}, []byte(text))
		} else if !has(found, c.want.level, c.want.rule, c.want.path) {
			t.Errorf("%s: no %s at %s in:\n%s", name, c.want.rule, c.want.path, lines(found))
		}
	}
}

// Two policies of an Envoy Gateway are two filters; one route must not have both.
func TestLintFindsTwoGatesOnARoute(t *testing.T) {
	text := dumped(t, Options{}, func(_ *listenerv3.Listener, m *hcmv3.HttpConnectionManager, r *routev3.RouteConfiguration) {
		second := proto.CloneOf(m.GetHttpFilters()[0])
		second.Name = "second"
		m.HttpFilters = append([]*hcmv3.HttpFilter{second}, m.GetHttpFilters()...)
		settings := map[string]*anypb.Any{}
		for _, f := range m.GetHttpFilters()[:2] {
			f.Disabled = true
			settings[f.GetName()] = pack(t, &routev3.FilterConfig{Config: &anypb.Any{}})
		}
		r.GetVirtualHosts()[0].GetRoutes()[0].TypedPerFilterConfig = settings
	})
	found, err := Lint([]byte(text))
	if err != nil || !has(found, LevelError, "L14", dumpRoute+".typed_per_filter_config") {
		t.Errorf("%v\n%s", err, lines(found))
	}
}

func TestLintFindsEnvoyFiltersForEveryone(t *testing.T) {
	good := string(mustYAML(t, IstioYAML, istioCases()["istio-workload-duplex"]))
	start := strings.Index(good, "  # Only these pods.")
	end := strings.Index(good, "  # After the EnvoyFilters")
	everyone := good[:start] + good[end:]
	for namespace, want := range map[string]Level{"shop": LevelWarn, "istio-system": LevelError, "portcullis": LevelError} {
		text := strings.Replace(everyone, "namespace: shop", "namespace: "+namespace, 1)
		found, err := Lint([]byte(text))
		if err != nil || !has(found, want, "L31", "spec.workloadSelector") {
			t.Errorf("%s: %v\n%s", namespace, err, lines(found))
		}
	}
	twice := good + "---\n" + strings.Replace(good, "name: portcullis\n", "name: again\n", 1)
	found, err := Lint([]byte(twice))
	if err != nil || !has(found, LevelError, "L28", "EnvoyFilter shop/again spec.configPatches[0].patch.value") {
		t.Errorf("two EnvoyFilters: %v\n%s", err, lines(found))
	}
}
