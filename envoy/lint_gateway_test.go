package envoy

import (
	"encoding/json"
	"strings"
	"testing"
)

const (
	extension = "EnvoyExtensionPolicy edge/portcullis spec."
	entry     = extension + "extProc[0]."
	client    = "ClientTrafficPolicy edge/portcullis spec."
	backend   = "BackendTrafficPolicy edge/portcullis spec."
)

func gatewayBreakages() []breakage {
	const (
		fail    = "failOpen: false"
		body    = "body: FullDuplexStreamed"
		request = "request:\n          body: FullDuplexStreamed"
	)
	response := "\n        response:\n          " + body
	mode := "processingMode:\n        " + request + response
	return []breakage{
		{Duplex, fail, "failOpen: true", LevelError, "L1", entry + "failOpen"},
		{Duplex, fail, "shadowMode: true", LevelError, "L3", entry + "shadowMode"},
		{Duplex, request, "request:\n          body: BufferedPartial", LevelError, "L4", entry + "processingMode.request.body"},
		{Duplex, request, "allowModeOverride: true\n        " + request, LevelWarn, "L5", entry + "processingMode.allowModeOverride"},
		{Duplex, response, "", LevelError, "L6", entry + "processingMode.response"},
		{Duplex, "        " + request, "", LevelError, "L6", entry + "processingMode.request"},
		{Duplex, mode, "processingMode: {}", LevelError, "L6", entry + "processingMode.request"},
		{Duplex, mode, "processingMode: {allowModeOverride: true, request: {}, response: {}}", LevelError, "L6", entry + "processingMode.response.body"},
		{Duplex, response, "\n        response: {}", LevelError, "L6", entry + "processingMode.response.body"},
		{Duplex, response, "\n        response: {body: Streamed}", LevelError, "L6", entry + "processingMode.response.body"},
		{Duplex, response, "\n        response: {body: Streaming}", LevelError, "L25", entry + "processingMode.response.body"},
		{Duplex, request, request + "\n          attributes: [request.path, request.headers]", LevelWarn, "L17", entry + "processingMode.request.attributes[1]"},
		{Buffered, "messageTimeout: 35s", "messageTimeout: 30s", LevelError, "L8", entry + "messageTimeout"},
		{Buffered, "messageTimeout: 35s", "", LevelError, "L8", entry + "messageTimeout"},
		{Duplex, "maxParallelRequests: 8192", "maxParallelRequests: 100", LevelError, "L13", entry + "backendSettings.circuitBreaker.maxParallelRequests"},
		{Duplex, "maxParallelRequests: 8192", "", LevelError, "L13", entry + "backendSettings.circuitBreaker.maxParallelRequests"},
		{Duplex, "loadBalancer:", "retry: {numRetries: 2}\n        loadBalancer:", LevelWarn, "L22", entry + "backendSettings.retry"},
		{Duplex, fail, "failOpn: false", LevelError, "L25", entry + "failOpn"},
		{Duplex, "extProc:", "extproc: []\n  extProc:", LevelError, "L25", extension + "extproc"},
		{Duplex, "kind: ReferenceGrant", "kind: Grant", LevelWarn, "L26", entry + "backendRefs[0].namespace"},
		{Duplex, "          port: 9100\n", "          port: 9100\n        - {kind: Service, name: portcullis, namespace: portcullis, port: 9100}\n", LevelError, "L28", entry + "backendRefs[1]"},
		{Duplex, "streamIdleTimeout: 5m45s", "streamIdleTimeout: 5m", LevelError, "L9", client + "timeout.http.streamIdleTimeout"},
		{Duplex, "streamIdleTimeout: 5m45s", "idleTimeout: 1h", LevelError, "L9", client + "timeout.http.streamIdleTimeout"},
		{Duplex, "streamIdleTimeout: 5m45s", "streamIdleTimeout: 5m45s\n      requestReceivedTimeout: 1m", LevelError, "L9", client + "timeout.http.requestReceivedTimeout"},
		{Duplex, "maxStreamDuration: 22m20s", "maxStreamDuration: 10m", LevelError, "L9", client + "connection.connectionLimit.maxStreamDuration"},
		{Duplex, "maxStreamDuration: 22m20s", "value: 10", LevelWarn, "L9", client + "connection.connectionLimit.maxStreamDuration"},
		{Buffered, "bufferLimit: 33554432", "bufferLimit: 32Ki", LevelError, "L15", client + "connection.bufferLimit"},
		{Buffered, "bufferLimit: 33554432", "bufferLimit: 64M", LevelError, "L15", client + "connection.bufferLimit"},
		{Buffered, "bufferLimit: 33554432", "maxAcceptPerSocketEvent: 1", LevelError, "L15", client + "connection.bufferLimit"},
		{Duplex, "http1:", "http11:", LevelError, "L25", client + "http11"},
		{Duplex, "kind: ClientTrafficPolicy", "kind: Other", LevelWarn, "L9", "(ClientTrafficPolicy)"},
		{Buffered, "kind: ClientTrafficPolicy", "kind: Other", LevelWarn, "L15", "(ClientTrafficPolicy)"},
		{Duplex, "kind: BackendTrafficPolicy", "kind: Other", LevelWarn, "L9", "(BackendTrafficPolicy)"},
		{Duplex, "requestTimeout: 0s", "requestTimeout: 1m", LevelError, "L9", backend + "timeout.http.requestTimeout"},
		{Duplex, "requestTimeout: 0s", "streamIdleTimeout: 1m", LevelError, "L9", backend + "timeout.http.streamIdleTimeout"},
		{Duplex, "requestTimeout: 0s", "connectionIdleTimeout: 1m", LevelError, "L9", backend + "timeout.http.requestTimeout"},
		{Duplex, "httpUpgrade:\n    - type: none", "httpUpgrade: []", LevelWarn, "L11", backend + "httpUpgrade"},
		{Duplex, "type: none", "type: CONNECT", LevelWarn, "L11", backend + "httpUpgrade[0]"},
		{Duplex, "httpUpgrade:", "retry: {numRetries: 1}\n  httpUpgrade:", LevelError, "L20", backend + "retry"},
	}
}

