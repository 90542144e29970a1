package envoy

import (
	"bytes"
	"fmt"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// IstioYAML returns the EnvoyFilter that puts the gate into the pods of one
// workload or gateway: the filter itself, the timers it needs, and how Envoy
// speaks to Portcullis. Neither Kubernetes nor Istio looks into the patches, so
// they are checked here. Equal options give equal bytes.
//
// The error names every bad option and what to write instead.
func IstioYAML(o IstioOptions) ([]byte, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, err
	}
	patches, err := o.patches()
	if err != nil {
		return nil, err
	}
	var doc yaml.Node
	if err := doc.Encode(o.envoyFilter(patches)); err != nil {
		return nil, err
	}
	annotate(&doc, "", istioReasons())
	list := child(child(&doc, "spec"), "configPatches")
	for i, p := range patches {
		n := list.Content[i]
		n.HeadComment = wrap(p.about)
		annotate(child(child(n, "patch"), "value"), p.at, p.why)
	}
	out, err := printYAML(istioPreamble(o), &doc)
	if err != nil || len(o.Skip) > 0 || len(o.Only) > 0 {
		return out, err
	}
	example, err := o.skipExample()
	return append(out, example...), err
}

// skipExample is a commented patch that a reader can put to use.
func (o IstioOptions) skipExample() ([]byte, error) {
	r := IstioRoute{VirtualHost: "inbound|http|8080", Route: "default"}
	if o.Gateway {
		r = IstioRoute{VirtualHost: "shop.example.com:443", Route: "metrics"}
	}
	p, err := o.skipPatch(r)
	if err != nil {
		return nil, err
	}
	var n yaml.Node
	if err := n.Encode([]configPatch{p}); err != nil {
		return nil, err
	}
	text, err := printYAML("To leave a route unscanned, add to configPatches (portcullis envoy-config istio --skip):", &n)
	if err != nil {
		return nil, err
	}
	return commentOut(text), nil
}

// commentOut turns every line that is none yet into a comment.
func commentOut(text []byte) []byte {
	var b bytes.Buffer
	for line := range bytes.Lines(text) {
		switch {
		case len(bytes.TrimSpace(line)) == 0:
		case line[0] == '#':
			b.Write(line)
		default:
			b.WriteString("#   ")
			b.Write(line)
		}
	}
	return b.Bytes()
}

func (o IstioOptions) envoyFilter(patches []configPatch) envoyFilter {
	spec := envoyFilterSpec{Priority: 10, ConfigPatches: patches}
	if o.TargetGateway != "" {
		spec.TargetRefs = []targetRef{{Group: "gateway.networking.k8s.io", Kind: "Gateway", Name: o.TargetGateway}}
	} else {
		spec.WorkloadSelector = &labels{Labels: o.Selector}
	}
	return envoyFilter{
		APIVersion: "networking.istio.io/v1alpha3",
		Kind:       "EnvoyFilter",
		Metadata:   objectMeta{Name: o.Name, Namespace: o.Namespace},
		Spec:       spec,
	}
}

// context is the direction that carries the scanned traffic.
func (o IstioOptions) context() string {
	if o.Gateway {
		return "GATEWAY"
	}
	return "SIDECAR_INBOUND"
}

// sideContext is the direction of the calls to Portcullis.
func (o IstioOptions) sideContext() string {
	if o.Gateway {
		return "GATEWAY"
	}
	return "SIDECAR_OUTBOUND"
}

