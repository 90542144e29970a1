package envoy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/durationpb"
)

// checkManagers holds the rules for what stands around the filter.
func (l *lint) checkManagers() {
	for _, m := range l.managers {
		if !m.gated {
			continue
		}
		l.streamTimers(m)
		l.tunnels(m)
		l.order(m)
		l.bufferFilters(m)
		if m.m.GetProxy_100Continue() {
			l.add(LevelWarn, "L24", m.path+".proxy_100_continue", "A client that waits for 100 Continue waits for a service that does not have the headers yet.", "Remove it.")
		}
	}
	for _, r := range l.routes {
		l.route(r)
	}
}

func (l *lint) streamTimers(m manager) {
	idle := m.m.GetStreamIdleTimeout()
	unset := idle == nil && !m.fragment
	if unset {
		idle = durationpb.New(5 * time.Minute)
	}
	if d := m.m.GetRequestTimeout().AsDuration(); d != 0 && d <= l.leg() {
		l.add(LevelError, "L9", m.path+".request_timeout", fmt.Sprintf("%v runs while an upload is held, which may take %v.", d, l.leg()),
			fmt.Sprintf("Set more than %v, or remove it.", l.leg()))
	}
	if d := idle.AsDuration(); d != 0 && d <= l.leg() {
		l.add(LevelError, "L9", m.path+".stream_idle_timeout", fmt.Sprintf("After %v of silence Envoy ends the exchange, and a held body is silent for up to %v.", d, l.leg()),
			fmt.Sprintf("Set more than %v, Portcullis' upload and scan timeout.", l.leg()))
	}
	longest := m.m.GetCommonHttpProtocolOptions().GetMaxStreamDuration()
	path := m.path + ".common_http_protocol_options.max_stream_duration"
	switch {
	case longest.AsDuration() == 0:
		l.add(LevelWarn, "L9", path, "Nothing ends an exchange if Portcullis hangs while Envoy itself answers.", fmt.Sprintf("Set several times %v.", l.leg()))
	case longest.AsDuration() <= 2*l.leg():
		l.add(LevelError, "L9", path, fmt.Sprintf("%v is less than both legs may be held.", longest.AsDuration()), fmt.Sprintf("Set more than %v.", 2*l.leg()))
	}
}

func (l *lint) tunnels(m manager) {
	for i, u := range m.m.GetUpgradeConfigs() {
		if strings.EqualFold(u.GetUpgradeType(), "CONNECT") {
			if m.m.GetRds() != nil && !m.routesKnown {
				l.tunnel(fmt.Sprintf("%s.upgrade_configs[%d]", m.path, i), u.GetUpgradeType())
			}
			continue // the routes say what becomes of it
		}
		if u.GetEnabled() == nil || u.GetEnabled().GetValue() {
			l.tunnel(fmt.Sprintf("%s.upgrade_configs[%d]", m.path, i), u.GetUpgradeType())
		}
	}
}

func (l *lint) tunnel(path, kind string) {
	if kind == noUpgrade {
		return // our own way to say that there are none
	}
	l.add(LevelWarn, "L11", path, fmt.Sprintf("A tunnel (%s) has no body that ends: it hangs at the gate, or passes around it unscanned.", kind),
		"Remove it, or give it a chain without the gate and accept that nothing in it is scanned.")
}

func (l *lint) route(r routeAt) {
	action := r.m.GetRoute()
	if action == nil {
		return
	}
	if r.m.GetMatch().GetConnectMatcher() != nil {
		l.tunnel(r.path+".match.connect_matcher", "CONNECT")
	}
	for i, u := range action.GetUpgradeConfigs() {
		if u.GetEnabled() == nil || u.GetEnabled().GetValue() {
			l.tunnel(fmt.Sprintf("%s.route.upgrade_configs[%d]", r.path, i), u.GetUpgradeType())
		}
	}
	if l.unscanned(r) {
		return
	}
	if action.GetRetryPolicy() != nil {
		l.retries(r.path + ".route")
	}
	timeout := 15 * time.Second
	if t := action.GetTimeout(); t != nil || r.fragment {
		timeout = t.AsDuration()
	}
	for _, t := range []struct {
		field string
		d     time.Duration
	}{
		{"timeout", timeout},
		{"idle_timeout", action.GetIdleTimeout().AsDuration()},
		{"max_stream_duration.max_stream_duration", action.GetMaxStreamDuration().GetMaxStreamDuration().AsDuration()},
	} {
		if t.d != 0 && t.d <= l.leg() {
			l.add(LevelError, "L9", r.path+".route."+t.field, fmt.Sprintf("%v runs while a body is held, which may take %v.", t.d, l.leg()),
				"Set 0s, and max_stream_duration of the connection manager as the limit.")
		}
	}
}

