package envoy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// subject is what a run looks at; every part knows its path.
type subject struct {
	listeners []at[*listenerv3.Listener]
	managers  []manager
	gates     []gateAt
	clusters  []at[*clusterv3.Cluster]
	perRoute  []routeSetting
	routes    []at[*routev3.Route]
	// allClusters is set when no cluster can come from elsewhere.
	allClusters bool
}

type at[M any] struct {
	path string
	m    M
}

// manager is a connection manager. A fragment is a patch to one that is
// elsewhere, so that only what it sets is known.
type manager struct {
	at[*hcmv3.HttpConnectionManager]
	fragment bool
	gated    bool
}

type gateAt struct {
	at[*extprocv3.ExternalProcessor]
	name string
}

// routeSetting is an entry of typed_per_filter_config.
type routeSetting struct {
	at[*anypb.Any]
	key string
}

// read takes the documents apart.
func (l *lint) read(config []byte) error {
	d := yaml.NewDecoder(bytes.NewReader(config))
	known := 0
	for i := 0; ; i++ {
		var tree map[string]any
		err := d.Decode(&tree)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("document %d is no YAML or JSON mapping: %w", i+1, err)
		}
		switch {
		case tree["kind"] == "EnvoyFilter":
			known++
			if err := l.readEnvoyFilter(tree); err != nil {
				return fmt.Errorf("document %d: %w", i+1, err)
			}
		case tree["static_resources"] != nil || tree["staticResources"] != nil:
			known++
			l.readBootstrap(tree)
		}
	}
	if known == 0 {
		return errors.New("neither an Envoy bootstrap (static_resources) nor an Istio EnvoyFilter; give the file that Envoy or kubectl gets")
	}
	if len(l.gates) == 0 {
		l.add(LevelError, "L6", "http_filters", "There is no ext_proc filter, so nothing is scanned.",
			"Add the filter that portcullis envoy-config writes.")
	}
	return nil
}

func (l *lint) readBootstrap(tree map[string]any) {
	b := &bootstrapv3.Bootstrap{}
	if !l.decode("", tree, b) {
		return
	}
	l.allClusters = b.GetDynamicResources() == nil
	for i, c := range b.GetStaticResources().GetClusters() {
		l.clusters = append(l.clusters, at[*clusterv3.Cluster]{fmt.Sprintf("static_resources.clusters[%d]", i), c})
	}
	for i, n := range b.GetStaticResources().GetListeners() {
		l.readListener(fmt.Sprintf("static_resources.listeners[%d]", i), n)
	}
}

func (l *lint) readListener(path string, n *listenerv3.Listener) {
	before := len(l.gates)
	for i, c := range n.GetFilterChains() {
		l.readChain(fmt.Sprintf("%s.filter_chains[%d]", path, i), c)
	}
	l.readChain(path+".default_filter_chain", n.GetDefaultFilterChain())
	if len(l.gates) > before {
		l.listeners = append(l.listeners, at[*listenerv3.Listener]{path, n})
	}
}

func (l *lint) readChain(path string, c *listenerv3.FilterChain) {
	for i, f := range c.GetFilters() {
		m := &hcmv3.HttpConnectionManager{}
		if f.GetTypedConfig().UnmarshalTo(m) == nil {
			l.readManager(fmt.Sprintf("%s.filters[%d].typed_config", path, i), m, false)
		}
	}
}

func (l *lint) readManager(path string, m *hcmv3.HttpConnectionManager, fragment bool) {
	before := len(l.gates)
	for i, f := range m.GetHttpFilters() {
		l.readHTTPFilter(fmt.Sprintf("%s.http_filters[%d]", path, i), f)
	}
	gated := fragment || len(l.gates) > before
	l.managers = append(l.managers, manager{at[*hcmv3.HttpConnectionManager]{path, m}, fragment, gated})
	if !gated {
		l.add(LevelInfo, "L6", path+".http_filters", "This listener has no ext_proc filter: its traffic is not scanned.",
			"Add the filter if anything but health checks or metrics comes this way.")
		return
	}
	r := m.GetRouteConfig()
	l.readPerRoute(path+".route_config", r.GetTypedPerFilterConfig())
	for i, v := range r.GetVirtualHosts() {
		host := fmt.Sprintf("%s.route_config.virtual_hosts[%d]", path, i)
		l.readPerRoute(host, v.GetTypedPerFilterConfig())
		for j, route := range v.GetRoutes() {
			l.readRoute(fmt.Sprintf("%s.routes[%d]", host, j), route)
		}
		if v.GetRetryPolicy() != nil {
			l.retries(host)
		}
	}
}

func (l *lint) readRoute(path string, r *routev3.Route) {
	l.routes = append(l.routes, at[*routev3.Route]{path, r})
	l.readPerRoute(path, r.GetTypedPerFilterConfig())
	for i, w := range r.GetRoute().GetWeightedClusters().GetClusters() {
		l.readPerRoute(fmt.Sprintf("%s.route.weighted_clusters.clusters[%d]", path, i), w.GetTypedPerFilterConfig())
	}
}

