package envoy

import (
	"fmt"
	"slices"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
)

type processing = extprocv3.ProcessingMode

const (
	none     = extprocv3.ProcessingMode_NONE
	streamed = extprocv3.ProcessingMode_STREAMED
	buffered = extprocv3.ProcessingMode_BUFFERED
	partial  = extprocv3.ProcessingMode_BUFFERED_PARTIAL
	duplex   = extprocv3.ProcessingMode_FULL_DUPLEX_STREAMED
)

// checkGates holds the rules for the filter itself.
func (l *lint) checkGates() {
	for _, g := range l.gates {
		l.failure(g)
		if !g.fragment || g.m.GetProcessingMode() != nil {
			l.modes(g.path+".processing_mode", g.m.GetProcessingMode(), adaptive(g.m))
			l.messageTimers(g, g.m.GetProcessingMode())
		}
		for i, m := range g.m.GetAllowedOverrideModes() {
			l.modes(fmt.Sprintf("%s.allowed_override_modes[%d]", g.path, i), m, true)
		}
		if g.m.GetAllowModeOverride() && len(g.m.GetAllowedOverrideModes()) == 0 {
			l.add(LevelWarn, "L5", g.path+".allow_mode_override", "Any mode can be chosen by an answer, also none at all.",
				"List the modes in allowed_override_modes.")
		}
		l.mutations(g)
		l.attributes(g)
		if !g.fragment || g.m.GetForwardRules() != nil {
			l.forwarded(g)
		}
		if !g.fragment || g.m.GetGrpcService() != nil || g.m.GetHttpService() != nil {
			l.service(g)
		}
	}
}

func (l *lint) failure(g gateAt) {
	if g.m.GetFailureModeAllow() {
		l.add(LevelError, "L1", g.path+".failure_mode_allow", "Any failure, also one that a client provokes, lets the body pass unscanned.",
			"Set false, and fail: open in Portcullis' policy if that is wanted.")
	}
	if g.m.GetDisableImmediateResponse() {
		l.add(LevelError, "L2", g.path+".disable_immediate_response", "Portcullis cannot block: its answer becomes an error, before Envoy 1.35 a bypass.",
			"Remove it.")
	}
	if g.m.GetObservabilityMode() {
		l.add(LevelError, "L3", g.path+".observability_mode", "Envoy ignores every answer, so nothing is ever blocked.",
			"Remove it; to try Portcullis without blocking, set enforce: false in its policy.")
	}
}

// adaptive reports the one case in which a base without bodies is right.
func adaptive(p *extprocv3.ExternalProcessor) bool {
	m := p.GetProcessingMode()
	return p.GetAllowModeOverride() && m.GetRequestBodyMode() == none && m.GetResponseBodyMode() == none
}

// modes judges one processing mode; mayBeNone allows legs without a body.
func (l *lint) modes(path string, m *processing, mayBeNone bool) {
	l.legMode(path, "request", m.GetRequestBodyMode(), m.GetRequestHeaderMode(), m.GetRequestTrailerMode(), mayBeNone)
	l.legMode(path, "response", m.GetResponseBodyMode(), m.GetResponseHeaderMode(), m.GetResponseTrailerMode(), mayBeNone)
}

func (l *lint) legMode(path, leg string, body extprocv3.ProcessingMode_BodySendMode, headers, trailers extprocv3.ProcessingMode_HeaderSendMode, mayBeNone bool) {
	const skip, send = extprocv3.ProcessingMode_SKIP, extprocv3.ProcessingMode_SEND
	bodyPath := path + "." + leg + "_body_mode"
	switch body {
	case none:
		if !mayBeNone {
			l.add(LevelError, "L6", bodyPath, "The "+leg+" body is not sent to Portcullis; unset means NONE.", "Set FULL_DUPLEX_STREAMED.")
		}
	case partial:
		l.add(LevelError, "L4", bodyPath, "What is beyond the buffer limit passes unscanned.", "Set FULL_DUPLEX_STREAMED.")
	case streamed:
		l.add(LevelError, "L6", bodyPath, "Every chunk is released before the end of the body is seen; Portcullis refuses this mode.", "Set FULL_DUPLEX_STREAMED.")
	case buffered, duplex:
	default:
		l.add(LevelError, "L6", bodyPath, fmt.Sprintf("Envoy does not implement the mode %v for bodies.", body), "Set FULL_DUPLEX_STREAMED.")
	}
	if (body == duplex || body == streamed) && trailers != send {
		l.add(LevelError, "L7", path+"."+leg+"_trailer_mode", "The end of a body with trailers is never signalled, and the exchange hangs.", "Set SEND.")
	}
	if headers == skip {
		l.add(LevelError, "L19", path+"."+leg+"_header_mode", "The headers leave before the verdict, and a block can only cut the connection.", "Set SEND.")
	}
}

