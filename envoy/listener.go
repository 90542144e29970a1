package envoy

import (
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	filelogv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	hcmName    = "envoy.filters.network.http_connection_manager"
	routerName = "envoy.filters.http.router"
	// bufferLimit is what Envoy buffers of one body while it waits for anything
	// but a buffered body. It is Envoy's default, written down because a mesh or
	// an edge profile often lowers it.
	bufferLimit = 1 << 20
)

func (o Options) listener(manager *hcmv3.HttpConnectionManager) (*listenerv3.Listener, error) {
	packed, err := anypb.New(manager)
	if err != nil {
		return nil, err
	}
	return &listenerv3.Listener{
		Name:                          o.StatPrefix,
		Address:                       mustEndpoint(o.Listen).proto(),
		PerConnectionBufferLimitBytes: wrapperspb.UInt32(o.gate().connectionBuffer()),
		FilterChains: []*listenerv3.FilterChain{{
			Filters: []*listenerv3.Filter{{
				Name:       hcmName,
				ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: packed},
			}},
		}},
	}, nil
}

// connectionBuffer is the listener's buffer limit, the bound of a buffered body.
func (g gate) connectionBuffer() uint32 {
	if g.profile.holdsWholeBodies() {
		return uint32(max(g.maxBody, bufferLimit))
	}
	return bufferLimit
}

func (o Options) connectionManager() (*hcmv3.HttpConnectionManager, error) {
	filters, err := httpFilters(o.gate().filter(processorCluster))
	if err != nil {
		return nil, err
	}
	log, err := o.accessLog()
	if err != nil {
		return nil, err
	}
	t := o.gate().timers()
	m := &hcmv3.HttpConnectionManager{
		StatPrefix:          o.StatPrefix,
		HttpProtocolOptions: &corev3.Http1ProtocolOptions{EnableTrailers: true},
		Http2ProtocolOptions: &corev3.Http2ProtocolOptions{
			MaxConcurrentStreams:    wrapperspb.UInt32(100),
			InitialStreamWindowSize: wrapperspb.UInt32(streamWindow),
		},
		CommonHttpProtocolOptions: &corev3.HttpProtocolOptions{
			MaxStreamDuration: durationpb.New(t.exchange),
		},
		StreamIdleTimeout:          durationpb.New(t.idle),
		ServerHeaderTransformation: hcmv3.HttpConnectionManager_PASS_THROUGH,
		RouteSpecifier: &hcmv3.HttpConnectionManager_RouteConfig{
			RouteConfig: &routev3.RouteConfiguration{VirtualHosts: []*routev3.VirtualHost{o.virtualHost()}},
		},
		HttpFilters: filters,
		AccessLog:   log,
	}
	if !o.AllowUnderscores {
		m.CommonHttpProtocolOptions.HeadersWithUnderscoresAction = corev3.HttpProtocolOptions_DROP_HEADER
	}
	if !o.KeepPaths {
		m.NormalizePath = wrapperspb.Bool(true)
		m.MergeSlashes = true
		m.PathWithEscapedSlashesAction = hcmv3.HttpConnectionManager_REJECT_REQUEST
	}
	return m, nil
}

func (o Options) virtualHost() *routev3.VirtualHost {
	return &routev3.VirtualHost{
		Name:    upstreamCluster,
		Domains: []string{"*"},
		Routes: []*routev3.Route{{
			Match: &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
			Action: &routev3.Route_Route{Route: &routev3.RouteAction{
				ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: upstreamCluster},
				Timeout:          durationpb.New(0),
			}},
		}},
	}
}

// httpFilters is the chain: the gate is the last filter before the router, so
// that nothing changes a body after it was judged.
func httpFilters(gate proto.Message) ([]*hcmv3.HttpFilter, error) {
	scan, err := httpFilter(filterName, gate)
	if err != nil {
		return nil, err
	}
	router, err := httpFilter(routerName, &routerv3.Router{SuppressEnvoyHeaders: true})
	if err != nil {
		return nil, err
	}
	return []*hcmv3.HttpFilter{scan, router}, nil
}

func httpFilter(name string, config proto.Message) (*hcmv3.HttpFilter, error) {
	packed, err := anypb.New(config)
	if err != nil {
		return nil, err
	}
	return &hcmv3.HttpFilter{Name: name, ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: packed}}, nil
}

// accessLog leaves the query out: it is where clients put their secrets.
func (o Options) accessLog() ([]*accesslogv3.AccessLog, error) {
	if o.AccessLog == "" {
		return nil, nil
	}
	fields, err := structpb.NewStruct(map[string]any{
		"time":            "%START_TIME%",
		"method":          "%REQ(:METHOD)%",
		"path":            "%PATH(NQ)%",
		"protocol":        "%PROTOCOL%",
		"status":          "%RESPONSE_CODE%",
		"details":         "%RESPONSE_CODE_DETAILS%",
		"flags":           "%RESPONSE_FLAGS%",
		"bytes_in":        "%BYTES_RECEIVED%",
		"bytes_out":       "%BYTES_SENT%",
		"duration_ms":     "%DURATION%",
		"request_id":      "%REQ(X-REQUEST-ID)%",
		metadataNamespace: "%DYNAMIC_METADATA(" + metadataNamespace + ")%",
	})
	if err != nil {
		return nil, err
	}
	packed, err := anypb.New(&filelogv3.FileAccessLog{
		Path: o.AccessLog,
		AccessLogFormat: &filelogv3.FileAccessLog_LogFormat{LogFormat: &corev3.SubstitutionFormatString{
			Format: &corev3.SubstitutionFormatString_JsonFormat{JsonFormat: fields},
		}},
	})
	if err != nil {
		return nil, err
	}
	return []*accesslogv3.AccessLog{{
		Name:       "envoy.access_loggers.file",
		ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: packed},
	}}, nil
}