func (l *lint) readHTTPFilter(path string, f *hcmv3.HttpFilter) {
	p := &extprocv3.ExternalProcessor{}
	if f.GetTypedConfig().UnmarshalTo(p) != nil || l.Filter != "" && f.GetName() != l.Filter {
		return
	}
	l.gates = append(l.gates, gateAt{at[*extprocv3.ExternalProcessor]{path + ".typed_config", p}, f.GetName()})
}

func (l *lint) readPerRoute(path string, settings map[string]*anypb.Any) {
	for key, setting := range settings {
		l.perRoute = append(l.perRoute, routeSetting{at[*anypb.Any]{fmt.Sprintf("%s.typed_per_filter_config[%q]", path, key), setting}, key})
	}
}

// readEnvoyFilter reads every patch as the message that istiod takes it for.
func (l *lint) readEnvoyFilter(tree map[string]any) error {
	j, err := json.Marshal(tree)
	if err != nil {
		return err
	}
	var object struct {
		Spec struct {
			ConfigPatches []struct {
				ApplyTo string `json:"applyTo"`
				Patch   struct {
					Value map[string]any `json:"value"`
				} `json:"patch"`
			} `json:"configPatches"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(j, &object); err != nil {
		return fmt.Errorf("EnvoyFilter: %w", err)
	}
	for i, p := range object.Spec.ConfigPatches {
		if p.Patch.Value != nil {
			l.readPatch(fmt.Sprintf("spec.configPatches[%d].patch.value", i), p.ApplyTo, p.Patch.Value)
		}
	}
	return nil
}

func (l *lint) readPatch(path, applyTo string, value map[string]any) {
	switch applyTo {
	case "HTTP_FILTER":
		if f := (&hcmv3.HttpFilter{}); l.decode(path, value, f) {
			l.readHTTPFilter(path, f)
		}
	case "NETWORK_FILTER":
		f, m := &listenerv3.Filter{}, &hcmv3.HttpConnectionManager{}
		if l.decode(path, value, f) && f.GetTypedConfig().UnmarshalTo(m) == nil {
			l.readManager(path+".typed_config", m, true)
		}
	case "LISTENER":
		if n := (&listenerv3.Listener{}); l.decode(path, value, n) {
			l.listeners = append(l.listeners, at[*listenerv3.Listener]{path, n})
		}
	case "CLUSTER":
		if c := (&clusterv3.Cluster{}); l.decode(path, value, c) {
			l.clusters = append(l.clusters, at[*clusterv3.Cluster]{path, c})
		}
	case "HTTP_ROUTE":
		if r := (&routev3.Route{}); l.decode(path, value, r) {
			l.readRoute(path, r)
		}
	case "VIRTUAL_HOST":
		if v := (&routev3.VirtualHost{}); l.decode(path, value, v) {
			l.readPerRoute(path, v.GetTypedPerFilterConfig())
		}
	}
}

// decode reports what Envoy's definition does not have and reads the rest.
// It is false when nothing could be read.
func (l *lint) decode(path string, tree map[string]any, m proto.Message) bool {
	known, ok := foreign(tree).(map[string]any)
	if !ok {
		return false
	}
	reported := len(l.found)
	l.unknownFields(path, known, m.ProtoReflect().Descriptor())
	j, err := json.Marshal(known)
	if err == nil {
		err = protojson.Unmarshal(j, m)
	}
	if err == nil {
		return true
	}
	if len(l.found) == reported {
		l.add(LevelError, "L25", orDefault(path, "(document)"), fmt.Sprintf("Envoy cannot read this: %v.", err), "Correct the value.")
	}
	proto.Reset(m)
	return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(j, m) == nil
}

// foreign replaces packed messages of types that are not known here by a
// [wrapperspb.StringValue] with the name of the type.
func foreign(n any) any {
	switch n := n.(type) {
	case map[string]any:
		if url, ok := n["@type"].(string); ok && messageType(url) == nil {
			return map[string]any{"@type": "type.googleapis.com/google.protobuf.StringValue", "value": url}
		}
		out := make(map[string]any, len(n))
		for k, v := range n {
			out[k] = foreign(v)
		}
		return out
	case []any:
		out := make([]any, len(n))
		for i, v := range n {
			out[i] = foreign(v)
		}
		return out
	}
	return n
}

// typeOf is the name of a packed message's type, foreign ones included.
func typeOf(a *anypb.Any) string {
	url := a.GetTypeUrl()
	if s := (&wrapperspb.StringValue{}); a.UnmarshalTo(s) == nil {
		url = s.GetValue()
	}
	return url[strings.LastIndexByte(url, '/')+1:]
}
