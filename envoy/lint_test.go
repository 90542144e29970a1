package envoy

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What this package writes must pass its own rules.
func TestGeneratedConfigurationHasNoFindings(t *testing.T) {
	for name, o := range staticCases() {
		g := o.gate()
		l := Linter{ScanTimeout: g.scan, UploadTimeout: g.upload, Exchanges: maxExchanges, EnvoyVersion: "1.40.0"}
		if o.Profile == Buffered {
			l.MaxBodyBytes, l.ReceiveLimit = g.maxBody, g.maxBody+2<<20
		}
		onlyInfo(t, name, l, mustYAML(t, StaticYAML, o))
	}
	for name, o := range forwardCases() {
		if len(o.Tunnels) > 0 {
			continue // a tunnel is a hole, and said to be one: TestLintNamesTunnels
		}
		g := o.options().gate()
		onlyInfo(t, name, Linter{ScanTimeout: g.scan, UploadTimeout: g.upload, Exchanges: maxExchanges, EnvoyVersion: "1.40.0"}, mustYAML(t, ForwardProxyYAML, o))
	}
	for name, o := range gatewayCases() {
		g := o.gate()
		onlyInfo(t, name, Linter{ScanTimeout: g.scan, UploadTimeout: g.upload, Exchanges: maxExchanges}, mustYAML(t, GatewayYAML, o))
	}
	for name, o := range istioCases() {
		g := o.gate()
		onlyInfo(t, name, Linter{ScanTimeout: g.scan, UploadTimeout: g.upload, MaxBodyBytes: g.maxBody}, mustYAML(t, IstioYAML, o))
	}
}

func onlyInfo(t *testing.T, name string, l Linter, config []byte) {
	t.Helper()
	found, err := l.Lint(config)
	if err != nil {
		t.Errorf("%s: %v", name, err)
	}
	for _, f := range found {
		if f.Level != LevelInfo {
			t.Errorf("%s: %v", name, f)
		}
	}
}

const (
	hcmPath    = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config"
	gatePath   = hcmPath + ".http_filters[0].typed_config"
	routePath  = hcmPath + ".route_config.virtual_hosts[0].routes[0]"
	sidePath   = "static_resources.clusters[0]"
	bufferPath = "static_resources.listeners[0].per_connection_buffer_limit_bytes"
)

// breakage changes one generated configuration and says what must be found.
type breakage struct {
	profile  Profile
	old, new string
	level    Level
	rule     string
	path     string
}

