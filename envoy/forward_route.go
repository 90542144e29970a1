package envoy

import (
	"net/http"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

const (
	connectName    = "connect"
	returnedName   = "came-back"
	secureName     = "https"
	everythingName = "everything"

	refusedTunnel = "CONNECT is refused: nothing can scan what passes through a tunnel, and https:// URLs need one.\n" +
		"Ask for an http:// URL, or have the proxy's administrator permit this host as an unscanned tunnel.\n"
	refusedLoop = "This request came back to the proxy that sent it: the address that was asked for is the proxy's own.\n"
	refusedTLS  = "An https:// URL cannot be fetched in this way; clients ask for it by CONNECT.\n"
)

func (o ForwardProxyOptions) routes() *routev3.RouteConfiguration {
	hosts := []*routev3.VirtualHost{o.virtualHost(anywhere, []string{"*"}, connectRoute(&routev3.Route{Action: refuse(http.StatusForbidden, refusedTunnel)}))}
	if len(o.Tunnels) > 0 {
		hosts = append(hosts, o.virtualHost("tunnels", o.Tunnels, connectRoute(&routev3.Route{Action: tunnel()})))
	}
	return &routev3.RouteConfiguration{
		VirtualHosts: hosts,
		// The proxy's own credentials, and what Portcullis tells an origin of ours.
		RequestHeadersToRemove: []string{"proxy-authorization", "x-portcullis-verdict"},
		RequestHeadersToAdd: []*corev3.HeaderValueOption{{
			Header:       &corev3.HeaderValue{Key: "via", Value: "1.1 " + o.options().StatPrefix},
			AppendAction: corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD,
		}},
	}
}

// virtualHost treats CONNECT as first says, and everything else alike.
func (o ForwardProxyOptions) virtualHost(name string, domains []string, first *routev3.Route) *routev3.VirtualHost {
	return &routev3.VirtualHost{Name: name, Domains: domains, Routes: []*routev3.Route{
		first,
		{
			Name:   returnedName,
			Match:  everything(contains("via", o.options().StatPrefix)),
			Action: refuse(http.StatusLoopDetected, refusedLoop),
		},
		{
			Name:   secureName,
			Match:  everything(exact(":scheme", "https")),
			Action: refuse(http.StatusNotImplemented, refusedTLS),
		},
		{
			Name:  everythingName,
			Match: everything(),
			Action: &routev3.Route_Route{Route: &routev3.RouteAction{
				ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: anywhere},
				Timeout:          unlimited(),
			}},
		},
	}}
}

func connectRoute(r *routev3.Route) *routev3.Route {
	r.Name = connectName
	r.Match = &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_ConnectMatcher_{ConnectMatcher: &routev3.RouteMatch_ConnectMatcher{}}}
	return r
}

func tunnel() *routev3.Route_Route {
	return &routev3.Route_Route{Route: &routev3.RouteAction{
		ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: anywhere},
		Timeout:          unlimited(),
		UpgradeConfigs: []*routev3.RouteAction_UpgradeConfig{{
			UpgradeType: http.MethodConnect, ConnectConfig: &routev3.RouteAction_UpgradeConfig_ConnectConfig{},
		}},
		MaxStreamDuration: &routev3.RouteAction_MaxStreamDuration{MaxStreamDuration: unlimited()},
	}}
}

func refuse(status uint32, text string) *routev3.Route_DirectResponse {
	return &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{
		Status: status, Body: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: text}},
	}}
}

func everything(headers ...*routev3.HeaderMatcher) *routev3.RouteMatch {
	return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}, Headers: headers}
}

func contains(header, part string) *routev3.HeaderMatcher {
	return match(header, &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Contains{Contains: part}})
}

func exact(header, value string) *routev3.HeaderMatcher {
	return match(header, &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: value}})
}

func match(header string, m *matcherv3.StringMatcher) *routev3.HeaderMatcher {
	return &routev3.HeaderMatcher{Name: header, HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: m}}
}
