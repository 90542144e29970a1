package envoy

import (
	"fmt"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

// setting is what a typed_per_filter_config entry says about a filter: nothing,
// on or off, and with which settings of its own.
type setting struct {
	said, off bool
	perRoute  *extprocv3.ExtProcPerRoute
}

// settingOf reads an entry, bare or inside a FilterConfig.
func settingOf(a *anypb.Any) setting {
	if a == nil {
		return setting{}
	}
	c, p := &routev3.FilterConfig{}, &extprocv3.ExtProcPerRoute{}
	s := setting{said: true}
	if a.UnmarshalTo(c) == nil {
		s.off = c.GetDisabled()
		a = c.GetConfig()
	}
	if a.UnmarshalTo(p) == nil {
		s.perRoute = p
		s.off = s.off || p.GetDisabled()
	}
	return s
}

// scanned reports whether g works on r: the most specific setting decides.
func (r routeAt) scanned(g gateAt) bool {
	on := !g.off
	for _, settings := range r.above {
		if s := settingOf(settings[g.name]); s.said {
			on = !s.off
		}
	}
	return on
}

// switches looks at gates that stand in the chain switched off, as Envoy Gateway
// writes them: a route without a word of its own is not scanned.
func (l *lint) switches(m manager, routes []routeAt) {
	waiting, on := 0, 0
	for _, g := range m.gates {
		if g.off {
			waiting++
		}
	}
	if waiting == 0 || waiting < len(m.gates) || !m.routesKnown {
		return
	}
	var holes []routeAt
	for _, r := range routes {
		if r.m.GetRoute() == nil {
			continue
		}
		duplexes := 0
		scans := 0
		for _, g := range m.gates {
			if r.scanned(g) {
				scans++
				if hasDuplex(g.m) {
					duplexes++
				}
			}
		}
		switch {
		case scans == 0:
			holes = append(holes, r)
		case duplexes > 1:
			l.add(LevelError, "L14", r.path+".typed_per_filter_config", "Two duplex processors on one route truncate or stall bodies.", "Keep one.")
		}
		on += scans
	}
	if on == 0 {
		l.add(LevelError, "L6", m.path+".http_filters", "The ext_proc filter is switched off (disabled), and no route switches it on: nothing is scanned.", "Remove disabled, or switch it on in the routes.")
		return
	}
	for _, r := range holes {
		l.add(LevelWarn, "L10", r.path, fmt.Sprintf("The ext_proc filter is switched off in the chain, and this route does not switch it on: it is not scanned. In Envoy Gateway %s", replaces),
			"Set mergeType: StrategicMerge in the route's own EnvoyExtensionPolicy, if that is the cause.")
	}
}

const replaces = "a route's own EnvoyExtensionPolicy replaces the Gateway's."
