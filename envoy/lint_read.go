package envoy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
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
	// services are the ways to Portcullis, overrides the modes that routes set.
	services  []at[*corev3.GrpcService]
	overrides []*processing
	// allClusters is set when no cluster can come from elsewhere.
	allClusters bool
	// byName are the route configurations of a dump or of resources, and discovered
	// the filters (ECDS), for those that name them.
	byName     map[string]at[*routev3.RouteConfiguration]
	discovered map[string]at[*anypb.Any]
	// unseen is set if a processor's settings come from elsewhere.
	unseen bool
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
	// filter is the path of its entry in http_filters.
	filter string
	// off is set for a filter that stands in the chain and is switched on by routes.
	off bool
	// fragment is set for a patch to a filter that is elsewhere, so that only what it
	// sets is known.
	fragment bool
}

// routeAt is a route and the settings for filters that hold for it, the most
// specific last.
type routeAt struct {
	at[*routev3.Route]
	above []map[string]*anypb.Any
	// fragment is set for a patch to a route that is elsewhere.
	fragment bool
}

// routeSetting is an entry of typed_per_filter_config.
type routeSetting struct {
	at[*anypb.Any]
	key string
}

func newSubject() subject {
	return subject{byName: map[string]at[*routev3.RouteConfiguration]{}, discovered: map[string]at[*anypb.Any]{}}
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
	for _, pass := range []func(map[string]any) error{l.readNamed, l.readDocument} {
		for i, tree := range trees {
			l.prefix = ""
			if relevant > 1 {
				l.prefix = titleOf(tree, i) + " "
			}
			if err := pass(tree); err != nil {
				return fmt.Errorf("document %d: %w", i+1, err)
			}
		}
	}
	l.prefix = ""
	if len(l.gates) == 0 && !l.unseen && !l.extended() {
		which := "no ext_proc filter"
		if l.Filter != "" {
			which += fmt.Sprintf(" with the name %q", l.Filter)
		}
		l.add(LevelError, "L6", "http_filters", "There is "+which+", so nothing is scanned.", "Add the filter that portcullis envoy-config writes.")
	}
	return nil
}

func (l *lint) readDocument(tree map[string]any) error {
	switch kindOf(tree) {
	case "EnvoyFilter":
		return l.readEnvoyFilter(tree)
	case aBootstrap:
		l.readBootstrap(tree)
	case aResources:
		l.readResources(tree)
	case aDump:
		return l.readDump(tree)
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
		l.sideDoors(path, n)
	}
}

func (l *lint) readChain(path string, c *listenerv3.FilterChain) {
	for i, f := range c.GetFilters() {
		m := &hcmv3.HttpConnectionManager{}
		if at, ok := openInto(fmt.Sprintf("%s.filters[%d].typed_config", path, i), f.GetTypedConfig(), m); ok {
			l.readManager(at, m, false)
		}
	}
}

// sideDoors names the chains of a gated listener that carry something other than HTTP.
func (l *lint) sideDoors(path string, n *listenerv3.Listener) {
	door := func(path string, c *listenerv3.FilterChain) {
		for i, f := range c.GetFilters() {
			if typeOf(f.GetTypedConfig()) == "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy" {
				l.add(LevelInfo, "L6", fmt.Sprintf("%s.filters[%d]", path, i), "This chain passes bytes as they come: what it carries is not scanned.",
					"Remove it unless that is wanted.")
			}
		}
	}
	for i, c := range n.GetFilterChains() {
		door(fmt.Sprintf("%s.filter_chains[%d]", path, i), c)
	}
	door(path+".default_filter_chain", n.GetDefaultFilterChain())
}

func (l *lint) readManager(path string, m *hcmv3.HttpConnectionManager, fragment bool) {
	before, unseen := len(l.gates), l.unseen
	l.unseen = false
	for i, f := range m.GetHttpFilters() {
		l.readHTTPFilter(fmt.Sprintf("%s.http_filters[%d]", path, i), f, false)
	}
	gated := fragment || l.unseen || len(l.gates) > before
	l.unseen = l.unseen || unseen
	own := manager{at: at[*hcmv3.HttpConnectionManager]{path, m}, fragment: fragment, gated: gated, gates: l.gates[before:len(l.gates):len(l.gates)]}
	if !gated {
		l.managers = append(l.managers, own)
		l.add(LevelInfo, "L6", path+".http_filters", "This listener has no ext_proc filter: its traffic is not scanned.",
			"Add the filter if anything but health checks or metrics comes this way.")
		return
	}
	routes := []at[*routev3.RouteConfiguration]{{path + ".route_config", m.GetRouteConfig()}}
	if name := m.GetRds().GetRouteConfigName(); name != "" {
		routes[0] = l.byName[name]
	}
	for i, s := range m.GetScopedRoutes().GetScopedRouteConfigurationsList().GetScopedRouteConfigurations() {
		at := at[*routev3.RouteConfiguration]{fmt.Sprintf("%s.scoped_routes.scoped_route_configurations_list.scoped_route_configurations[%d].route_configuration", path, i), s.GetRouteConfiguration()}
		if s.GetRouteConfiguration() == nil {
			at = l.byName[s.GetRouteConfigurationName()]
		}
		routes = append(routes, at)
	}
	own.routesKnown = slices.ContainsFunc(routes, func(c at[*routev3.RouteConfiguration]) bool { return c.m != nil })
	l.managers = append(l.managers, own)
	var read []routeAt
	for _, c := range routes {
		read = append(read, l.readRoutes(c)...)
	}
	l.switches(own, read)
}

