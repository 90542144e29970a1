package envoy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
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
	routes    []routeAt
	// allClusters is set when no cluster can come from elsewhere.
	allClusters bool
	// byName are the route configurations of a dump, for the managers that name them.
	byName map[string]at[*routev3.RouteConfiguration]
	// running is set for what an Envoy has taken already, in whichever release.
	running bool
	// prefix names the document in hand, if there are several.
	prefix string

	istio   istioObjects
	gateway gatewayObjectsRead
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
	gates    []gateAt
	// routesKnown is false when the routes come from elsewhere.
	routesKnown bool
}

type gateAt struct {
	at[*extprocv3.ExternalProcessor]
	name string
	// off is set for a filter that stands in the chain and is switched on by routes.
	off bool
}

// routeAt is a route and the settings for filters that hold for it, the most
// specific last.
type routeAt struct {
	at[*routev3.Route]
	above []map[string]*anypb.Any
}

// routeSetting is an entry of typed_per_filter_config.
type routeSetting struct {
	at[*anypb.Any]
	key string
}

// read takes the documents apart.
func (l *lint) read(config []byte) error {
	trees, err := documentsOf(config)
	if err != nil {
		return err
	}
	known, relevant := 0, 0
	for _, tree := range trees {
		switch kindOf(tree) {
		case "":
		case aCompanion:
			relevant++
		default:
			relevant++
			known++
		}
	}
	if known == 0 {
		return errors.New("neither an Envoy bootstrap (static_resources), a config dump, an Istio EnvoyFilter nor an EnvoyExtensionPolicy; give the file that Envoy or kubectl gets")
	}
	for i, tree := range trees {
		l.prefix = ""
		if relevant > 1 {
			l.prefix = titleOf(tree, i) + " "
		}
		if err := l.readDocument(tree); err != nil {
			return fmt.Errorf("document %d: %w", i+1, err)
		}
	}
	l.prefix = ""
	if len(l.gates) == 0 && !l.extended() {
		l.add(LevelError, "L6", "http_filters", "There is no ext_proc filter, so nothing is scanned.",
			"Add the filter that portcullis envoy-config writes.")
	}
	return nil
}

func documentsOf(config []byte) ([]map[string]any, error) {
	d := yaml.NewDecoder(bytes.NewReader(config))
	var trees []map[string]any
	for {
		var tree map[string]any
		err := d.Decode(&tree)
		if errors.Is(err, io.EOF) {
			return trees, nil
		}
		if err != nil {
			return nil, fmt.Errorf("document %d is no YAML or JSON mapping: %w", len(trees)+1, err)
		}
		trees = append(trees, unlisted(tree)...)
	}
}

// unlisted takes apart what "kubectl get -o yaml" prints for several objects.
func unlisted(tree map[string]any) []map[string]any {
	items, ok := tree["items"].([]any)
	if kind, _ := tree["kind"].(string); !ok || !strings.HasSuffix(kind, "List") {
		return []map[string]any{tree}
	}
	var trees []map[string]any
	for _, item := range items {
		if t, ok := item.(map[string]any); ok {
			trees = append(trees, t)
		}
	}
	return trees
}

const (
	aBootstrap = "bootstrap"
	aDump      = "config dump"
	// aCompanion says something only beside another document.
	aCompanion = "companion"
)

// kindOf is what a document is, or nothing for one that is passed over.
func kindOf(tree map[string]any) string {
	kind, _ := tree["kind"].(string)
	_, configs := tree["configs"].([]any)
	_, translated := tree["xds"].(map[string]any) // egctl prints dumps by their Gateway
	switch {
	case kind == "EnvoyFilter", kind == extensionPolicy:
		return kind
	case slices.Contains([]string{clientPolicy, backendPolicy, httpRoute, "GRPCRoute", "ReferenceGrant"}, kind):
		return aCompanion
	case kind == "" && (tree["static_resources"] != nil || tree["staticResources"] != nil):
		return aBootstrap
	case kind == "" && (configs || translated):
		return aDump
	}
	return ""
}

// titleOf names a document among others.
func titleOf(tree map[string]any, i int) string {
	kind, _ := tree["kind"].(string)
	name, _ := at1(tree, "metadata", "name").(string)
	namespace, _ := at1(tree, "metadata", "namespace").(string)
	if kind == "" || name == "" {
		return fmt.Sprintf("document[%d]", i)
	}
	return kind + " " + strings.TrimPrefix(namespace+"/"+name, "/")
}

