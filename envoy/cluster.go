package envoy

import (
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	processorCluster = "portcullis"
	upstreamCluster  = "upstream"
	httpOptionsKey   = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

	// maxExchanges is how many exchanges may be held at once before Envoy
	// itself refuses; Portcullis sheds load earlier and with a better answer.
	maxExchanges = 8192
	// healthInterval has a replica that drains noticed, by two failures of up to a
	// second each, well within the 10 s in which it still serves (drain.grace).
	healthInterval = 3 * time.Second
	// sideWindow is how much of one body Envoy sends before Portcullis has read
	// it, and so what a held exchange costs Envoy.
	sideWindow = 256 << 10
	// sideConnectionWindow lets sixteen such bodies move at once on a connection.
	sideConnectionWindow = 16 * sideWindow
	// streamWindow is what a client or the service may send of one body while
	// Portcullis makes it wait.
	streamWindow = 1 << 20
)

// processor is the cluster of Portcullis itself.
func processor(e endpoint) (*clusterv3.Cluster, error) {
	c := cluster(processorCluster, e)
	c.ConnectTimeout = durationpb.New(time.Second)
	c.LbPolicy = clusterv3.Cluster_LEAST_REQUEST
	c.HealthChecks = []*corev3.HealthCheck{{
		Timeout:            durationpb.New(time.Second),
		Interval:           durationpb.New(healthInterval),
		NoTrafficInterval:  durationpb.New(healthInterval),
		UnhealthyThreshold: wrapperspb.UInt32(2),
		HealthyThreshold:   wrapperspb.UInt32(1),
		HealthChecker:      &corev3.HealthCheck_GrpcHealthCheck_{GrpcHealthCheck: &corev3.HealthCheck_GrpcHealthCheck{}},
	}}
	return withOptions(c, processorOptions())
}

// processorOptions are how Envoy speaks HTTP/2 to Portcullis.
func processorOptions() *httpv3.HttpProtocolOptions {
	return http2(&corev3.Http2ProtocolOptions{
		InitialStreamWindowSize:     wrapperspb.UInt32(sideWindow),
		InitialConnectionWindowSize: wrapperspb.UInt32(sideConnectionWindow),
		ConnectionKeepalive: &corev3.KeepaliveSettings{
			Interval: durationpb.New(30 * time.Second),
			Timeout:  durationpb.New(5 * time.Second),
		},
	})
}

// upstream is the cluster of the protected service.
func upstream(e endpoint, speakHTTP2 bool) (*clusterv3.Cluster, error) {
	if speakHTTP2 {
		return withOptions(cluster(upstreamCluster, e), http2(&corev3.Http2ProtocolOptions{
			InitialStreamWindowSize: wrapperspb.UInt32(streamWindow),
		}))
	}
	return withOptions(cluster(upstreamCluster, e), explicit(&httpv3.HttpProtocolOptions_ExplicitHttpConfig{
		ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{
			HttpProtocolOptions: &corev3.Http1ProtocolOptions{EnableTrailers: true},
		},
	}))
}

func http2(o *corev3.Http2ProtocolOptions) *httpv3.HttpProtocolOptions {
	return explicit(&httpv3.HttpProtocolOptions_ExplicitHttpConfig{
		ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{Http2ProtocolOptions: o},
	})
}

func explicit(c *httpv3.HttpProtocolOptions_ExplicitHttpConfig) *httpv3.HttpProtocolOptions {
	return &httpv3.HttpProtocolOptions{
		UpstreamProtocolOptions: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: c},
	}
}

func withOptions(c *clusterv3.Cluster, o *httpv3.HttpProtocolOptions) (*clusterv3.Cluster, error) {
	packed, err := anypb.New(o)
	if err != nil {
		return nil, err
	}
	c.TypedExtensionProtocolOptions = map[string]*anypb.Any{httpOptionsKey: packed}
	return c, nil
}

func manyStreams() *clusterv3.CircuitBreakers {
	return &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
		MaxConnections:     wrapperspb.UInt32(maxExchanges),
		MaxPendingRequests: wrapperspb.UInt32(maxExchanges),
		MaxRequests:        wrapperspb.UInt32(maxExchanges),
	}}}
}

// cluster is one endpoint, looked up in DNS if it has a name.
func cluster(name string, e endpoint) *clusterv3.Cluster {
	discovery := clusterv3.Cluster_STATIC
	if e.isName() {
		discovery = clusterv3.Cluster_STRICT_DNS
	}
	return &clusterv3.Cluster{
		Name:                 name,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: discovery},
		CircuitBreakers:      manyStreams(),
		LoadAssignment: &endpointv3.ClusterLoadAssignment{
			ClusterName: name,
			Endpoints: []*endpointv3.LocalityLbEndpoints{{LbEndpoints: []*endpointv3.LbEndpoint{{
				HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: e.proto()}},
			}}}},
		},
	}
}
