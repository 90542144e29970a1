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
	// path is where perRoute stands.
	path string
}

// settingOf reads an entry, bare or inside a FilterConfig.
func settingOf(path string, a *anypb.Any) setting {
	if a == nil {
		return setting{}
	}
	c, p := &routev3.FilterConfig{}, &extprocv3.ExtProcPerRoute{}
	s := setting{said: true, path: path}
	if a.UnmarshalTo(c) == nil {
		s.off, s.path = c.GetDisabled(), path+".config"
		a = c.GetConfig()
	}
	if at, ok := openInto(s.path, a, p); ok {
		s.perRoute, s.path = p, at
		s.off = s.off || p.GetDisabled()
	}
	return s
}

// scanned reports whether g works on r: the most specific setting decides.
func (r routeAt) scanned(g gateAt) bool {
	on := !g.off
	for _, settings := range r.above {
		if s := settingOf("", settings[g.name]); s.said {
			on = !s.off
		}
	}
	return on
}

// switches looks at which routes are scanned at all. A gate can stand in the chain
// switched off, as Envoy Gateway writes it: a route without a word of its own is
// not scanned.
func (l *lint) switches(m manager, routes []routeAt) {
	waiting := 0
	for _, g := range m.gates {
		if g.off {
			waiting++
		}
	}
	asleep := waiting > 0 && waiting == len(m.gates)
	var holes []routeAt
	used, on := 0, 0
	for _, r := range routes {
		if r.m.GetRoute() == nil {
			continue
		}
		used++
		scans, duplexes := 0, 0
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
		case duplexes > 1 && waiting > 0:
			l.add(LevelError, "L14", r.path+".typed_per_filter_config", "Two duplex processors on one route truncate or stall bodies.", "Keep one.")
		}
		on += scans
	}
	switch {
	case len(m.gates) == 0 || !m.routesKnown || on > 0 && !asleep:
	case on == 0 && asleep:
		l.add(LevelError, "L6", m.path+".http_filters", "The ext_proc filter is switched off (disabled), and no route switches it on: nothing is scanned.", "Remove disabled, or switch it on in the routes.")
	case on == 0 && used > 0:
		l.add(LevelError, "L6", m.path+".http_filters", "Every route switches the ext_proc filter off: nothing is scanned.", "Leave it on for the routes whose bodies shall be scanned.")
	default:
		for _, r := range holes {
			l.add(LevelWarn, "L10", r.path, fmt.Sprintf("The ext_proc filter is switched off in the chain, and this route does not switch it on: it is not scanned. In Envoy Gateway %s", replaces),
				"Set mergeType: StrategicMerge in the route's own EnvoyExtensionPolicy, if that is the cause.")
		}
	}
}

const replaces = "a route's own EnvoyExtensionPolicy replaces the Gateway's."
