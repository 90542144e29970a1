package envoy

import (
	"fmt"
	"slices"
	"time"
)

// buffers reports whether a policy lets Envoy hold whole bodies.
func (g gatewayRead) buffers() bool {
	return slices.ContainsFunc(listOf(g.get("spec", "extProc")), func(p any) bool {
		return at1(p, "processingMode", "request", "body") == "Buffered" || at1(p, "processingMode", "response", "body") == "Buffered"
	})
}

// listenerPolicies looks at the timers and buffers of listeners.
func (l *lint) listenerPolicies() {
	buffered := slices.ContainsFunc(l.gateway.extensions, gatewayRead.buffers)
	if len(l.gateway.clients) == 0 {
		l.add(LevelWarn, "L9", "(ClientTrafficPolicy)", fmt.Sprintf("None is given: by default Envoy ends an exchange after 5 min of silence, and a held body is silent for up to %v.", l.leg()),
			"Add the one that portcullis envoy-config gateway writes.")
		if buffered {
			l.add(LevelWarn, "L15", "(ClientTrafficPolicy)", "None is given: by default bodies over 32 KiB get 413 or 500 where they are buffered.",
				"Add the one that portcullis envoy-config gateway writes.")
		}
	}
	for _, g := range l.gateway.clients {
		l.known(g.prefix+"spec", g.get("spec"), "targetRef", "targetRefs", "targetSelectors", "tcpKeepalive", "enableProxyProtocol", "proxyProtocol", "clientIPDetection",
			"tls", "path", "headers", "timeout", "connection", "http1", "http2", "http3", "grpc", "healthCheck", "scheme")
		l.listenerTimers(g)
		if buffered {
			l.listenerBuffers(g)
		}
	}
}

func (l *lint) listenerTimers(g gatewayRead) {
	idle, ok := gatewayTime(g.get("spec", "timeout", "http", "streamIdleTimeout"))
	if !ok {
		idle = 5 * time.Minute
	}
	if idle != 0 && idle <= l.leg() {
		l.add(LevelError, "L9", g.prefix+"spec.timeout.http.streamIdleTimeout", fmt.Sprintf("After %v of silence Envoy ends the exchange, and a held body is silent for up to %v; unset it is 5 min.", idle, l.leg()),
			fmt.Sprintf("Set more than %v, Portcullis' upload and scan timeout.", l.leg()))
	}
	if d, _ := gatewayTime(g.get("spec", "timeout", "http", "requestReceivedTimeout")); d != 0 && d <= l.leg() {
		l.add(LevelError, "L9", g.prefix+"spec.timeout.http.requestReceivedTimeout", fmt.Sprintf("%v runs while an upload is held, which may take %v.", d, l.leg()),
			fmt.Sprintf("Set more than %v, or remove it.", l.leg()))
	}
	path := g.prefix + "spec.connection.connectionLimit.maxStreamDuration"
	longest, _ := gatewayTime(g.get("spec", "connection", "connectionLimit", "maxStreamDuration"))
	switch {
	case longest == 0:
		l.add(LevelWarn, "L9", path, "Nothing ends an exchange if Portcullis hangs while Envoy itself answers.", fmt.Sprintf("Set several times %v.", l.leg()))
	case longest <= 2*l.leg():
		l.add(LevelError, "L9", path, fmt.Sprintf("%v is less than both legs may be held.", longest), fmt.Sprintf("Set more than %v.", 2*l.leg()))
	}
}

func (l *lint) listenerBuffers(g gatewayRead) {
	limit, path := int64(32<<10), g.prefix+"spec.connection.bufferLimit"
	if v := g.get("spec", "connection", "bufferLimit"); v != nil {
		limit = quantity(v)
	}
	if limit <= 32<<10 || limit < l.MaxBodyBytes {
		l.add(LevelError, "L15", path, fmt.Sprintf("Buffered bodies over %d bytes get 413 or 500; unset it is 32 KiB.", limit), "Raise it, or take the duplex profile.")
	}
	if l.ReceiveLimit != 0 && l.ReceiveLimit < limit+envelope {
		l.add(LevelError, "L15", path, fmt.Sprintf("A body may have %d bytes, and Portcullis takes messages of %d.", limit, l.ReceiveLimit), "Lower it, or raise Portcullis' limit.")
	}
}

// routePolicies looks at the timers, retries and tunnels of routes.
func (l *lint) routePolicies() {
	if len(l.gateway.backends) == 0 {
		l.add(LevelWarn, "L9", "(BackendTrafficPolicy)", "None is given: by default Envoy ends a response after 15 s, held or not, and lets WebSockets through.",
			"Add the one that portcullis envoy-config gateway writes.")
	}
	for _, g := range l.gateway.backends {
		l.backendTimers(g)
		if g.get("spec", "retry") != nil {
			l.add(LevelError, "L20", g.prefix+"spec.retry", "With a streamed body Envoy can deliver it twice, in one request.", "Remove it.")
		}
		upgrades := listOf(g.get("spec", "httpUpgrade"))
		if len(upgrades) == 0 && g.get("spec", "mergeType") == nil {
			l.tunnel(g.prefix+"spec.httpUpgrade", "unset: WebSocket")
		}
		for i, u := range upgrades {
			l.tunnel(fmt.Sprintf("%sspec.httpUpgrade[%d]", g.prefix, i), fmt.Sprint(at1(u, "type")))
		}
	}
	for _, g := range l.gateway.routes {
		for i, rule := range listOf(g.get("spec", "rules")) {
			path := fmt.Sprintf("%sspec.rules[%d]", g.prefix, i)
			for _, field := range []string{"request", "backendRequest"} {
				d, _ := gatewayTime(at1(rule, "timeouts", field))
				l.routeTimer(path+".timeouts."+field, d)
			}
			if at1(rule, "retry") != nil {
				l.add(LevelError, "L20", path+".retry", "With a streamed body Envoy can deliver it twice, in one request.", "Remove it.")
			}
		}
	}
}

func (l *lint) backendTimers(g gatewayRead) {
	path := g.prefix + "spec.timeout.http."
	request, given := gatewayTime(g.get("spec", "timeout", "http", "requestTimeout"))
	if !given && g.get("spec", "mergeType") == nil {
		request = 15 * time.Second
	}
	l.routeTimer(path+"requestTimeout", request)
	for _, field := range []string{"streamIdleTimeout", "maxStreamDuration"} {
		d, _ := gatewayTime(g.get("spec", "timeout", "http", field))
		l.routeTimer(path+field, d)
	}
}

func (l *lint) routeTimer(path string, d time.Duration) {
	if d != 0 && d <= l.leg() {
		l.add(LevelError, "L9", path, fmt.Sprintf("%v runs while a body is held, which may take %v.", d, l.leg()),
			"Set 0s, and maxStreamDuration in the ClientTrafficPolicy as the limit.")
	}
}