// unscanned reports a route on which no gate works, and one of its settings or
// the chain says so.
func (l *lint) unscanned(r routeAt) bool {
	for _, g := range l.gates {
		if r.scanned(g) {
			return false
		}
	}
	return len(l.gates) > 0
}

func (l *lint) retries(path string) {
	l.add(LevelError, "L20", path+".retry_policy", "With a streamed body Envoy can deliver it twice, in one request.", "Remove it.")
}

// authenticators decide who may come in; scanning before them is work for strangers.
func authenticators() []string {
	return []string{"jwt_authn", "ext_authz", "oauth2", "basic_auth", "api_key_auth", "rbac"}
}

// rewriters may change bytes on both legs; on one of them that is after the
// scan, wherever they stand.
func rewriters() []string {
	return []string{
		"lua", "wasm", "golang", "dynamic_modules", "transform", "grpc_web",
		"grpc_json_transcoder", "grpc_json_reverse_transcoder", "grpc_http1_bridge", "grpc_http1_reverse_bridge", "connect_grpc_bridge",
	}
}

// order looks at the chain: requests pass it downwards, responses upwards.
func (l *lint) order(m manager) {
	first, duplexes := -1, 0
	seen := map[string]bool{}
	for i, f := range m.m.GetHttpFilters() {
		path := fmt.Sprintf("%s.http_filters[%d]", m.path, i)
		kind := filterKind(f)
		p, isGate := m.gateOf(path) // see switches for those that are off
		if !isGate && kind == "ext_proc" && !f.GetDisabled() {
			p = &extprocv3.ExternalProcessor{} // of somebody else
			_, _ = openInto("", f.GetTypedConfig(), p)
		}
		cluster := p.GetGrpcService().GetEnvoyGrpc().GetClusterName()
		if hasDuplex(p) {
			duplexes++
		}
		switch {
		case hasDuplex(p) && duplexes > 1:
			l.add(LevelError, "L14", path, "Two duplex processors in one chain truncate or stall bodies.", "Keep one.")
		case isGate && seen[cluster]:
			l.add(LevelError, "L28", path, "The same processor stands in the chain twice: every body is scanned twice.", "Remove one.")
		case isGate:
			first = max(first, i)
		case first < 0 && (kind == "cache" || kind == "cache_v2"):
			l.add(LevelWarn, "L14", path, "Cached responses are served without the gate, with yesterday's verdict.", "List it after the gate.")
		case first >= 0 && slices.Contains(authenticators(), kind):
			l.add(LevelWarn, "L14", path, "Bodies of strangers are held and scanned before this filter refuses them.", "List it before the gate.")
		case slices.Contains(rewriters(), kind), changesBodies(p):
			l.add(LevelWarn, "L14", path, "It may change bytes after the scan, on one leg wherever it stands.", "Remove it, or make sure that it leaves bodies alone.")
		}
		seen[cluster] = seen[cluster] || isGate
	}
}

// gateOf is the gate that a filter is or holds, unless it is switched off.
func (m manager) gateOf(path string) (*extprocv3.ExternalProcessor, bool) {
	for _, g := range m.gates {
		if g.filter == path && !g.off {
			return g.m, true
		}
	}
	return nil, false
}

func changesBodies(p *extprocv3.ExternalProcessor) bool {
	m := p.GetProcessingMode()
	return m.GetRequestBodyMode() != none || m.GetResponseBodyMode() != none || p.GetAllowModeOverride()
}

func hasDuplex(p *extprocv3.ExternalProcessor) bool {
	for _, m := range append(p.GetAllowedOverrideModes(), p.GetProcessingMode()) {
		if m.GetRequestBodyMode() == duplex || m.GetResponseBodyMode() == duplex {
			return true
		}
	}
	return false
}

// filterKind is the short name of a filter, by its type: envoy.extensions.filters.http.KIND.v3.
func filterKind(f *hcmv3.HttpFilter) string {
	kind, ok := strings.CutPrefix(typeOf(f.GetTypedConfig()), "envoy.extensions.filters.http.")
	if !ok {
		return ""
	}
	kind, _, _ = strings.Cut(kind, ".")
	return kind
}