func (o IstioOptions) patches() ([]configPatch, error) {
	var all []configPatch
	for _, build := range []func() (configPatch, error){o.filterPatch, o.timerPatch, o.bufferPatch, o.clusterPatch} {
		p, err := build()
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	for _, r := range o.Skip {
		p, err := o.skipPatch(r)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	for _, r := range o.Only {
		p, err := o.onlyPatch(r)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// filterPatch stands last before the router, after authentication and anything
// that changes a body.
func (o IstioOptions) filterPatch() (configPatch, error) {
	f, err := httpFilter(filterName, o.gate().filter(o.cluster()))
	if err != nil {
		return configPatch{}, err
	}
	f.Disabled = len(o.Only) > 0
	p, err := newPatch("HTTP_FILTER", "INSERT_BEFORE", f, patchMatch{
		Context: o.context(),
		Listener: &listenerMatch{FilterChain: filterChainMatch{
			Filter: filterMatch{Name: hcmName, SubFilter: &subName{Name: routerName}},
		}},
	})
	p.at, p.why = filterName, filterReasons(filterName+"/typed_config/", o.gate())
	p.about = "The gate, last before the router: after authentication and after anything that changes a body."
	if f.GetDisabled() {
		p.why = append(p.why, reason{path: filterName + "/disabled", text: "Switched off but for the routes below. Whatever another route carries passes unscanned."})
	}
	return p, err
}

func (o IstioOptions) timerPatch() (configPatch, error) {
	t := o.gate().timers()
	m, err := anypb.New(&hcmv3.HttpConnectionManager{
		CommonHttpProtocolOptions: &corev3.HttpProtocolOptions{MaxStreamDuration: durationpb.New(t.exchange)},
		StreamIdleTimeout:         durationpb.New(t.idle),
	})
	if err != nil {
		return configPatch{}, err
	}
	value := &listenerv3.Filter{Name: hcmName, ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: m}}
	p, err := newPatch("NETWORK_FILTER", "MERGE", value, patchMatch{
		Context:  o.context(),
		Listener: &listenerMatch{FilterChain: filterChainMatch{Filter: filterMatch{Name: hcmName}}},
	})
	p.at, p.why = hcmName, timerReasons(hcmName+"/typed_config/", o.gate())
	p.about = "The timers of the listener that carries the scanned traffic."
	return p, err
}

func (o IstioOptions) bufferPatch() (configPatch, error) {
	value := &listenerv3.Listener{PerConnectionBufferLimitBytes: wrapperspb.UInt32(o.gate().connectionBuffer())}
	p, err := newPatch("LISTENER", "MERGE", value, patchMatch{Context: o.context()})
	p.at, p.why = "listener", listenerReasons(o.gate())
	p.about = "The buffers of the same listener; Istio's edge profile has 32 KiB."
	return p, err
}

func (o IstioOptions) clusterPatch() (configPatch, error) {
	value, err := withOptions(&clusterv3.Cluster{
		ConnectTimeout: durationpb.New(time.Second),
		LbPolicy:       clusterv3.Cluster_LEAST_REQUEST,
	}, processorOptions())
	if err != nil {
		return configPatch{}, err
	}
	p, err := newPatch("CLUSTER", "MERGE", value, patchMatch{
		Context: o.sideContext(),
		Cluster: &clusterMatch{Service: o.host(), PortNumber: o.Port},
	})
	p.at, p.why = processorCluster, sideReasons(processorCluster+"/")
	p.about = "How Envoy speaks to Portcullis. Istio sets no circuit breaker of its own, and takes the healthy replicas from Kubernetes."
	return p, err
}

func (o IstioOptions) skipPatch(r IstioRoute) (configPatch, error) {
	p, err := o.routePatch(r, &extprocv3.ExtProcPerRoute{Override: &extprocv3.ExtProcPerRoute_Disabled{Disabled: true}})
	p.why = []reason{{path: "typed_per_filter_config", text: "Neither leg of this route is scanned."}}
	p.about = "A hole in the gate, on purpose."
	return p, err
}

func (o IstioOptions) onlyPatch(r IstioRoute) (configPatch, error) {
	p, err := o.routePatch(r, &routev3.FilterConfig{Config: &anypb.Any{}})
	p.why = []reason{{path: "typed_per_filter_config", text: "Both legs of this route are scanned, with the filter's own settings."}}
	p.about = "A route for which the gate is switched on."
	return p, err
}

// routePatch gives one route settings of its own for the filter.
func (o IstioOptions) routePatch(r IstioRoute, settings proto.Message) (configPatch, error) {
	packed, err := anypb.New(settings)
	if err != nil {
		return configPatch{}, err
	}
	value := &routev3.Route{TypedPerFilterConfig: map[string]*anypb.Any{filterName: packed}}
	p, err := newPatch("HTTP_ROUTE", "MERGE", value, patchMatch{
		Context:            o.context(),
		RouteConfiguration: &routeMatch{VHost: vhostMatch{Name: r.VirtualHost, Route: subName{Name: r.Route}}},
	})
	p.at = "route"
	return p, err
}

// newPatch checks and prints one patch. A MERGE carries only what it changes, so
// the rules for whole messages are for the others.
func newPatch(applyTo, operation string, value proto.Message, match patchMatch) (configPatch, error) {
	if operation != "MERGE" {
		if err := validate(value); err != nil {
			return configPatch{}, fmt.Errorf("%s patch: %w", applyTo, err)
		}
	}
	n, err := yamlOf(value)
	if err != nil {
		return configPatch{}, err
	}
	return configPatch{ApplyTo: applyTo, Match: match, Patch: patch{Operation: operation, Value: n}}, nil
}
