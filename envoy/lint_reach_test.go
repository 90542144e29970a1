package envoy

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

type tree = map[string]any

const (
	processorURL = "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor"
	perRouteURL  = "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute"
)

// reshaped is generated YAML, of which change has moved parts.
func reshaped(t *testing.T, generated []byte, change func(tree)) []byte {
	t.Helper()
	var root tree
	if err := yaml.Unmarshal(generated, &root); err != nil {
		t.Fatal(err)
	}
	change(root)
	out, err := yaml.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// dig goes down by keys and indexes.
func dig(root any, steps ...any) tree {
	for _, step := range steps {
		switch step := step.(type) {
		case string:
			root = root.(tree)[step]
		case int:
			root = root.([]any)[step]
		}
	}
	return root.(tree)
}

func managerIn(root tree) tree {
	return dig(root, "static_resources", "listeners", 0, "filter_chains", 0, "filters", 0, "typed_config")
}

// openGate is the filter's configuration, made to fail open.
func openGate(root tree) tree {
	gate := dig(managerIn(root), "http_filters", 0, "typed_config")
	gate["failure_mode_allow"] = true
	return gate
}

// replaceGate puts another entry into the chain, in the place of the gate.
func replaceGate(root tree, entry tree) {
	entry["name"] = "portcullis"
	managerIn(root)["http_filters"].([]any)[0] = entry
}

func typedStruct(url string, value tree) tree {
	delete(value, "@type")
	return tree{"@type": "type.googleapis.com/xds.type.v3.TypedStruct", "type_url": url, "value": value}
}

func matched(inner tree, action tree) tree {
	return tree{"typed_config": tree{
		"@type":            "type.googleapis.com/envoy.extensions.common.matching.v3.ExtensionWithMatcher",
		"extension_config": tree{"name": "inner", "typed_config": inner},
		"xds_matcher": tree{"matcher_tree": tree{
			"input":           tree{"name": "h", "typed_config": tree{"@type": "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput", "header_name": "x-a"}},
			"exact_match_map": tree{"map": tree{"1": tree{"action": tree{"name": "a", "typed_config": action}}}},
		}},
	}}
}

// A hole is found wherever Envoy lets one stand.
func TestLintLooksEverywhere(t *testing.T) {
	host := func(root tree) tree { return dig(managerIn(root), "route_config", "virtual_hosts", 0) }
	route := func(root tree) tree { return dig(host(root), "routes", 0) }
	options := func(root tree) tree {
		return dig(root, "static_resources", "clusters", 0, "typed_extension_protocol_options", httpOptionsKey)
	}
	const hostPath, optionsPath = hcmPath + ".route_config.virtual_hosts[0]", sidePath + ".typed_extension_protocol_options"
	override := func(root tree, overrides tree) {
		route(root)["typed_per_filter_config"] = tree{"portcullis": tree{"@type": perRouteURL, "overrides": overrides}}
	}
	filter := func(root tree, i int, f tree) {
		filters := managerIn(root)["http_filters"].([]any)
		managerIn(root)["http_filters"] = append(append(append([]any{}, filters[:i]...), f), filters[i:]...)
	}
	const overridePath = routePath + `.typed_per_filter_config["portcullis"].overrides`
	for name, c := range map[string]struct {
		change func(tree)
		want   breakage
	}{
		"TypedStruct": {
			func(r tree) { replaceGate(r, tree{"typed_config": typedStruct(processorURL, openGate(r))}) },
			breakage{level: LevelError, rule: "L1", path: gatePath + ".value.failure_mode_allow"},
		},
		"a misspelt field in a TypedStruct": {func(r tree) {
			g := openGate(r)
			g["failure_mode"] = 1
			replaceGate(r, tree{"typed_config": typedStruct(processorURL, g)})
		}, breakage{level: LevelError, rule: "L25", path: gatePath + ".value.failure_mode"}},
		"TypedStruct of a route": {func(r tree) {
			route(r)["typed_per_filter_config"] = tree{"portcullis": typedStruct(perRouteURL, tree{"overrides": tree{"failure_mode_allow": true}})}
		}, breakage{level: LevelError, rule: "L1", path: strings.Replace(overridePath, ".overrides", ".value.overrides.failure_mode_allow", 1)}},
		"matcher": {func(r tree) {
			replaceGate(r, matched(openGate(r), tree{"@type": "type.googleapis.com/envoy.extensions.filters.common.matcher.action.v3.SkipFilter"}))
		}, breakage{level: LevelError, rule: "L1", path: gatePath + ".extension_config.typed_config.failure_mode_allow"}},
		"composite": {func(r tree) {
			replaceGate(r, matched(tree{"@type": "type.googleapis.com/envoy.extensions.filters.http.composite.v3.Composite"}, tree{
				"@type":        "type.googleapis.com/envoy.extensions.filters.http.composite.v3.ExecuteFilterAction",
				"typed_config": tree{"name": "gate", "typed_config": openGate(r)},
			}))
		}, breakage{level: LevelError, rule: "L1", path: gatePath + `.xds_matcher.matcher_tree.exact_match_map.map["1"].action.typed_config.typed_config.typed_config.failure_mode_allow`}},
		"what a matcher leaves out": {func(r tree) {
			replaceGate(r, matched(openGate(r), tree{"@type": "type.googleapis.com/envoy.extensions.filters.common.matcher.action.v3.SkipFilter"}))
		}, breakage{level: LevelInfo, rule: "L10", path: gatePath}},
		"the default of a discovered filter": {func(r tree) {
			replaceGate(r, tree{"config_discovery": tree{"config_source": tree{"ads": tree{}}, "type_urls": []any{processorURL}, "default_config": openGate(r)}})
		}, breakage{level: LevelError, rule: "L1", path: hcmPath + ".http_filters[0].config_discovery.default_config.failure_mode_allow"}},
		"a discovered filter": {func(r tree) {
			replaceGate(r, tree{"config_discovery": tree{"config_source": tree{"ads": tree{}}, "type_urls": []any{processorURL}}})
		}, breakage{level: LevelWarn, rule: "L6", path: hcmPath + ".http_filters[0].config_discovery"}},
		"optional filter": {
			func(r tree) { dig(managerIn(r), "http_filters", 0)["is_optional"] = true },
			breakage{level: LevelWarn, rule: "L6", path: hcmPath + ".http_filters[0].is_optional"},
		},
		"routes in a matcher": {func(r tree) {
			leaf := route(r)
			leaf["@type"], dig(leaf, "route")["timeout"] = "type.googleapis.com/envoy.config.route.v3.Route", "5s"
			delete(host(r), "routes")
			host(r)["matcher"] = tree{"on_no_match": tree{"action": tree{"name": "r", "typed_config": leaf}}}
		}, breakage{level: LevelError, rule: "L9", path: hostPath + ".matcher.on_no_match.action.typed_config.route.timeout"}},
		"scoped routes": {func(r tree) {
			dig(route(r), "route")["timeout"] = "5s"
			managerIn(r)["scoped_routes"] = tree{"scoped_route_configurations_list": tree{"scoped_route_configurations": []any{tree{"name": "a", "route_configuration": managerIn(r)["route_config"]}}}}
			delete(managerIn(r), "route_config")
		}, breakage{level: LevelError, rule: "L9", path: hcmPath + ".scoped_routes.scoped_route_configurations_list.scoped_route_configurations[0].route_configuration.virtual_hosts[0].routes[0].route.timeout"}},
		"all routes off": {func(r tree) {
			dig(managerIn(r), "route_config")["typed_per_filter_config"] = tree{"portcullis": tree{"@type": perRouteURL, "disabled": true}}
		}, breakage{level: LevelError, rule: "L6", path: hcmPath + ".http_filters"}},
		"retries of a host": {
			func(r tree) { host(r)["retry_policy"] = tree{"retry_on": "5xx"} },
			breakage{level: LevelError, rule: "L20", path: hostPath + ".retry_policy"},
		},
		"another cluster for a route": {
			func(r tree) { override(r, tree{"grpc_service": tree{"envoy_grpc": tree{"cluster_name": "nowhere"}}}) },
			breakage{level: LevelError, rule: "L26", path: overridePath + ".grpc_service.envoy_grpc.cluster_name"},
		},
		"retries to another cluster": {func(r tree) {
			override(r, tree{"grpc_service": tree{"envoy_grpc": tree{"cluster_name": "portcullis"}, "retry_policy": tree{"num_retries": 1}}})
		}, breakage{level: LevelWarn, rule: "L22", path: overridePath + ".grpc_service.retry_policy"}},
		"a buffered route and no time for it": {func(r tree) {
			delete(dig(managerIn(r), "http_filters", 0, "typed_config"), "message_timeout")
			override(r, tree{"processing_mode": tree{"request_body_mode": "BUFFERED", "response_body_mode": "BUFFERED"}})
		}, breakage{level: LevelError, rule: "L8", path: gatePath + ".message_timeout"}},
		"a buffered route and no room for it": {func(r tree) {
			delete(dig(r, "static_resources", "listeners", 0), "per_connection_buffer_limit_bytes")
			override(r, tree{"processing_mode": tree{"request_body_mode": "BUFFERED", "response_body_mode": "BUFFERED"}})
		}, breakage{level: LevelWarn, rule: "L15", path: bufferPath}},
		"a buffer before the gate": {func(r tree) {
			filter(r, 0, tree{"name": "b", "typed_config": tree{"@type": "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer", "max_request_bytes": 200 << 20}})
		}, breakage{level: LevelError, rule: "L15", path: gatePath + ".max_request_bytes"}},
		"request_timeout": {
			func(r tree) { managerIn(r)["request_timeout"] = "60s" },
			breakage{level: LevelError, rule: "L9", path: hcmPath + ".request_timeout"},
		},
		"max_stream_duration of the cluster": {
			func(r tree) { options(r)["common_http_protocol_options"] = tree{"max_stream_duration": "20s"} },
			breakage{level: LevelError, rule: "L9", path: optionsPath + `["` + httpOptionsKey + `"].common_http_protocol_options.max_stream_duration`},
		},
		"HTTP/2 by ALPN": {func(r tree) {
			options(r)["auto_config"] = tree{"http2_protocol_options": tree{"initial_stream_window_size": 65536}}
			delete(options(r), "explicit_http_config")
		}, breakage{level: LevelWarn, rule: "L27", path: optionsPath}},
		"a tunnel beside the gate": {func(r tree) {
			listener := dig(r, "static_resources", "listeners", 0)
			listener["default_filter_chain"] = tree{"filters": []any{tree{"name": "t", "typed_config": tree{"@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"}}}}
		}, breakage{level: LevelInfo, rule: "L6", path: "static_resources.listeners[0].default_filter_chain.filters[0]"}},
		"credentials by a prefix": {func(r tree) {
			dig(managerIn(r), "http_filters", 0, "typed_config")["forward_rules"] = tree{"allowed_headers": tree{"patterns": []any{tree{"exact": "host"}, tree{"prefix": "AUTH", "ignore_case": true}}}}
		}, breakage{level: LevelWarn, rule: "L17", path: gatePath + ".forward_rules.allowed_headers.patterns[1]"}},
		"credentials that no rule keeps back": {func(r tree) {
			dig(managerIn(r), "http_filters", 0, "typed_config")["forward_rules"] = tree{"disallowed_headers": tree{"patterns": []any{tree{"safe_regex": tree{"regex": "x-.*"}}}}}
		}, breakage{level: LevelInfo, rule: "L17", path: gatePath + ".forward_rules"}},
	} {
		found, err := Linter{ReceiveLimit: 64 << 20}.Lint(reshaped(t, mustYAML(t, StaticYAML, Options{}), c.change))
		if err != nil || !has(found, c.want.level, c.want.rule, c.want.path) {
			t.Errorf("%s: %v; no %s %s at %s in:\n%s", name, err, c.want.level, c.want.rule, c.want.path, lines(found))
		}
	}
}

// What is right stays without a finding, however it is written.
func TestLintAcceptsOtherWaysToWrite(t *testing.T) {
	gate := func(r tree) tree { return dig(managerIn(r), "http_filters", 0, "typed_config") }
	for name, change := range map[string]func(tree){
		"TypedStruct": func(r tree) { replaceGate(r, tree{"typed_config": typedStruct(processorURL, gate(r))}) },
		"matcher": func(r tree) {
			replaceGate(r, matched(gate(r), tree{"@type": "type.googleapis.com/envoy.extensions.filters.common.matcher.action.v3.SkipFilter"}))
		},
		"use_downstream_protocol_config": func(r tree) {
			o := dig(r, "static_resources", "clusters", 0, "typed_extension_protocol_options", httpOptionsKey)
			o["use_downstream_protocol_config"] = o["explicit_http_config"]
			delete(o, "explicit_http_config")
		},
		"true as a text": func(r tree) { gate(r)["allow_content_length_header"] = "true" },
		"credentials by other patterns": func(r tree) {
			gate(r)["forward_rules"] = tree{"disallowed_headers": tree{"patterns": []any{
				tree{"suffix": "ookie"}, tree{"contains": "roxy-auth"}, tree{"safe_regex": tree{"regex": "auth.*"}},
			}}}
		},
	} {
		onlyInfo(t, name, Linter{}, reshaped(t, mustYAML(t, StaticYAML, Options{}), change))
	}
}

// Another processor in the chain is looked at only for what it does to bodies.
func TestLintTellsProcessorsApart(t *testing.T) {
	with := func(mode tree, at int) []byte {
		return reshaped(t, mustYAML(t, StaticYAML, Options{}), func(r tree) {
			other := tree{"name": "picker", "typed_config": tree{"@type": processorURL, "grpc_service": tree{"envoy_grpc": tree{"cluster_name": "upstream"}}, "processing_mode": mode}}
			filters := managerIn(r)["http_filters"].([]any)
			managerIn(r)["http_filters"] = append(append(append([]any{}, filters[:at]...), other), filters[at:]...)
		})
	}
	headers := tree{"request_header_mode": "SEND", "response_header_mode": "SKIP"}
	onlyInfo(t, "headers only", Linter{Filter: "portcullis"}, with(headers, 0))
	found, err := Linter{Filter: "portcullis"}.Lint(with(tree{"request_body_mode": "BUFFERED"}, 1))
	if err != nil || !has(found, LevelWarn, "L14", hcmPath+".http_filters[1]") {
		t.Errorf("one that takes bodies after the gate: %v\n%s", err, lines(found))
	}
	found, err = Linter{Filter: "portculis"}.Lint(with(headers, 0))
	if err != nil || !has(found, LevelError, "L6", "http_filters") {
		t.Errorf("a name that no filter has: %v\n%s", err, lines(found))
	}
}

// Listeners, clusters, routes and filters can stand in files that Envoy watches.
func TestLintReadsResources(t *testing.T) {
	split := func(change func(manager, gate tree) []any) []byte {
		var listeners, clusters, extra []any
		reshaped(t, mustYAML(t, StaticYAML, Options{}), func(r tree) {
			extra = change(managerIn(r), dig(managerIn(r), "http_filters", 0))
			typed := func(kind string, list any) []any {
				for _, m := range list.([]any) {
					m.(tree)["@type"] = "type.googleapis.com/envoy.config." + kind
				}
				return list.([]any)
			}
			listeners = typed("listener.v3.Listener", dig(r, "static_resources")["listeners"])
			clusters = typed("cluster.v3.Cluster", dig(r, "static_resources")["clusters"])
		})
		var docs []string
		for _, list := range [][]any{listeners, clusters, extra} {
			y, err := yaml.Marshal(tree{"resources": list})
			if err != nil {
				t.Fatal(err)
			}
			docs = append(docs, string(y))
		}
		return []byte(strings.Join(docs, "---\n"))
	}
	const listener = "document[0] resources[0].filter_chains[0].filters[0].typed_config"
	onlyInfo(t, "resources", Linter{}, split(func(tree, tree) []any { return nil }))
	found, err := Lint(split(func(manager, _ tree) []any {
		routes := manager["route_config"].(tree)
		dig(routes, "virtual_hosts", 0, "routes", 0, "route")["timeout"] = "5s"
		routes["@type"], routes["name"] = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration", "shop"
		delete(manager, "route_config")
		manager["rds"] = tree{"route_config_name": "shop", "config_source": tree{"path_config_source": tree{"path": "/rds.yaml"}}}
		return []any{routes}
	}))
	if err != nil || !has(found, LevelError, "L9", "document[2] resources[0].virtual_hosts[0].routes[0].route.timeout") {
		t.Errorf("routes: %v\n%s", err, lines(found))
	}
	found, err = Lint(split(func(_, gate tree) []any {
		config := gate["typed_config"].(tree)
		config["failure_mode_allow"] = true
		delete(gate, "typed_config")
		gate["config_discovery"] = tree{"config_source": tree{"ads": tree{}}, "type_urls": []any{processorURL}}
		return []any{tree{"@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig", "name": "portcullis", "typed_config": config}}
	}))
	if err != nil || !has(found, LevelError, "L1", "document[2] resources[0].typed_config.failure_mode_allow") || strings.Contains(lines(found), listener+".http_filters[0]") {
		t.Errorf("a filter: %v\n%s", err, lines(found))
	}
}