func (l *lint) readRoutes(c at[*routev3.RouteConfiguration]) []routeAt {
	l.readPerRoute(c.path, c.m.GetTypedPerFilterConfig())
	var read []routeAt
	for i, v := range c.m.GetVirtualHosts() {
		read = append(read, l.readHost(fmt.Sprintf("%s.virtual_hosts[%d]", c.path, i), v, c.m.GetTypedPerFilterConfig())...)
	}
	return read
}

// readHost reads a virtual host; above are the settings of what it stands in.
func (l *lint) readHost(path string, v *routev3.VirtualHost, above map[string]*anypb.Any) []routeAt {
	l.readPerRoute(path, v.GetTypedPerFilterConfig())
	var read []routeAt
	add := func(path string, route *routev3.Route) {
		r := routeAt{
			at:    at[*routev3.Route]{path, route},
			above: []map[string]*anypb.Any{above, v.GetTypedPerFilterConfig(), route.GetTypedPerFilterConfig()},
		}
		l.readRoute(r)
		read = append(read, r)
	}
	for i, route := range v.GetRoutes() {
		add(fmt.Sprintf("%s.routes[%d]", path, i), route)
	}
	if m := v.GetMatcher(); m != nil { // which holds routes at its leaves
		within(path+".matcher", m, func(path string, m proto.Message) bool {
			route, ok := m.(*routev3.Route)
			if ok {
				add(path, route)
			}
			return !ok
		})
	}
	if v.GetRetryPolicy() != nil {
		l.retries(path)
	}
	return read
}

func (l *lint) readRoute(r routeAt) {
	l.routes = append(l.routes, r)
	l.readPerRoute(r.path, r.m.GetTypedPerFilterConfig())
	for i, w := range r.m.GetRoute().GetWeightedClusters().GetClusters() {
		l.readPerRoute(fmt.Sprintf("%s.route.weighted_clusters.clusters[%d]", r.path, i), w.GetTypedPerFilterConfig())
	}
}

// readHTTPFilter looks for the gate in a filter, and inside of one that holds
// others (matchers, composites).
func (l *lint) readHTTPFilter(path string, f *hcmv3.HttpFilter, fragment bool) {
	if l.Filter != "" && f.GetName() != l.Filter {
		return
	}
	config, at := f.GetTypedConfig(), path+".typed_config"
	if d := f.GetConfigDiscovery(); d != nil {
		config, at = l.discover(path+".config_discovery", f.GetName(), d)
	}
	own, _ := open(at, config)
	found := false
	within(at, config, func(inside string, m proto.Message) bool {
		p, ok := m.(*extprocv3.ExternalProcessor)
		if !ok {
			return true
		}
		found = true
		l.gates = append(l.gates, gateAt{
			at: newAt(inside, p), name: f.GetName(), filter: path, off: f.GetDisabled(), fragment: fragment,
		})
		if inside != own {
			l.add(LevelInfo, "L10", at, "A matcher decides where the gate works: what it leaves out is not scanned.", "Put the gate into the chain itself unless that is wanted.")
		}
		return false
	})
	if found && f.GetIsOptional() {
		l.add(LevelWarn, "L6", path+".is_optional", "An Envoy that is built without this filter leaves it out without a word.", "Remove it.")
	}
}

func newAt[M any](path string, m M) at[M] { return at[M]{path, m} }

// discover finds a filter whose settings come by ECDS.
func (l *lint) discover(path, name string, d *corev3.ExtensionConfigSource) (*anypb.Any, string) {
	if a, ok := l.discovered[name]; ok {
		return a.m, a.path
	}
	if d.GetDefaultConfig() == nil && slices.ContainsFunc(d.GetTypeUrls(), isProcessor) {
		l.unseen = true
		l.add(LevelWarn, "L6", path, "The settings of this filter come from elsewhere (ECDS) and are not seen here.", "Check the config dump of an Envoy that runs with it.")
	}
	return d.GetDefaultConfig(), path + ".default_config"
}

func isProcessor(url string) bool {
	d := messageType(url)
	return d != nil && d == (&extprocv3.ExternalProcessor{}).ProtoReflect().Descriptor()
}

func (l *lint) readPerRoute(path string, settings map[string]*anypb.Any) {
	for key, setting := range settings {
		l.perRoute = append(l.perRoute, routeSetting{at[*anypb.Any]{fmt.Sprintf("%s.typed_per_filter_config[%q]", path, key), setting}, key})
	}
}

// typeOf is the name of a packed message's type, foreign ones included.
func typeOf(a *anypb.Any) string {
	url := a.GetTypeUrl()
	if s := (&wrapperspb.StringValue{}); a.UnmarshalTo(s) == nil {
		url = s.GetValue()
	} else if m, err := a.UnmarshalNew(); err == nil {
		if s, ok := m.(interface{ GetTypeUrl() string }); ok { // a TypedStruct
			url = s.GetTypeUrl()
		}
	}
	return url[strings.LastIndexByte(url, '/')+1:]
}