func gateBreakages() []breakage {
	const (
		failure = "failure_mode_allow: false"
		length  = "allow_content_length_header: true"
	)
	return []breakage{
		{Duplex, failure, "failure_mode_allow: true", LevelError, "L1", gatePath + ".failure_mode_allow"},
		{Duplex, failure, "failureModeAllow: true", LevelError, "L1", gatePath + ".failure_mode_allow"},
		{Duplex, failure, "disable_immediate_response: true", LevelError, "L2", gatePath + ".disable_immediate_response"},
		{Duplex, failure, "observability_mode: true", LevelError, "L3", gatePath + ".observability_mode"},
		{Buffered, "request_body_mode: BUFFERED", "request_body_mode: BUFFERED_PARTIAL", LevelError, "L4", gatePath + ".processing_mode.request_body_mode"},
		{Duplex, failure, "allow_mode_override: true", LevelWarn, "L5", gatePath + ".allow_mode_override"},
		{Duplex, "request_body_mode: FULL_DUPLEX_STREAMED", "request_body_mode: NONE", LevelError, "L6", gatePath + ".processing_mode.request_body_mode"},
		{Duplex, "response_body_mode: FULL_DUPLEX_STREAMED", "response_body_mode: GRPC", LevelError, "L6", gatePath + ".processing_mode.response_body_mode"},
		{Duplex, "response_body_mode: FULL_DUPLEX_STREAMED", "response_body_mode: STREAMED", LevelError, "L6", gatePath + ".processing_mode.response_body_mode"},
		{Adaptive, "allow_mode_override: true", "allow_mode_override: false", LevelError, "L6", gatePath + ".processing_mode.request_body_mode"},
		{Adaptive, "request_body_mode: NONE", "request_body_mode: FULL_DUPLEX_STREAMED", LevelError, "L6", gatePath + ".processing_mode.response_body_mode"},
		{Duplex, "response_trailer_mode: SEND", "response_trailer_mode: SKIP", LevelError, "L7", gatePath + ".processing_mode.response_trailer_mode"},
		{Buffered, "message_timeout: 35s", "message_timeout: 30s", LevelError, "L8", gatePath + ".message_timeout"},
		{Buffered, "message_timeout: 35s", "stat_prefix: gate", LevelError, "L8", gatePath + ".message_timeout"},
		{Buffered, "max_message_timeout: 335s", "max_message_timeout: 0s", LevelWarn, "L8", gatePath + ".max_message_timeout"},
		{Duplex, length, "mutation_rules: {allow_all_routing: true}", LevelWarn, "L16", gatePath + ".mutation_rules.allow_all_routing"},
		{Duplex, length, "mutation_rules: {allow_envoy: true}", LevelWarn, "L16", gatePath + ".mutation_rules.allow_envoy"},
		{Duplex, length, "mutation_rules: {disallow_all: true}", LevelWarn, "L16", gatePath + ".mutation_rules.disallow_all"},
		{Duplex, length, "request_attributes: [request.path, request.headers]", LevelWarn, "L17", gatePath + ".request_attributes[1]"},
		{Duplex, "disallowed_headers:", "allowed_headers:", LevelWarn, "L17", gatePath + ".forward_rules.allowed_headers.patterns[0]"},
		{Duplex, "request_header_mode: SEND", "request_header_mode: SKIP", LevelError, "L19", gatePath + ".processing_mode.request_header_mode"},
		{Duplex, "envoy_grpc:\n", "retry_policy: {num_retries: 2}\n                        envoy_grpc:\n", LevelWarn, "L22", gatePath + ".grpc_service.retry_policy"},
		{Duplex, "envoy_grpc:\n                          cluster_name: portcullis", "google_grpc: {target_uri: gate, stat_prefix: gate}", LevelError, "L21", gatePath + ".grpc_service.google_grpc"},
		{Duplex, failure, "failure_mode_allowed: false", LevelError, "L25", gatePath + ".failure_mode_allowed"},
		{Duplex, "message_timeout: 35s", "message_timeout: soon", LevelError, "L25", gatePath + ".message_timeout"},
		{Duplex, "cluster_name: portcullis\n", "cluster_name: portculis\n", LevelError, "L26", gatePath + ".grpc_service.envoy_grpc.cluster_name"},
	}
}

