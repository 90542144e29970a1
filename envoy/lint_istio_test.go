package envoy

import "testing"

// What can be wrong around the gate in an EnvoyFilter, which nobody else checks.
func TestLintKnowsWhatIstioDoesWithPatches(t *testing.T) {
	patch := func(r tree, i int) tree { return dig(r, "spec", "configPatches", i) }
	add := func(r, p tree) {
		spec := dig(r, "spec")
		spec["configPatches"] = append(spec["configPatches"].([]any), p)
	}
	inbound := func() tree { return tree{"context": "SIDECAR_INBOUND"} }
	merge := func(value tree) tree { return tree{"operation": "MERGE", "value": value} }
	perRoute := func(setting tree) tree {
		setting["@type"] = perRouteURL
		return tree{"portcullis": setting}
	}
	const fifth = "spec.configPatches[4]"
	for name, c := range map[string]struct {
		change func(tree)
		want   breakage
	}{
		"MERGE into the gate": {func(r tree) {
			add(r, tree{"applyTo": "HTTP_FILTER", "match": patch(r, 0)["match"], "patch": merge(tree{"name": "portcullis", "typed_config": tree{"@type": processorURL, "failure_mode_allow": true}})})
		}, breakage{level: LevelError, rule: "L1", path: fifth + ".patch.value.typed_config.failure_mode_allow"}},
		"REMOVE of the gate": {func(r tree) {
			add(r, tree{"applyTo": "HTTP_FILTER", "patch": tree{"operation": "REMOVE"}, "match": tree{"listener": tree{"filterChain": tree{"filter": tree{"subFilter": tree{"name": "portcullis"}}}}}})
		}, breakage{level: LevelError, rule: "L6", path: fifth + ".patch.operation"}},
		"after the router": {
			func(r tree) { dig(patch(r, 0), "patch")["operation"] = "INSERT_AFTER" },
			breakage{level: LevelError, rule: "L14", path: "spec.configPatches[0].patch.operation"},
		},
		"at the end": {
			func(r tree) { dig(patch(r, 0), "patch")["operation"] = "ADD" },
			breakage{level: LevelError, rule: "L14", path: "spec.configPatches[0].patch.operation"},
		},
		"first of all": {
			func(r tree) { dig(patch(r, 0), "patch")["operation"] = "INSERT_FIRST" },
			breakage{level: LevelWarn, rule: "L14", path: "spec.configPatches[0].patch.operation"},
		},
		"retries of a host": {func(r tree) {
			add(r, tree{"applyTo": "VIRTUAL_HOST", "match": inbound(), "patch": merge(tree{"retry_policy": tree{"retry_on": "5xx"}})})
		}, breakage{level: LevelError, rule: "L20", path: fifth + ".patch.value.retry_policy"}},
		"all routes": {func(r tree) {
			add(r, tree{"applyTo": "ROUTE_CONFIGURATION", "match": inbound(), "patch": merge(tree{"typed_per_filter_config": perRoute(tree{"disabled": true})})})
		}, breakage{level: LevelInfo, rule: "L10", path: fifth + `.patch.value.typed_per_filter_config["portcullis"]`}},
		"a discovered filter": {func(r tree) {
			config := dig(patch(r, 0), "patch", "value", "typed_config")
			config["failure_mode_allow"] = true
			dig(patch(r, 0), "patch")["value"] = tree{"name": "portcullis", "config_discovery": tree{"config_source": tree{"ads": tree{}}, "type_urls": []any{processorURL}}}
			add(r, tree{"applyTo": "EXTENSION_CONFIG", "patch": tree{"operation": "ADD", "value": tree{"name": "portcullis", "typed_config": config}}})
		}, breakage{level: LevelError, rule: "L1", path: fifth + ".patch.value.typed_config.failure_mode_allow"}},
		"a selector that selects everything": {
			func(r tree) { dig(r, "spec")["workloadSelector"] = tree{"labels": tree{}} },
			breakage{level: LevelWarn, rule: "L31", path: "spec.workloadSelector"},
		},
		"twice, once for every direction": {func(r tree) {
			add(r, tree{"applyTo": "HTTP_FILTER", "match": tree{"context": "ANY", "listener": dig(patch(r, 0), "match")["listener"]}, "patch": patch(r, 0)["patch"]})
		}, breakage{level: LevelError, rule: "L28", path: fifth + ".patch.value"}},
		"a misspelt field of the object": {
			func(r tree) { dig(r, "spec")["configPatchez"] = []any{} },
			breakage{level: LevelError, rule: "L25", path: "spec.configPatchez"},
		},
		"a misspelt operation": {
			func(r tree) { dig(patch(r, 1), "patch")["operation"] = "merge" },
			breakage{level: LevelError, rule: "L25", path: "spec.configPatches[1].patch.operation"},
		},
		"a misspelt kind of patch": {
			func(r tree) { patch(r, 1)["applyTo"] = "NETWORKFILTER" },
			breakage{level: LevelError, rule: "L25", path: "spec.configPatches[1].applyTo"},
		},
		"no timers": {
			func(r tree) { dig(r, "spec")["configPatches"] = []any{patch(r, 0)} },
			breakage{level: LevelWarn, rule: "L9", path: "(NETWORK_FILTER)"},
		},
		"HTTP/1.1 to the gate": {func(r tree) {
			dig(patch(r, 3), "patch", "value", "typed_extension_protocol_options", httpOptionsKey)["explicit_http_config"] = tree{"http_protocol_options": tree{}}
		}, breakage{level: LevelError, rule: "L27", path: "spec.configPatches[3].patch.value.typed_extension_protocol_options"}},
	} {
		found, err := Lint(reshaped(t, mustYAML(t, IstioYAML, istioCases()["istio-workload-duplex"]), c.change))
		if err != nil || !has(found, c.want.level, c.want.rule, c.want.path) {
			t.Errorf("%s: %v; no %s %s at %s in:\n%s", name, err, c.want.level, c.want.rule, c.want.path, lines(found))
		}
	}
}

// A patch that changes one thing is judged for that alone.
func TestLintOfASmallMerge(t *testing.T) {
	onlyInfo(t, "a small merge", Linter{}, reshaped(t, mustYAML(t, IstioYAML, istioCases()["istio-workload-duplex"]), func(r tree) {
		spec := dig(r, "spec")
		for _, p := range []tree{
			{"applyTo": "HTTP_FILTER", "patch": tree{"operation": "MERGE", "value": tree{"name": "portcullis", "typed_config": tree{"@type": processorURL, "stat_prefix": "gate"}}}},
			{"applyTo": "HTTP_ROUTE", "patch": tree{"operation": "MERGE", "value": tree{"route": tree{"prefix_rewrite": "/"}}}},
		} {
			spec["configPatches"] = append(spec["configPatches"].([]any), p)
		}
	}))
}
