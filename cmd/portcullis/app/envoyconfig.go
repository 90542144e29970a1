package app

import (
	"strings"
	"time"

	"github.com/portcullis-av/portcullis/envoy"
)

type envoyConfigCommand struct {
	Static  envoyStaticCommand  `cmd:"" help:"A whole Envoy with the gate in front of one upstream."`
	Istio   envoyIstioCommand   `cmd:"" help:"EnvoyFilters that put the gate into an Istio workload or gateway."`
	Gateway envoyGatewayCommand `cmd:"" help:"Policies that put the gate into an Envoy Gateway."`
	Forward envoyForwardCommand `cmd:"" name:"forward-proxy" help:"A whole Envoy through which clients reach the outside (http_proxy), with the gate."`
}

// envoyFlags are what every target asks.
type envoyFlags struct {
	Profile       string        `enum:"duplex,buffered,adaptive" default:"duplex" help:"How Envoy delivers bodies: duplex (every size), buffered (small bodies, meshes without duplex), adaptive (much traffic out of scope)."`
	MaxBodyBytes  int64         `default:"0" placeholder:"BYTES" help:"Largest body of the buffered profile; 32 MiB if not given."`
	ScanTimeout   time.Duration `default:"30s" help:"The longest scan_timeout of your policies."`
	UploadTimeout time.Duration `default:"5m" help:"The longest upload_timeout of your policies."`
	Policy        string        `placeholder:"NAME" help:"Policy for all of this traffic; otherwise your rules choose."`
}

type envoyStaticCommand struct {
	envoyFlags

	Listen        string `default:"127.0.0.1:10000" help:"Where Envoy listens."`
	Upstream      string `default:"127.0.0.1:8080" help:"The service behind the gate."`
	UpstreamHTTP2 bool   `name:"upstream-http2" help:"Speak HTTP/2 (h2c) to the service, as gRPC needs it."`
	Processor     string `default:"127.0.0.1:9100" help:"Where Portcullis listens: host:port or unix:/path."`
	Admin         string `placeholder:"ADDRESS" help:"Envoy's admin port; none if not given."`
	AccessLog     string `placeholder:"FILE" help:"Access log with the verdicts; none if not given."`
	MaxHeapBytes  int64  `placeholder:"BYTES" help:"Memory of Envoy; near it Envoy refuses requests. No bound if not given."`
}

// Help is shown by --help.
func (envoyStaticCommand) Help() string {
	return `Example:
  portcullis envoy-config static --upstream 127.0.0.1:8080 > envoy.yaml
  envoy --mode validate -c envoy.yaml`
}

// Run prints the configuration.
func (c envoyStaticCommand) Run(p Process) error {
	text, err := envoy.StaticYAML(c.options())
	if err != nil {
		return err
	}
	_, err = p.Stdout.Write(text)
	return err
}

func (c envoyStaticCommand) options() envoy.Options {
	return envoy.Options{
		Profile: envoy.Profile(c.Profile), Listen: c.Listen, Upstream: c.Upstream, UpstreamHTTP2: c.UpstreamHTTP2,
		Processor: c.Processor, Admin: c.Admin, AccessLog: c.AccessLog, MaxBodyBytes: c.MaxBodyBytes,
		ScanTimeout: c.ScanTimeout, UploadTimeout: c.UploadTimeout, Policy: c.Policy, MaxHeapBytes: c.MaxHeapBytes,
	}
}

type envoyIstioCommand struct {
	envoyFlags

	Name             string            `default:"portcullis" help:"Name of the EnvoyFilter objects."`
	Namespace        string            `required:"" help:"Namespace of the workload or gateway."`
	Gateway          bool              `help:"For an ingress or egress gateway rather than a workload's sidecar."`
	Selector         map[string]string `placeholder:"LABEL=VALUE" help:"Labels of the pods, such as app=shop; may be repeated."`
	TargetGateway    string            `placeholder:"NAME" help:"A Gateway of the Gateway API, instead of --selector."`
	Service          string            `default:"portcullis" help:"Portcullis' Service."`
	ServiceNamespace string            `default:"portcullis" help:"Its namespace."`
	Port             int               `default:"9100" help:"Its gRPC port."`
	Skip             []string          `sep:"none" placeholder:"VHOST/ROUTE" help:"A route that is not scanned, by Istio's names for it; may be repeated. Each is a hole in the gate."`
	Only             []string          `sep:"none" placeholder:"VHOST/ROUTE" help:"A route that is scanned, when not all of them shall be; may be repeated. Whatever another route carries passes unscanned."`
}

// Help is shown by --help.
func (envoyIstioCommand) Help() string {
	return `Example:
  portcullis envoy-config istio --namespace shop --selector app=shop | kubectl apply -f -`
}

// Run prints the configuration.
func (c envoyIstioCommand) Run(p Process) error {
	text, err := envoy.IstioYAML(envoy.IstioOptions{
		Profile: envoy.Profile(c.Profile), Name: c.Name, Namespace: c.Namespace, Gateway: c.Gateway, Selector: c.Selector,
		TargetGateway: c.TargetGateway, Service: c.Service, ServiceNamespace: c.ServiceNamespace, Port: c.Port,
		MaxBodyBytes: c.MaxBodyBytes, ScanTimeout: c.ScanTimeout, UploadTimeout: c.UploadTimeout, Policy: c.Policy,
		Skip: istioRoutes(c.Skip), Only: istioRoutes(c.Only),
	})
	if err != nil {
		return err
	}
	_, err = p.Stdout.Write(text)
	return err
}

// istioRoutes reads VHOST/ROUTE; what is missing is the generator's to refuse.
func istioRoutes(names []string) []envoy.IstioRoute {
	var routes []envoy.IstioRoute
	for _, n := range names {
		vhost, route, _ := strings.Cut(n, "/")
		routes = append(routes, envoy.IstioRoute{VirtualHost: vhost, Route: route})
	}
	return routes
}
