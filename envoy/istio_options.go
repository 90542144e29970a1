package envoy

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// IstioOptions describe the EnvoyFilter objects for one workload of an Istio
// mesh, or for one gateway.
type IstioOptions struct {
	// Profile is [Duplex] when empty.
	Profile Profile
	// Name is the name of the objects; "portcullis" when empty.
	Name string
	// Namespace is where the workload or gateway runs. It must be given.
	Namespace string
	// Gateway puts the gate into an ingress or egress gateway. False puts it
	// before the workload's own container (the sidecar's inbound side).
	Gateway bool
	// Selector are the labels of the workload's or gateway's pods. It must be
	// given unless TargetGateway is: without either the filter would stand
	// before every pod of the namespace, Portcullis included.
	Selector map[string]string
	// TargetGateway is the name of a Gateway of the Gateway API, instead of Selector.
	TargetGateway string
	// Service, ServiceNamespace and Port say where Portcullis is;
	// "portcullis", "portcullis" and 9100 when empty.
	Service, ServiceNamespace string
	Port                      int
	// ClusterDomain is "cluster.local" when empty.
	ClusterDomain string
	// MaxBodyBytes, ScanTimeout, UploadTimeout and Policy are as in [Options].
	MaxBodyBytes               int64
	ScanTimeout, UploadTimeout time.Duration
	Policy                     string
	// Skip lists routes whose bodies are not scanned. Each is a hole in the
	// gate; [IstioYAML] writes an example as a comment when there is none.
	Skip []IstioRoute
	// Only lists the routes whose bodies are scanned, when it is not all of them:
	// the filter stands in the chain switched off, and these routes switch it on.
	// Whatever another route carries passes unscanned.
	Only []IstioRoute
}

// IstioRoute names a route as Istio does: for a gateway the virtual host is
// host:port and the route has the name of the VirtualService's route; for a
// sidecar they are "inbound|http|PORT" and "default".
type IstioRoute struct {
	VirtualHost, Route string
}

func (r IstioRoute) incomplete() bool {
	return strings.TrimSpace(r.VirtualHost) == "" || strings.TrimSpace(r.Route) == ""
}

func (o IstioOptions) withDefaults() IstioOptions {
	o.Name = orDefault(o.Name, "portcullis")
	o.Service = orDefault(o.Service, "portcullis")
	o.ServiceNamespace = orDefault(o.ServiceNamespace, "portcullis")
	o.Port = orDefault(o.Port, 9100)
	o.ClusterDomain = orDefault(o.ClusterDomain, "cluster.local")
	return o
}

func (o IstioOptions) gate() gate {
	return gate{
		profile: o.Profile, maxBody: o.MaxBodyBytes,
		scan: o.ScanTimeout, upload: o.UploadTimeout, policy: o.Policy,
	}.withDefaults()
}

// host is the full name of Portcullis' Service.
func (o IstioOptions) host() string {
	return o.Service + "." + o.ServiceNamespace + ".svc." + o.ClusterDomain
}

// cluster is the name that Istio gives the cluster of Portcullis' Service.
func (o IstioOptions) cluster() string { return fmt.Sprintf("outbound|%d||%s", o.Port, o.host()) }

var (
	dnsLabel   = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	dnsName    = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)
	labelKey   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9./_-]{0,315}$`)
	labelValue = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._-]{0,62})?$`)
)

// check returns every fault of o at once; o has its defaults.
func (o IstioOptions) check() error {
	errs := []error{o.gate().check()}
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if o.Namespace == "" {
		fault("namespace: is missing; give the namespace in which the workload or gateway runs")
	}
	for _, n := range []struct{ option, value string }{
		{"name", o.Name},
		{"namespace", orDefault(o.Namespace, "default")},
		{"service", o.Service},
		{"service namespace", o.ServiceNamespace},
		{"target gateway", orDefault(o.TargetGateway, "none")},
	} {
		if !dnsLabel.MatchString(n.value) {
			fault("%s: %q is no Kubernetes name; take lower-case letters, digits and '-', at most 63", n.option, n.value)
		}
	}
	if !dnsName.MatchString(o.ClusterDomain) {
		fault("cluster domain: %q is no domain; most clusters have cluster.local", o.ClusterDomain)
	}
	if o.Port < 1 || o.Port > 65535 {
		fault("port: %d is no port; give the one of Portcullis' Service, 9100 by default", o.Port)
	}
	switch {
	case len(o.Selector) == 0 && o.TargetGateway == "":
		fault("selector: is missing, and the filter would stand before every pod of the namespace; give the labels of the pods, as in app=shop")
	case len(o.Selector) > 0 && o.TargetGateway != "":
		fault("target gateway: Istio takes labels or a target, not both; leave one out")
	case o.TargetGateway != "" && !o.Gateway:
		fault("target gateway: is for gateways; ask for a gateway, or select the workload by labels")
	}
	for _, k := range slices.Sorted(maps.Keys(o.Selector)) {
		if !labelKey.MatchString(k) || !labelValue.MatchString(o.Selector[k]) {
			fault("selector: %q=%q is no Kubernetes label", k, o.Selector[k])
		}
	}
	for _, r := range o.Skip {
		if r.incomplete() {
			fault("skip: %+v needs a virtual host and a route; without them it would skip every route", r)
		}
	}
	for _, r := range o.Only {
		if r.incomplete() {
			fault("only: %+v needs a virtual host and a route; without them it would mean every route", r)
		}
	}
	if len(o.Skip) > 0 && len(o.Only) > 0 {
		fault("only: what is not listed is not scanned, so there is nothing to skip; leave one out")
	}
	return errors.Join(errs...)
}