// messageTimers looks at the filter's timers for a mode in which they run.
func (l *lint) messageTimers(g gateAt, m *processing) {
	if m.GetRequestBodyMode() == duplex && m.GetResponseBodyMode() == duplex {
		return
	}
	if g.fragment && g.m.GetMessageTimeout() == nil {
		return
	}
	timeout := 200 * time.Millisecond
	if t := g.m.GetMessageTimeout(); t != nil {
		timeout = t.AsDuration()
	}
	if need := l.ScanTimeout + time.Second; timeout < need {
		l.add(LevelError, "L8", g.path+".message_timeout", fmt.Sprintf("%v is less than a scan may take: clean bodies get 504.", timeout),
			fmt.Sprintf("Set more than %v, Portcullis' scan timeout and a second.", need))
	}
	if g.m.GetMaxMessageTimeout().AsDuration() == 0 {
		l.add(LevelWarn, "L8", g.path+".max_message_timeout", "Portcullis cannot ask for more time; unset means never.", "Set it to at least message_timeout.")
	}
}

func (l *lint) mutations(g gateAt) {
	if g.m.GetAllowContentLengthHeader() {
		l.add(LevelInfo, "L12", g.path+".allow_content_length_header",
			"A processor that changes bodies could desynchronise the connection; Portcullis never does, and counts before it releases.",
			"Keep it for Portcullis alone.")
	}
	rules := g.m.GetMutationRules()
	if rules.GetAllowAllRouting().GetValue() {
		l.add(LevelWarn, "L16", g.path+".mutation_rules.allow_all_routing", "Portcullis sets its verdict header only and needs no routing header.", "Remove it.")
	}
	if rules.GetAllowEnvoy().GetValue() {
		l.add(LevelWarn, "L16", g.path+".mutation_rules.allow_envoy", "Portcullis sets its verdict header only and no x-envoy- header.", "Remove it.")
	}
	if rules.GetDisallowAll().GetValue() {
		l.add(LevelWarn, "L16", g.path+".mutation_rules.disallow_all", "The verdict header and the headers of block pages are lost.", "Remove it.")
	}
}

func (l *lint) service(g gateAt) {
	s := g.m.GetGrpcService()
	if g.m.GetHttpService() != nil {
		l.add(LevelError, "L6", g.path+".http_service", "Over HTTP Envoy sends headers only, never a body.", "Use grpc_service.")
		return
	}
	l.calls(g.path+".grpc_service", s)
	if s == nil {
		l.add(LevelError, "L6", g.path+".grpc_service", "There is no service to ask.", "Set envoy_grpc with the cluster of Portcullis.")
	}
}

// calls looks at how Envoy calls Portcullis, in the filter or on a route.
func (l *lint) calls(path string, s *corev3.GrpcService) {
	if s.GetGoogleGrpc() != nil {
		l.add(LevelError, "L21", path+".google_grpc", "This client has no flow control: bodies pile up in Envoy's memory.", "Use envoy_grpc.")
	}
	if s.GetRetryPolicy() != nil {
		l.add(LevelWarn, "L22", path+".retry_policy", "Envoy buffers what it sends in order to repeat it.", "Remove it.")
	}
	if s != nil {
		l.services = append(l.services, newAt(path, s))
	}
}

// checkPerRoute holds the rules for what routes change.
func (l *lint) checkPerRoute() {
	named := map[string][]gateAt{}
	for _, g := range l.gates {
		named[g.name] = append(named[g.name], g)
	}
	for _, r := range l.perRoute {
		said := settingOf(r.path, r.m)
		if said.perRoute != nil && len(named) > 0 && named[r.key] == nil && l.Filter == "" {
			l.add(LevelError, "L29", r.path, "No ext_proc filter has this name, so the setting has no effect.", "Use the filter's name in http_filters as the key.")
		}
		if named[r.key] == nil {
			continue
		}
		if said.off {
			l.add(LevelInfo, "L10", r.path, "Nothing on this route is scanned.", "Remove it unless that is wanted.")
		}
		l.overridden(said.path+".overrides", said.perRoute.GetOverrides(), named[r.key])
	}
}

func (l *lint) overridden(path string, o *extprocv3.ExtProcOverrides, gates []gateAt) {
	if o.GetFailureModeAllow().GetValue() {
		l.add(LevelError, "L1", path+".failure_mode_allow", "Any failure on this route lets the body pass unscanned.", "Remove it, and set fail: open in Portcullis' policy if that is wanted.")
	}
	if m := o.GetProcessingMode(); m != nil {
		l.modes(path+".processing_mode", m, slices.ContainsFunc(gates, func(g gateAt) bool { return adaptive(g.m) }))
		l.overrides = append(l.overrides, m)
		for _, g := range gates {
			l.messageTimers(g, m)
		}
	}
	l.calls(path+".grpc_service", o.GetGrpcService())
}