func surroundingBreakages() []breakage {
	perRoute := func(setting string) string {
		return "typed_per_filter_config: {portcullis: {'@type': type.googleapis.com/" + setting + "}}\n                          route:"
	}
	const (
		route   = "route:"
		timeout = "timeout: 0s"
		gate    = "- name: portcullis\n                    typed_config:"
		server  = "server_header_transformation: PASS_THROUGH"
		every   = "extensions.filters.http.ext_proc.v3.ExtProcPerRoute"
	)
	filter := func(kind string) string {
		return "- {name: " + kind + ", typed_config: {'@type': type.googleapis.com/envoy.extensions.filters.http." + kind + ".v3.Anything}}\n                  "
	}
	router := "- name: " + routerName
	second := "- {name: again, typed_config: {'@type': type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor, " +
		"grpc_service: {envoy_grpc: {cluster_name: portcullis}}, processing_mode: {request_body_mode: BUFFERED, response_body_mode: BUFFERED}}}\n                  "
	return []breakage{
		{Duplex, "stream_idle_timeout: 345s", "stream_idle_timeout: 300s", LevelError, "L9", hcmPath + ".stream_idle_timeout"},
		{Duplex, "stream_idle_timeout: 345s", "", LevelError, "L9", hcmPath + ".stream_idle_timeout"},
		{Duplex, "max_stream_duration: 1340s", "", LevelWarn, "L9", hcmPath + ".common_http_protocol_options.max_stream_duration"},
		{Duplex, "max_stream_duration: 1340s", "max_stream_duration: 600s", LevelError, "L9", hcmPath + ".common_http_protocol_options.max_stream_duration"},
		{Buffered, timeout, "", LevelError, "L9", routePath + ".route.timeout"},
		{Duplex, timeout, timeout + "\n                            idle_timeout: 60s", LevelError, "L9", routePath + ".route.idle_timeout"},
		{Duplex, route, perRoute("envoy." + every + ", disabled: true"), LevelInfo, "L10", routePath + `.typed_per_filter_config["portcullis"]`},
		{Duplex, route, perRoute("envoy.config.route.v3.FilterConfig, disabled: true"), LevelInfo, "L10", routePath + `.typed_per_filter_config["portcullis"]`},
		{Duplex, route, perRoute("envoy." + every + ", overrides: {failure_mode_allow: true}"), LevelError, "L1", routePath + `.typed_per_filter_config["portcullis"].overrides.failure_mode_allow`},
		{Duplex, route, perRoute("envoy." + every + ", overrides: {processing_mode: {request_body_mode: FULL_DUPLEX_STREAMED, response_body_mode: BUFFERED}}"), LevelError, "L7", routePath + `.typed_per_filter_config["portcullis"].overrides.processing_mode.request_trailer_mode`},
		{Duplex, route, strings.Replace(perRoute("envoy."+every+", disabled: true"), "{portcullis:", "{gate:", 1), LevelError, "L29", routePath + `.typed_per_filter_config["gate"]`},
		{Duplex, server, "upgrade_configs: [{upgrade_type: websocket}]", LevelWarn, "L11", hcmPath + ".upgrade_configs[0]"},
		{Duplex, timeout, timeout + "\n                            upgrade_configs: [{upgrade_type: CONNECT}]", LevelWarn, "L11", routePath + ".route.upgrade_configs[0]"},
		{Duplex, "prefix: /", "connect_matcher: {}", LevelWarn, "L11", routePath + ".match.connect_matcher"},
		{Duplex, router, filter("ext_authz") + router, LevelWarn, "L14", hcmPath + ".http_filters[1]"},
		{Duplex, router, filter("lua") + router, LevelWarn, "L14", hcmPath + ".http_filters[1]"},
		{Duplex, gate, filter("cache") + gate, LevelWarn, "L14", hcmPath + ".http_filters[0]"},
		{Duplex, router, strings.ReplaceAll(strings.Replace(second, "portcullis", "other", 1), "BUFFERED", "FULL_DUPLEX_STREAMED") + router, LevelError, "L14", hcmPath + ".http_filters[1]"},
		{Duplex, router, second + router, LevelError, "L28", hcmPath + ".http_filters[1]"},
		{Duplex, timeout, timeout + "\n                            retry_policy: {retry_on: 5xx}", LevelError, "L20", routePath + ".route.retry_policy"},
		{Duplex, server, "proxy_100_continue: true", LevelWarn, "L24", hcmPath + ".proxy_100_continue"},
		{Duplex, "max_requests: 8192", "max_requests: 100", LevelError, "L13", sidePath + ".circuit_breakers.thresholds[0].max_requests"},
		{Duplex, "max_requests: 8192", "", LevelError, "L13", sidePath + ".circuit_breakers"},
		{Buffered, "per_connection_buffer_limit_bytes: 33554432", "per_connection_buffer_limit_bytes: 32768", LevelError, "L15", bufferPath},
		{Buffered, "per_connection_buffer_limit_bytes: 33554432", "per_connection_buffer_limit_bytes: 67108864", LevelError, "L15", bufferPath},
		{Duplex, "initial_stream_window_size: 262144", "", LevelWarn, "L23", sidePath + ".typed_extension_protocol_options"},
		{Duplex, "http2_protocol_options:\n              #", "http_protocol_options: {}\n            x:\n              #", LevelError, "L27", sidePath + ".typed_extension_protocol_options"},
	}
}

func TestLintFinds(t *testing.T) {
	l := Linter{MaxBodyBytes: 32 << 20, ReceiveLimit: 40 << 20}
	tested := map[string]bool{"L12": true, "L18": true, "L30": true, "L31": true} // in tests of their own
	for _, b := range append(gateBreakages(), surroundingBreakages()...) {
		good := string(mustYAML(t, StaticYAML, Options{Profile: b.profile}))
		bad := strings.Replace(good, b.old, b.new, 1)
		if bad == good {
			t.Fatalf("%s: %q is not in the configuration", b.rule, b.old)
		}
		found, err := l.Lint([]byte(bad))
		if err != nil {
			t.Errorf("%s %q: %v", b.rule, b.new, err)
			continue
		}
		if !has(found, b.level, b.rule, b.path) {
			t.Errorf("%q: no %s %s at %s in:\n%s", b.new, b.level, b.rule, b.path, lines(found))
		}
		tested[b.rule] = true
	}
	for i := range 31 {
		if rule := "L" + strconv.Itoa(i+1); !tested[rule] {
			t.Errorf("nothing breaks %s", rule)
		}
	}
}

