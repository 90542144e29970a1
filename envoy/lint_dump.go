package envoy

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"
)

// dumpsIn finds config dumps: a plain one, or those that egctl prints by Gateway
// (x translate) or by namespace and pod (config envoy-proxy).
func dumpsIn(prefix string, tree any, path string, depth int) []at[[]any] {
	m, _ := tree.(map[string]any)
	if configs, ok := m["configs"].([]any); ok {
		return []at[[]any]{{prefix + dot(path, "configs"), configs}}
	}
	if depth == 0 {
		return nil
	}
	var all []at[[]any]
	for _, key := range slices.Sorted(maps.Keys(m)) {
		inside := key
		if path != "" {
			inside = fmt.Sprintf("%s[%q]", path, key)
		}
		all = append(all, dumpsIn(prefix, m[key], inside, depth-1)...)
	}
	return all
}

// readDump reads what /config_dump of an Envoy's admin interface says, or what
// egctl prints. An Envoy runs with it, so unknown fields are those of a newer
// release.
func (l *lint) readDump(tree map[string]any) error {
	l.running = true
	defer func() { l.running = false }()
	for _, d := range dumpsIn(l.prefix, tree, "", 2) {
		if !slices.ContainsFunc(d.m, func(c any) bool { return strings.HasSuffix(fmt.Sprint(at1(c, "@type")), ".ListenersConfigDump") }) {
			return errors.New("the config dump is without listeners: give all of /config_dump, not a ?resource= or ?mask= of it")
		}
		l.readConfigs(d.path, d.m)
	}
	return nil
}

// eachResource calls f for the resources of a type in a file that Envoy watches
// (DiscoveryResponse).
func (l *lint) eachResource(tree map[string]any, m proto.Message, f func(path string)) {
	for i, r := range listOf(tree["resources"]) {
		resource, _ := r.(map[string]any)
		if d := messageType(fmt.Sprint(resource["@type"])); d == nil || d.FullName() != m.ProtoReflect().Descriptor().FullName() {
			continue
		}
		resource = maps.Clone(resource)
		delete(resource, "@type")
		path := fmt.Sprintf("%sresources[%d]", l.prefix, i)
		proto.Reset(m)
		if l.decode(path, resource, m) {
			f(path)
		}
	}
}

// readNamed reads what others name, wherever it stands: routes and filters that
// are discovered.
func (l *lint) readNamed(tree map[string]any) error {
	switch kindOf(tree) {
	case aResources:
		routes, filter := &routev3.RouteConfiguration{}, &corev3.TypedExtensionConfig{}
		l.eachResource(tree, routes, func(path string) {
			l.byName[routes.GetName()] = newAt(path, proto.CloneOf(routes))
		})
		l.eachResource(tree, filter, func(path string) {
			l.discovered[filter.GetName()] = newAt(path+".typed_config", filter.GetTypedConfig())
		})
	case "EnvoyFilter":
		object, err := envoyFilterOf(tree)
		if err != nil {
			return err
		}
		for i, p := range object.Spec.ConfigPatches {
			filter, path := &corev3.TypedExtensionConfig{}, fmt.Sprintf("%sspec.configPatches[%d].patch.value", l.prefix, i)
			if p.ApplyTo == "EXTENSION_CONFIG" && p.Patch.Value != nil && l.decode(path, p.Patch.Value, filter) {
				l.discovered[filter.GetName()] = newAt(path+".typed_config", filter.GetTypedConfig())
			}
		}
	}
	return nil
}

func (l *lint) readResources(tree map[string]any) {
	cluster, listener := &clusterv3.Cluster{}, &listenerv3.Listener{}
	l.eachResource(tree, cluster, func(path string) { l.clusters = append(l.clusters, newAt(path, proto.CloneOf(cluster))) })
	l.eachResource(tree, listener, func(path string) { l.readListener(path, proto.CloneOf(listener)) })
}

// readConfigs takes routes first: listeners name them.
func (l *lint) readConfigs(path string, configs []any) {
	l.byName = map[string]at[*routev3.RouteConfiguration]{}
	l.eachIn(path, configs, "RoutesConfigDump", "dynamic_route_configs", []string{"route_config"}, func(path string, tree map[string]any) {
		if c := (&routev3.RouteConfiguration{}); l.decode(path, tree, c) {
			l.byName[c.GetName()] = at[*routev3.RouteConfiguration]{path, c}
		}
	})
	l.eachIn(path, configs, "EcdsConfigDump", "ecds_filters", []string{"ecds_filter"}, func(path string, tree map[string]any) {
		if f := (&corev3.TypedExtensionConfig{}); l.decode(path, tree, f) {
			l.discovered[f.GetName()] = newAt(path+".typed_config", f.GetTypedConfig())
		}
	})
	for list, step := range map[string][]string{"static_clusters": {"cluster"}, "dynamic_active_clusters": {"cluster"}} {
		l.eachIn(path, configs, "ClustersConfigDump", list, step, func(path string, tree map[string]any) {
			if c := (&clusterv3.Cluster{}); l.decode(path, tree, c) {
				l.clusters, l.allClusters = append(l.clusters, at[*clusterv3.Cluster]{path, c}), true
			}
		})
	}
	for _, list := range []struct {
		name string
		step []string
	}{{"static_listeners", []string{"listener"}}, {"dynamic_listeners", []string{"active_state", "listener"}}} {
		l.eachIn(path, configs, "ListenersConfigDump", list.name, list.step, func(path string, tree map[string]any) {
			if n := (&listenerv3.Listener{}); l.decode(path, tree, n) {
				l.readListener(path, n)
			}
		})
	}
	for _, c := range configs {
		l.readVersion(c)
	}
}

// eachIn calls f for the messages at step in a list of a part of the dump.
func (l *lint) eachIn(path string, configs []any, part, list string, step []string, f func(path string, tree map[string]any)) {
	for i, c := range configs {
		kind, _ := at1(c, "@type").(string)
		elements, _ := at1(c, list).([]any)
		if !strings.HasSuffix(kind, "."+part) {
			continue
		}
		for j, e := range elements {
			if tree, ok := at1(e, step...).(map[string]any); ok {
				tree = maps.Clone(tree)
				delete(tree, "@type")
				f(fmt.Sprintf("%s[%d].%s[%d].%s", path, i, list, j, strings.Join(step, ".")), tree)
			}
		}
	}
}

// readVersion learns the release from the dump, unless it was told.
func (l *lint) readVersion(config any) {
	tree, ok := at1(config, "bootstrap", "node").(map[string]any)
	node := &corev3.Node{}
	if l.EnvoyVersion != "" || !ok || !l.decode("node", tree, node) {
		return
	}
	if v := node.GetUserAgentBuildVersion().GetVersion(); v != nil && !proto.Equal(v, v.ProtoReflect().New().Interface()) {
		l.EnvoyVersion = fmt.Sprintf("%d.%d.%d", v.GetMajorNumber(), v.GetMinorNumber(), v.GetPatch())
	}
}

// at1 is what stands at a path of keys, in snake_case or camelCase, or nil.
func at1(tree any, keys ...string) any {
	for _, key := range keys {
		m, ok := tree.(map[string]any)
		if !ok {
			return nil
		}
		if tree, ok = m[key]; !ok {
			tree = m[camel(key)]
		}
	}
	return tree
}

func camel(snake string) string {
	words := strings.Split(snake, "_")
	for i, w := range words[1:] {
		if w != "" {
			words[i+1] = strings.ToUpper(w[:1]) + w[1:]
		}
	}
	return strings.Join(words, "")
}
