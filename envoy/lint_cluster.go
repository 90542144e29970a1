package envoy

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	bufferv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/buffer/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
)

// checkClusters holds the rules for how Envoy reaches Portcullis.
func (l *lint) checkClusters() {
	done := map[string]bool{}
	for _, s := range l.services {
		name := s.m.GetEnvoyGrpc().GetClusterName()
		if name == "" || done[name] {
			continue
		}
		done[name] = true
		l.cluster(s.path, name)
	}
}

func (l *lint) cluster(service, name string) {
	for _, c := range l.clusters {
		patch := c.m.GetName() == "" // a patch to a cluster of Istio's has no name
		if c.m.GetName() != name && !patch {
			continue
		}
		l.http2(c, patch)
		if !patch {
			l.breakers(c)
		}
		return
	}
	if l.allClusters {
		l.add(LevelError, "L26", service+".envoy_grpc.cluster_name", fmt.Sprintf("There is no cluster %q: every exchange fails, or passes if Envoy fails open.", name),
			"Define it, or correct the name.")
	}
}

// http2 looks at how the cluster speaks HTTP/2.
func (l *lint) http2(c at[*clusterv3.Cluster], patch bool) {
	const fix = "Set explicit_http_config.http2_protocol_options."
	o, options := &httpv3.HttpProtocolOptions{}, c.path+".typed_extension_protocol_options"
	_, own := openInto("", c.m.GetTypedExtensionProtocolOptions()[httpOptionsKey], o)
	h2 := o.GetExplicitHttpConfig().GetHttp2ProtocolOptions()
	switch auto := o.GetAutoConfig(); {
	case auto != nil:
		h2 = cmp.Or(auto.GetHttp2ProtocolOptions(), &corev3.Http2ProtocolOptions{})
		l.add(LevelWarn, "L27", options, "gRPC needs HTTP/2, which is left to ALPN here: where that chooses HTTP/1.1, every exchange fails.", fix)
	case h2 == nil:
		h2 = cmp.Or(o.GetUseDownstreamProtocolConfig().GetHttp2ProtocolOptions(), c.m.GetHttp2ProtocolOptions()) //nolint:staticcheck // deprecated, and still read by Envoy
	}
	switch {
	case h2 == nil && (!patch || own && o.GetUpstreamProtocolOptions() != nil):
		l.add(LevelError, "L27", options, "gRPC needs HTTP/2; without it every exchange fails.", fix)
	case h2 != nil && h2.GetInitialStreamWindowSize() == nil:
		l.add(LevelWarn, "L23", options, "Envoy may hold 16 MiB of every body for Portcullis (256 MiB before 1.36).",
			"Set http2_protocol_options.initial_stream_window_size to 65536 to 1048576.")
	}
	for path, common := range map[string]*corev3.HttpProtocolOptions{
		options + fmt.Sprintf("[%q]", httpOptionsKey): o.GetCommonHttpProtocolOptions(),
		c.path: c.m.GetCommonHttpProtocolOptions(), //nolint:staticcheck // deprecated, and still read by Envoy
	} {
		if d := common.GetMaxStreamDuration().AsDuration(); d != 0 && d <= 2*l.leg() {
			l.add(LevelError, "L9", path+".common_http_protocol_options.max_stream_duration", fmt.Sprintf("%v is less than both legs may be held: Envoy ends its call of Portcullis.", d),
				fmt.Sprintf("Remove it, or set more than %v.", 2*l.leg()))
		}
	}
}

func (l *lint) breakers(c at[*clusterv3.Cluster]) {
	limit, path := uint32(1024), c.path+".circuit_breakers"
	for i, t := range c.m.GetCircuitBreakers().GetThresholds() {
		if t.GetPriority() == corev3.RoutingPriority_DEFAULT && t.GetMaxRequests() != nil {
			limit, path = t.GetMaxRequests().GetValue(), fmt.Sprintf("%s.circuit_breakers.thresholds[%d].max_requests", c.path, i)
		}
	}
	if int64(limit) < int64(l.Exchanges) {
		l.add(LevelError, "L13", path, fmt.Sprintf("Envoy fails every exchange above %d at a time; unset it is 1024.", limit),
			fmt.Sprintf("Set max_requests to %d or more.", l.Exchanges))
	}
}