func TestLintFindsInGatewayPolicies(t *testing.T) {
	l := Linter{MaxBodyBytes: 32 << 20, ReceiveLimit: 40 << 20}
	for _, b := range gatewayBreakages() {
		o := gatewayCases()["gateway-duplex"]
		o.Profile = b.profile
		good := string(mustYAML(t, GatewayYAML, o))
		bad := strings.Replace(good, b.old, b.new, 1)
		if bad == good {
			t.Fatalf("%s: %q is not in the configuration", b.rule, b.old)
		}
		found, err := l.Lint([]byte(bad))
		if err != nil || !has(found, b.level, b.rule, b.path) {
			t.Errorf("%q: %v; no %s %s at %s in:\n%s", b.new, err, b.level, b.rule, b.path, lines(found))
		}
	}
}

// What stands beside the generated policies may undo them.
func TestLintFindsBesideGatewayPolicies(t *testing.T) {
	good := string(mustYAML(t, GatewayYAML, gatewayCases()["gateway-duplex"]))
	const policy = "---\napiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyExtensionPolicy\nmetadata: {name: own, namespace: edge}\nspec:\n"
	for name, c := range map[string]struct {
		extra string
		want  breakage
	}{
		"a route's own policy without the gate": {
			policy + "  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: shop}]\n  lua: [{type: Inline, inline: x}]\n",
			breakage{level: LevelError, rule: "L30", path: "EnvoyExtensionPolicy edge/own spec.mergeType"},
		},
		"a policy for routes by their labels": {
			policy + "  targetSelectors: [{group: gateway.networking.k8s.io, kind: HTTPRoute, matchLabels: {a: b}}]\n  lua: []\n",
			breakage{level: LevelError, rule: "L30", path: "EnvoyExtensionPolicy edge/own spec.mergeType"},
		},
		"a policy for one listener": {
			policy + "  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: public, sectionName: https}]\n  lua: []\n",
			breakage{level: LevelError, rule: "L30", path: "EnvoyExtensionPolicy edge/own spec.mergeType"},
		},
		"patches of what the policies become": {
			"---\nkind: EnvoyPatchPolicy\nmetadata: {name: own, namespace: edge}\nspec: {type: JSONPatch, jsonPatches: [{operation: {op: add, path: /x, value: 1}}]}\n",
			breakage{level: LevelWarn, rule: "L25", path: "EnvoyPatchPolicy edge/own spec.jsonPatches"},
		},
		"a processor without a service": {
			policy + "  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: shop}]\n  extProc: [{failOpen: \"true\"}]\n",
			breakage{level: LevelError, rule: "L6", path: "EnvoyExtensionPolicy edge/own spec.extProc[0].backendRefs"},
		},
		"a text for a switch": {
			policy + "  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: shop}]\n  extProc: [{failOpen: \"true\"}]\n",
			breakage{level: LevelError, rule: "L25", path: "EnvoyExtensionPolicy edge/own spec.extProc[0].failOpen"},
		},
		"a second policy for the Gateway": {
			policy + "  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: public}]\n  lua: []\n",
			breakage{level: LevelWarn, rule: "L28", path: "EnvoyExtensionPolicy edge/own spec.targetRefs"},
		},
		"a route with a time limit": {
			"---\nkind: HTTPRoute\nmetadata: {name: shop, namespace: edge}\nspec: {rules: [{timeouts: {request: 10s}}]}\n",
			breakage{level: LevelError, rule: "L9", path: "HTTPRoute edge/shop spec.rules[0].timeouts.request"},
		},
		"a route with retries": {
			"---\nkind: GRPCRoute\nmetadata: {name: shop, namespace: edge}\nspec: {rules: [{}, {retry: {attempts: 2}}]}\n",
			breakage{level: LevelError, rule: "L20", path: "GRPCRoute edge/shop spec.rules[1].retry"},
		},
	} {
		found, err := Lint([]byte(good + c.extra))
		if err != nil || !has(found, c.want.level, c.want.rule, c.want.path) {
			t.Errorf("%s: %v; no %s at %s in:\n%s", name, err, c.want.rule, c.want.path, lines(found))
		}
	}
	merged := good + policy + "  targetRefs: [{kind: HTTPRoute, name: shop}]\n  mergeType: StrategicMerge\n  lua: []\n"
	if found, err := Lint([]byte(merged)); err != nil || has(found, LevelError, "L30", "EnvoyExtensionPolicy edge/own spec.mergeType") {
		t.Errorf("a policy that merges is fine: %v\n%s", err, lines(found))
	}
}

