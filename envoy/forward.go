package envoy

import (
	"net/http"
	"slices"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	dfpclusterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dynamic_forward_proxy/v3"
	dnsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/dynamic_forward_proxy/v3"
	dfpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/dynamic_forward_proxy/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	// anywhere is the cluster of whatever host a client asks for.
	anywhere = "anywhere"
	// resolverName is the filter that looks the host up.
	resolverName = "envoy.filters.http.dynamic_forward_proxy"
	// maxHosts is how many hosts' addresses Envoy remembers.
	maxHosts = 8192
)

// ForwardProxy returns the bootstrap of an Envoy that is its clients' way to the
// outside and holds every body, of both legs, until Portcullis has judged it. It
// needs Envoy 1.40 or newer.
//
// What is asked for by an http:// URL is scanned. CONNECT, by which clients ask
// for https:// URLs, opens a tunnel of which a proxy sees nothing: it is refused
// with 403 but for the hosts of [ForwardProxyOptions.Tunnels], which pass unscanned.
//
// The error names every bad option and what to write instead.
func ForwardProxy(o ForwardProxyOptions) (*bootstrapv3.Bootstrap, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	manager, err := o.connectionManager()
	if err != nil {
		return nil, err
	}
	outside, err := o.cluster()
	if err != nil {
		return nil, err
	}
	return o.options().bootstrap(manager, outside)
}

// ForwardProxyYAML is [ForwardProxy] as YAML, with the reason beside every
// setting that is not Envoy's default. Equal options give equal bytes.
func ForwardProxyYAML(o ForwardProxyOptions) ([]byte, error) {
	b, err := ForwardProxy(o)
	if err != nil {
		return nil, err
	}
	doc, err := yamlOf(b)
	if err != nil {
		return nil, err
	}
	annotate(doc, "", o.reasons())
	return printYAML(o.preamble(), doc)
}

func (o ForwardProxyOptions) connectionManager() (*hcmv3.HttpConnectionManager, error) {
	m, err := o.options().connectionManager()
	if err != nil {
		return nil, err
	}
	m.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: o.routes()}
	resolver, err := httpFilter(resolverName, &dfpv3.FilterConfig{
		ImplementationSpecifier: &dfpv3.FilterConfig_DnsCacheConfig{DnsCacheConfig: o.names()},
	})
	if err != nil {
		return nil, err
	}
	tunnels := m.HttpFilters[len(m.HttpFilters)-1:] // the router
	if len(o.Tunnels) > 0 {
		tunnels = slices.Concat([]*hcmv3.HttpFilter{resolver}, tunnels)
	}
	m.UpgradeConfigs = []*hcmv3.HttpConnectionManager_UpgradeConfig{{UpgradeType: http.MethodConnect, Filters: tunnels}}
	m.HttpFilters = slices.Insert(m.HttpFilters, 0, resolver)
	return m, nil
}

// names is how hosts are looked up; the filter and the cluster must agree on it.
func (o ForwardProxyOptions) names() *dnsv3.DnsCacheConfig {
	c := &dnsv3.DnsCacheConfig{
		Name:            anywhere,
		DnsLookupFamily: clusterv3.Cluster_ALL,
		MaxHosts:        wrapperspb.UInt32(maxHosts),
	}
	if !o.AllowLocal {
		c.ResolvedAddressFilter = localAddresses()
	}
	return c
}

func (o ForwardProxyOptions) cluster() (*clusterv3.Cluster, error) {
	names, err := anypb.New(&dfpclusterv3.ClusterConfig{
		ClusterImplementationSpecifier: &dfpclusterv3.ClusterConfig_DnsCacheConfig{DnsCacheConfig: o.names()},
	})
	if err != nil {
		return nil, err
	}
	c := &clusterv3.Cluster{
		Name:     anywhere,
		LbPolicy: clusterv3.Cluster_CLUSTER_PROVIDED,
		ClusterDiscoveryType: &clusterv3.Cluster_ClusterType{ClusterType: &clusterv3.Cluster_CustomClusterType{
			Name: "envoy.clusters.dynamic_forward_proxy", TypedConfig: names,
		}},
		CircuitBreakers: manyStreams(),
	}
	options := explicit(&httpv3.HttpProtocolOptions_ExplicitHttpConfig{
		ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{
			HttpProtocolOptions: &corev3.Http1ProtocolOptions{EnableTrailers: true},
		},
	})
	options.UpstreamHttpProtocolOptions = &corev3.UpstreamHttpProtocolOptions{AutoSni: true, AutoSanValidation: true}
	return withOptions(c, options)
}

// unlimited switches a timer of Envoy's off.
func unlimited() *durationpb.Duration { return durationpb.New(time.Duration(0)) }