// checkBuffers is for modes in which Envoy holds whole bodies.
func (l *lint) checkBuffers() {
	modes := slices.Clone(l.overrides)
	for _, g := range l.gates {
		modes = append(modes, g.m.GetProcessingMode())
	}
	for _, m := range modes {
		if m.GetRequestBodyMode() != buffered && m.GetResponseBodyMode() != buffered {
			continue
		}
		for _, n := range l.listeners {
			limit, chosen := int64(1<<20), false
			if n.m.GetPerConnectionBufferLimitBytes() != nil {
				limit = int64(n.m.GetPerConnectionBufferLimitBytes().GetValue())
				chosen = limit >= 1<<20
			}
			path := n.path + ".per_connection_buffer_limit_bytes"
			switch {
			case l.MaxBodyBytes == 0 && !chosen:
				l.add(LevelWarn, "L15", path, fmt.Sprintf("Bodies over %d bytes get 413 or 500, unless the route raises the limit; unset it is 1 MiB.", limit),
					"Raise it, or take the duplex profile.")
			case limit < l.MaxBodyBytes:
				l.add(LevelError, "L15", path, fmt.Sprintf("Bodies over %d bytes get 413 or 500; Portcullis' limit is %d.", limit, l.MaxBodyBytes),
					"Raise it, or take the duplex profile.")
			}
			if l.ReceiveLimit != 0 && l.ReceiveLimit < limit+envelope {
				l.add(LevelError, "L15", path, fmt.Sprintf("A body may have %d bytes, and Portcullis takes messages of %d.", limit, l.ReceiveLimit),
					"Lower it, or raise Portcullis' limit.")
			}
		}
	}
}

// bufferFilters looks at filters before a gate that hold whole bodies: such a body
// arrives as one message.
func (l *lint) bufferFilters(m manager) {
	for i, f := range m.m.GetHttpFilters() {
		path := fmt.Sprintf("%s.http_filters[%d]", m.path, i)
		if _, isGate := m.gateOf(path); isGate {
			return
		}
		b := &bufferv3.Buffer{}
		at, ok := openInto(path+".typed_config", f.GetTypedConfig(), b)
		if limit := int64(b.GetMaxRequestBytes().GetValue()); ok && l.ReceiveLimit != 0 && l.ReceiveLimit < limit+envelope {
			l.add(LevelError, "L15", at+".max_request_bytes", fmt.Sprintf("A body that is buffered before the gate arrives in one message, of up to %d bytes, and Portcullis takes %d.", limit, l.ReceiveLimit),
				"Lower it, raise Portcullis' limit, or remove the filter: the gate holds bodies anyway.")
		}
	}
}

// envelope is the room for a message around its body.
const envelope = 64 << 10

// fixed are the first releases of each minor version that cannot be crashed by
// several answers in one frame (CVE-2026-47207).
func fixed() map[int]int { return map[int]int{35: 13, 36: 9, 37: 5, 38: 3} }

func (l *lint) checkVersion() {
	if l.EnvoyVersion == "" {
		return
	}
	minor, patch, ok := version(l.EnvoyVersion)
	need, listed := fixed()[minor]
	switch {
	case !ok:
		l.add(LevelWarn, "L18", "(version)", fmt.Sprintf("%q is no Envoy release.", l.EnvoyVersion), "Give it as 1.40.0.")
	case minor < 35 || listed && patch < need:
		l.add(LevelError, "L18", "(version)", "Envoy "+l.EnvoyVersion+" can be crashed or, before 1.35, bypassed (CVE-2026-47207, CVE-2025-30157).", "Run 1.40.0.")
	case minor < 39:
		l.add(LevelWarn, "L18", "(version)", "Envoy "+l.EnvoyVersion+" passes bodies unscanned when it cannot create its gRPC client.", "Run 1.40.0.")
	}
}

// version reads 1.MINOR.PATCH.
func version(s string) (minor, patch int, ok bool) {
	parts := strings.Split(strings.TrimPrefix(s, "v"), ".")
	if len(parts) != 3 || parts[0] != "1" {
		return 0, 0, false
	}
	minor, err1 := strconv.Atoi(parts[1])
	patch, err2 := strconv.Atoi(parts[2])
	return minor, patch, err1 == nil && err2 == nil
}
