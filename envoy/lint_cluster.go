package envoy

import (
	"fmt"
	"strconv"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
)

// checkClusters holds the rules for how Envoy reaches Portcullis.
func (l *lint) checkClusters() {
	done := map[string]bool{}
	for _, g := range l.gates {
		name := g.m.GetGrpcService().GetEnvoyGrpc().GetClusterName()
		if name == "" || done[name] {
			continue
		}
		done[name] = true
		l.cluster(g, name)
	}
}

func (l *lint) cluster(g gateAt, name string) {
	for _, c := range l.clusters {
		patch := c.m.GetName() == "" // a patch to a cluster of Istio's has no name
		if c.m.GetName() != name && !patch {
			continue
		}
		h2 := http2Of(c.m)
		options := c.path + ".typed_extension_protocol_options"
		switch {
		case h2 == nil && !patch:
			l.add(LevelError, "L27", options, "gRPC needs HTTP/2; without it every exchange fails.", "Set explicit_http_config.http2_protocol_options.")
		case h2 != nil && h2.GetInitialStreamWindowSize() == nil:
			l.add(LevelWarn, "L23", options, "Envoy may hold 16 MiB of every body for Portcullis (256 MiB before 1.36).",
				"Set http2_protocol_options.initial_stream_window_size to 65536 to 1048576.")
		}
		if !patch {
			l.breakers(c)
		}
		return
	}
	if l.allClusters {
		l.add(LevelError, "L26", g.path+".grpc_service.envoy_grpc.cluster_name", fmt.Sprintf("There is no cluster %q: every exchange fails, or passes if Envoy fails open.", name),
			"Define it, or correct the name.")
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

// http2Of returns how the cluster speaks HTTP/2, or nil if it does not.
func http2Of(c *clusterv3.Cluster) *corev3.Http2ProtocolOptions {
	o := &httpv3.HttpProtocolOptions{}
	if c.GetTypedExtensionProtocolOptions()[httpOptionsKey].UnmarshalTo(o) == nil {
		if h2 := o.GetExplicitHttpConfig().GetHttp2ProtocolOptions(); h2 != nil {
			return h2
		}
	}
	return c.GetHttp2ProtocolOptions() //nolint:staticcheck // deprecated, and still read by Envoy
}

// checkBuffers is for modes in which Envoy holds whole bodies.
func (l *lint) checkBuffers() {
	for _, g := range l.gates {
		m := g.m.GetProcessingMode()
		if m.GetRequestBodyMode() != buffered && m.GetResponseBodyMode() != buffered {
			continue
		}
		for _, n := range l.listeners {
			limit := int64(1 << 20)
			if n.m.GetPerConnectionBufferLimitBytes() != nil {
				limit = int64(n.m.GetPerConnectionBufferLimitBytes().GetValue())
			}
			path := n.path + ".per_connection_buffer_limit_bytes"
			if limit < l.MaxBodyBytes {
				l.add(LevelError, "L15", path, fmt.Sprintf("Bodies over %d bytes get 413 or 500; Portcullis' limit is %d.", limit, l.MaxBodyBytes),
					"Raise it, or take the duplex profile.")
			}
			const envelope = 64 << 10 // the message around the body
			if l.ReceiveLimit != 0 && l.ReceiveLimit < limit+envelope {
				l.add(LevelError, "L15", path, fmt.Sprintf("A body may have %d bytes, and Portcullis takes messages of %d.", limit, l.ReceiveLimit),
					"Lower it, or raise Portcullis' limit.")
			}
		}
	}
}

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