func (l *lint) readDocument(tree map[string]any) error {
	switch kindOf(tree) {
	case "EnvoyFilter":
		return l.readEnvoyFilter(tree)
	case aBootstrap:
		l.readBootstrap(tree)
	case aDump:
		l.readDump(tree)
	case extensionPolicy, aCompanion:
		l.readGatewayObject(tree)
	}
	return nil
}

func (l *lint) readBootstrap(tree map[string]any) {
	b := &bootstrapv3.Bootstrap{}
	if !l.decode(l.prefix, tree, b) {
		return
	}
	l.allClusters = b.GetDynamicResources() == nil
	for i, c := range b.GetStaticResources().GetClusters() {
		l.clusters = append(l.clusters, at[*clusterv3.Cluster]{fmt.Sprintf("%sstatic_resources.clusters[%d]", l.prefix, i), c})
	}
	for i, n := range b.GetStaticResources().GetListeners() {
		l.readListener(fmt.Sprintf("%sstatic_resources.listeners[%d]", l.prefix, i), n)
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
	own := manager{at: at[*hcmv3.HttpConnectionManager]{path, m}, fragment: fragment, gated: gated, gates: l.gates[before:len(l.gates):len(l.gates)]}
	if !gated {
		l.managers = append(l.managers, own)
		l.add(LevelInfo, "L6", path+".http_filters", "This listener has no ext_proc filter: its traffic is not scanned.",
			"Add the filter if anything but health checks or metrics comes this way.")
		return
	}
	routes := at[*routev3.RouteConfiguration]{path + ".route_config", m.GetRouteConfig()}
	if name := m.GetRds().GetRouteConfigName(); name != "" {
		routes = l.byName[name]
	}
	own.routesKnown = routes.m != nil
	l.managers = append(l.managers, own)
	l.readRoutes(own, routes)
}

func (l *lint) readRoutes(own manager, c at[*routev3.RouteConfiguration]) {
	l.readPerRoute(c.path, c.m.GetTypedPerFilterConfig())
	var switched []routeAt
	for i, v := range c.m.GetVirtualHosts() {
		host := fmt.Sprintf("%s.virtual_hosts[%d]", c.path, i)
		l.readPerRoute(host, v.GetTypedPerFilterConfig())
		for j, route := range v.GetRoutes() {
			r := routeAt{
				at:    at[*routev3.Route]{fmt.Sprintf("%s.routes[%d]", host, j), route},
				above: []map[string]*anypb.Any{c.m.GetTypedPerFilterConfig(), v.GetTypedPerFilterConfig(), route.GetTypedPerFilterConfig()},
			}
			l.readRoute(r)
			switched = append(switched, r)
		}
		if v.GetRetryPolicy() != nil {
			l.retries(host)
		}
	}
	l.switches(own, switched)
}

func (l *lint) readRoute(r routeAt) {
	l.routes = append(l.routes, r)
	l.readPerRoute(r.path, r.m.GetTypedPerFilterConfig())
	for i, w := range r.m.GetRoute().GetWeightedClusters().GetClusters() {
		l.readPerRoute(fmt.Sprintf("%s.route.weighted_clusters.clusters[%d]", r.path, i), w.GetTypedPerFilterConfig())
	}
}

func (l *lint) readHTTPFilter(path string, f *hcmv3.HttpFilter) {
	p := &extprocv3.ExternalProcessor{}
	if f.GetTypedConfig().UnmarshalTo(p) != nil || l.Filter != "" && f.GetName() != l.Filter {
		return
	}
	l.gates = append(l.gates, gateAt{at[*extprocv3.ExternalProcessor]{path + ".typed_config", p}, f.GetName(), f.GetDisabled()})
}

func (l *lint) readPerRoute(path string, settings map[string]*anypb.Any) {
	for key, setting := range settings {
		l.perRoute = append(l.perRoute, routeSetting{at[*anypb.Any]{fmt.Sprintf("%s.typed_per_filter_config[%q]", path, key), setting}, key})
	}
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
			l.readRoute(routeAt{at: at[*routev3.Route]{path, r}, above: []map[string]*anypb.Any{r.GetTypedPerFilterConfig()}})
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
	if !l.running {
		l.unknownFields(path, known, m.ProtoReflect().Descriptor())
	}
	j, err := json.Marshal(known)
	if err == nil {
		err = protojson.Unmarshal(j, m)
	}
	if err == nil {
		return true
	}
	if len(l.found) == reported && !l.running {
		l.add(LevelError, "L25", orDefault(strings.TrimSpace(path), "(document)"), fmt.Sprintf("Envoy cannot read this: %v.", err), "Correct the value.")
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
