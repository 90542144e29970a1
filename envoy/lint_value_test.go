package envoy

import (
	"strings"
	"testing"
)

// Envoy and kubectl take yes and on for true; then so must we.
func TestLintReadsTruthAsEnvoyDoes(t *testing.T) {
	for _, word := range []string{"yes", "Yes", "YES", "on", "On", "y", "true"} {
		config := strings.Replace(string(mustYAML(t, StaticYAML, Options{})), "failure_mode_allow: false", "failure_mode_allow: "+word, 1)
		found, err := Lint([]byte(config))
		if err != nil || !has(found, LevelError, "L1", gatePath+".failure_mode_allow") {
			t.Errorf("%s: %v\n%s", word, err, lines(found))
		}
		policy := strings.Replace(string(mustYAML(t, GatewayYAML, gatewayCases()["gateway-duplex"])), "failOpen: false", "failOpen: "+word, 1)
		found, err = Lint([]byte(policy))
		if err != nil || !strings.Contains(lines(found), "error L1 ") {
			t.Errorf("failOpen: %s: %v\n%s", word, err, lines(found))
		}
	}
	for _, word := range []string{"no", "OFF", "n"} {
		config := strings.Replace(string(mustYAML(t, StaticYAML, Options{})), "failure_mode_allow: false", "failure_mode_allow: "+word, 1)
		onlyInfo(t, word, Linter{}, []byte(config))
	}
	found, err := Lint([]byte(strings.Replace(string(mustYAML(t, StaticYAML, Options{})), "failure_mode_allow: false", `failure_mode_allow: "yes"`, 1)))
	if err != nil || !has(found, LevelError, "L25", gatePath+".failure_mode_allow") {
		t.Errorf("a quoted yes: %v\n%s", err, lines(found))
	}
}

// One bad value has its own place, and hides nothing else.
func TestLintGoesOnAfterABadValue(t *testing.T) {
	for _, c := range []struct{ old, new, path string }{
		{"connect_timeout: 1s", "connect_timeout: soon", sidePath + ".connect_timeout"},
		{"lb_policy: LEAST_REQUEST", "lb_policy: LEAST_REQUESTS", sidePath + ".lb_policy"},
		{"port_value: 9100", "port_value: none", sidePath + ".load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.port_value"},
		{"initial_stream_window_size: 262144", "initial_stream_window_size: [1]", sidePath + `.typed_extension_protocol_options["` + httpOptionsKey + `"].explicit_http_config.http2_protocol_options.initial_stream_window_size`},
		{"response_body_mode: FULL_DUPLEX_STREAMED", "response_body_mode: FULL_DUPLEX", gatePath + ".processing_mode.response_body_mode"},
	} {
		config := strings.Replace(string(mustYAML(t, StaticYAML, Options{})), c.old, c.new, 1)
		config = strings.Replace(config, "failure_mode_allow: false", "failure_mode_allow: true", 1)
		found, err := Lint([]byte(config))
		if err != nil || !has(found, LevelError, "L25", c.path) || !has(found, LevelError, "L1", gatePath+".failure_mode_allow") {
			t.Errorf("%s: %v\n%s", c.new, err, lines(found))
		}
	}
}

// Each says what is wrong in words that are not those of our decoders.
func TestLintSaysWhatItCannotRead(t *testing.T) {
	for config, want := range map[string]string{
		`[{"name": "x"}]`:                                  "it is a list",
		"kind: EnvoyFilter\nspec: 3":                       "spec cannot be a number",
		"kind: EnvoyFilter\nspec: {configPatches: {a: b}}": "spec.configPatches cannot be a object",
		`{"configs": [{"@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump.DynamicListener"}]}`: "without listeners",
		"static_resources: {}\nstatic_resources: {}":                                                         "already defined",
		"a: &a [x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c]\ne: &e [*d, *d, *d, *d, *d, *d, *d, *d]\nf: &f [*e, *e, *e, *e, *e, *e, *e, *e]\ng: [*f, *f, *f, *f, *f, *f, *f, *f]\nstatic_resources: {}": "aliasing",
	} {
		if found, err := Lint([]byte(config)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, %s", config, err, lines(found))
		}
	}
	found, err := Lint([]byte("static_resources: {listeners: [{1: 2, name: x}]}"))
	if err != nil || !has(found, LevelError, "L25", "static_resources.listeners[0].1") {
		t.Errorf("a key that is a number: %v\n%s", err, lines(found))
	}
}