func TestLintSaysWhatContentLengthCosts(t *testing.T) {
	found, err := Lint(mustYAML(t, StaticYAML, Options{}))
	if err != nil || !has(found, LevelInfo, "L12", gatePath+".allow_content_length_header") {
		t.Errorf("%v, %s", err, lines(found))
	}
}

// CONNECT that is refused is no tunnel; CONNECT that is not, is one.
func TestLintNamesTunnels(t *testing.T) {
	found, err := Lint(mustYAML(t, ForwardProxyYAML, forwardCases()["forward-proxy-tunnels"]))
	if err != nil {
		t.Fatal(err)
	}
	const at = hcmPath + ".route_config.virtual_hosts[1].routes[0]."
	var others []Finding
	for _, f := range found {
		if f.Level != LevelInfo && f.Rule != "L11" {
			others = append(others, f)
		}
	}
	if !has(found, LevelWarn, "L11", at+"match.connect_matcher") || len(others) > 0 {
		t.Errorf("want the tunnel alone:\n%s", lines(found))
	}
}

func TestLintVersions(t *testing.T) {
	for release, want := range map[string]Level{
		"1.34.9": LevelError, "1.35.12": LevelError, "1.36.8": LevelError, "1.37.4": LevelError, "1.38.2": LevelError,
		"1.35.13": LevelWarn, "1.36.9": LevelWarn, "1.37.5": LevelWarn, "v1.38.3": LevelWarn, "1.40": LevelWarn, "2.0.0": LevelWarn, "latest": LevelWarn,
		"1.39.0": "", "1.40.0": "", "": "",
	} {
		found, err := Linter{EnvoyVersion: release}.Lint(mustYAML(t, StaticYAML, Options{}))
		if err != nil {
			t.Fatal(err)
		}
		var got Level
		for _, f := range found {
			if f.Rule == "L18" {
				got = f.Level
			}
		}
		if got != want {
			t.Errorf("%q: %q, want %q", release, got, want)
		}
	}
}

// In an EnvoyFilter nobody else would notice.
func TestLintReadsEnvoyFilters(t *testing.T) {
	good := string(mustYAML(t, IstioYAML, istioCases()["istio-gateway-buffered"]))
	for _, b := range []breakage{
		{old: "failure_mode_allow: false", new: "failure_mode_allow: true", level: LevelError, rule: "L1", path: "spec.configPatches[0].patch.value.typed_config.failure_mode_allow"},
		{old: "status_on_error:", new: "status_on_errror:", level: LevelError, rule: "L25", path: "spec.configPatches[0].patch.value.typed_config.status_on_errror"},
		{old: "stream_idle_timeout: 345s", new: "stream_idle_timeout: 60s", level: LevelError, rule: "L9", path: "spec.configPatches[1].patch.value.typed_config.stream_idle_timeout"},
		{old: "33554432", new: "32768", level: LevelError, rule: "L15", path: "spec.configPatches[2].patch.value.per_connection_buffer_limit_bytes"},
		{old: "initial_stream_window_size: 262144", level: LevelWarn, rule: "L23", path: "spec.configPatches[3].patch.value.typed_extension_protocol_options"},
		{old: "disabled: true", new: "disabled: true", level: LevelInfo, rule: "L10", path: `spec.configPatches[4].patch.value.typed_per_filter_config["portcullis"]`},
	} {
		if !strings.Contains(good, b.old) {
			t.Fatalf("%q is not in the object", b.old)
		}
		bad := "apiVersion: v1\nkind: Service\n---\n" + strings.Replace(good, b.old, b.new, 1)
		found, err := Linter{MaxBodyBytes: 32 << 20}.Lint([]byte(bad))
		if err != nil || !has(found, b.level, b.rule, b.path) {
			t.Errorf("%q: %v; no %s %s at %s in:\n%s", b.new, err, b.level, b.rule, b.path, lines(found))
		}
	}
}