// kubectl prints several objects as one list, with much that is no concern here.
func TestLintReadsLists(t *testing.T) {
	text := "apiVersion: v1\nkind: List\nitems:\n- 7\n"
	for _, doc := range documents(t, mustYAML(t, GatewayYAML, gatewayCases()["gateway-duplex"])) {
		var tree map[string]any
		if err := doc.Decode(&tree); err != nil {
			t.Fatal(err)
		}
		tree["status"] = map[string]any{"ancestors": []any{}}
		j, err := json.Marshal(tree)
		if err != nil {
			t.Fatal(err)
		}
		text += "- " + string(j) + "\n"
	}
	onlyInfo(t, "list", Linter{}, []byte(text))
	bad := strings.Replace(text, `"failOpen":false`, `"failOpen":true`, 1)
	if found, err := Lint([]byte(bad)); err != nil || !has(found, LevelError, "L1", entry+"failOpen") {
		t.Errorf("%v\n%s", err, lines(found))
	}
}

func TestQuantities(t *testing.T) {
	for text, want := range map[any]int64{
		1024: 1024, "512": 512, "20Mi": 20 << 20, "1Gi": 1 << 30, "256Ki": 256 << 10, "3k": 3000, "2M": 2e6, "1G": 1e9, "": 0, "x": 0, "xMi": 0,
	} {
		if got := quantity(text); got != want {
			t.Errorf("%v is read as %d, want %d", text, got, want)
		}
	}
}
