package envoy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// GatewayOptions describe the policies for one Gateway of Envoy Gateway, or for
// one of its routes.
type GatewayOptions struct {
	// Profile is [Duplex] when empty. [Adaptive] is refused: Envoy Gateway cannot
	// set what that profile needs.
	Profile Profile
	// Name is the name of the objects; "portcullis" when empty.
	Name string
	// Namespace is where the Gateway and the route are. It must be given.
	Namespace string
	// Gateway is the name of the Gateway. It must be given, also with Route: the
	// timers and buffers of a listener are the Gateway's.
	Gateway string
	// Listener limits the policies to one listener of the Gateway, by its name.
	Listener string
	// Route is the name of the only route that is scanned, instead of the whole
	// Gateway; RouteKind is HTTPRoute, as when empty, or GRPCRoute.
	Route, RouteKind string
	// Service, ServiceNamespace and Port say where Portcullis is;
	// "portcullis", "portcullis" and 9100 when empty.
	Service, ServiceNamespace string
	Port                      int
	// MaxBodyBytes, ScanTimeout and UploadTimeout are as in [Options].
	MaxBodyBytes               int64
	ScanTimeout, UploadTimeout time.Duration
}

func (o GatewayOptions) withDefaults() GatewayOptions {
	o.Name = orDefault(o.Name, "portcullis")
	o.RouteKind = orDefault(o.RouteKind, httpRoute)
	o.Service = orDefault(o.Service, "portcullis")
	o.ServiceNamespace = orDefault(o.ServiceNamespace, "portcullis")
	o.Port = orDefault(o.Port, 9100)
	return o
}

func (o GatewayOptions) gate() gate {
	return gate{profile: o.Profile, maxBody: o.MaxBodyBytes, scan: o.ScanTimeout, upload: o.UploadTimeout}.withDefaults()
}

// check returns every fault of o at once; o has its defaults.
func (o GatewayOptions) check() error {
	errs := []error{o.gate().check()}
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if o.Profile == Adaptive {
		fault("profile: adaptive needs gRPC metadata that tells Portcullis how far overrides are obeyed, and Envoy Gateway cannot set it; take duplex or buffered")
	}
	if o.Namespace == "" {
		fault("namespace: is missing; give the namespace of the Gateway")
	}
	if o.Gateway == "" {
		fault("gateway: is missing; give the name of the Gateway, also for one route")
	}
	for _, n := range []struct{ option, value string }{
		{"name", o.Name},
		{"namespace", orDefault(o.Namespace, "default")},
		{"service", o.Service},
		{"service namespace", o.ServiceNamespace},
	} {
		if !dnsLabel.MatchString(n.value) {
			fault("%s: %q is no Kubernetes name; take lower-case letters, digits and '-', at most 63", n.option, n.value)
		}
	}
	for _, n := range []struct{ option, value string }{
		{"gateway", orDefault(o.Gateway, "none")}, {"listener", orDefault(o.Listener, "none")}, {"route", orDefault(o.Route, "none")},
	} {
		if !dnsName.MatchString(n.value) {
			fault("%s: %q is no Kubernetes name; take lower-case letters, digits, '-' and '.'", n.option, n.value)
		}
	}
	if kinds := []string{httpRoute, "GRPCRoute"}; !slices.Contains(kinds, o.RouteKind) {
		fault("route kind: %q has no bodies that can be scanned; it is one of %s", o.RouteKind, strings.Join(kinds, ", "))
	}
	if o.Route != "" && o.Listener != "" {
		fault("listener: a route is scanned on every listener; leave one out")
	}
	if o.Port < 1 || o.Port > 65535 {
		fault("port: %d is no port; give the one of Portcullis' Service, 9100 by default", o.Port)
	}
	return errors.Join(errs...)
}