func TestLintNeedsSomethingToRead(t *testing.T) {
	for _, config := range []string{"", "a: [", "- 1", "kind: Service", "{}"} {
		if found, err := Lint([]byte(config)); err == nil {
			t.Errorf("%q: no error, findings %v", config, found)
		}
	}
	found, err := Lint([]byte("static_resources: {listeners: []}"))
	if err != nil || !has(found, LevelError, "L6", "http_filters") {
		t.Errorf("a configuration without a gate: %v, %v", err, found)
	}
}

// Other processors in the chain are none of our business.
func TestLintOfOneFilter(t *testing.T) {
	config := strings.Replace(string(mustYAML(t, StaticYAML, Options{})), "failure_mode_allow: false", "failure_mode_allow: true", 1)
	found, err := Linter{Filter: "another"}.Lint([]byte(config))
	if err != nil || has(found, LevelError, "L1", gatePath+".failure_mode_allow") {
		t.Errorf("%v, %s", err, lines(found))
	}
}

func TestLintKnowsTheDeadlines(t *testing.T) {
	config := mustYAML(t, StaticYAML, Options{})
	found, err := Linter{UploadTimeout: time.Hour}.Lint(config)
	if err != nil || !has(found, LevelError, "L9", hcmPath+".stream_idle_timeout") {
		t.Errorf("%v, %s", err, lines(found))
	}
}

func TestFindingsComeWorstFirst(t *testing.T) {
	config := string(mustYAML(t, StaticYAML, Options{}))
	config = strings.Replace(config, "failure_mode_allow: false", "failure_mode_allow: true", 1)
	config = strings.Replace(config, "initial_stream_window_size: 262144", "", 1)
	found, err := Lint([]byte(config))
	if err != nil {
		t.Fatal(err)
	}
	var levels []Level
	for _, f := range found {
		levels = append(levels, f.Level)
		if f.Why == "" || f.Fix == "" || f.Path == "" {
			t.Errorf("unfinished: %+v", f)
		}
	}
	if d := cmp.Diff([]Level{LevelError, LevelWarn, LevelInfo}, levels); d != "" {
		t.Errorf("%s\n%s", d, lines(found))
	}
}

// Whatever is in the file: findings or an error, never a crash.
func FuzzLint(f *testing.F) {
	for _, p := range Profiles() {
		y, err := StaticYAML(Options{Profile: p})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(y)
	}
	y, err := IstioYAML(IstioOptions{Namespace: "a", Selector: map[string]string{"a": "b"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(y)
	for _, o := range gatewayCases() {
		y, err := GatewayYAML(o)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(y)
	}
	for _, text := range []string{
		`{"configs": [{"@type": "x.ListenersConfigDump", "dynamic_listeners": [{"active_state": {"listener": {"@type": "type.googleapis.com/envoy.config.listener.v3.Listener"}}}]}]}`,
		`{"xds": {"a": {"configs": [{"@type": "x.RoutesConfigDump", "dynamicRouteConfigs": [{"routeConfig": {"name": "a"}}]}, 1]}}}`,
		`{"configs": [{"bootstrap": {"node": {"user_agent_build_version": {"version": {"minor_number": 40}}}}}]}`,
		"kind: EnvoyExtensionPolicy\nspec: {extProc: [1, {backendRefs: {}, processingMode: []}], targetRef: []}\n---\nkind: ClientTrafficPolicy\n---\nkind: HTTPRoute\nspec: {rules: [{timeouts: 1}]}",
		"kind: EnvoyFilter\nspec: {configPatches: [{applyTo: HTTP_FILTER, patch: {value: {}}}]}",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, config []byte) {
		found, err := Lint(config)
		if err != nil && found != nil {
			t.Error("findings beside an error")
		}
	})
}

func has(found []Finding, level Level, rule, path string) bool {
	for _, f := range found {
		if f.Level == level && f.Rule == rule && f.Path == path {
			return true
		}
	}
	return false
}

func lines(found []Finding) string {
	var b strings.Builder
	for _, f := range found {
		b.WriteString(f.String() + "\n")
	}
	return b.String()
}
