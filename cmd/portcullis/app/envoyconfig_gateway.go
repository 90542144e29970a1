package app

import (
	"time"

	"github.com/portcullis-av/portcullis/envoy"
)

// envoyGatewayCommand has no policy and no adaptive profile: Envoy Gateway has
// no way to set what they need.
type envoyGatewayCommand struct {
	Profile          string        `enum:"duplex,buffered" default:"duplex" help:"How Envoy delivers bodies: duplex (every size) or buffered (small bodies)."`
	MaxBodyBytes     int64         `default:"0" placeholder:"BYTES" help:"Largest body of the buffered profile; 32 MiB if not given."`
	ScanTimeout      time.Duration `default:"30s" help:"The longest scan_timeout of your policies."`
	UploadTimeout    time.Duration `default:"5m" help:"The longest upload_timeout of your policies."`
	Name             string        `default:"portcullis" help:"Name of the objects."`
	Namespace        string        `required:"" help:"Namespace of the Gateway."`
	Gateway          string        `required:"" help:"Name of the Gateway."`
	Listener         string        `placeholder:"NAME" help:"Only this listener of the Gateway."`
	Route            string        `placeholder:"NAME" help:"Only this route, rather than everything behind the Gateway."`
	RouteKind        string        `enum:"HTTPRoute,GRPCRoute" default:"HTTPRoute" help:"Kind of the route: HTTPRoute or GRPCRoute."`
	Service          string        `default:"portcullis" help:"Portcullis' Service."`
	ServiceNamespace string        `default:"portcullis" help:"Its namespace."`
	Port             int           `default:"9100" help:"Its gRPC port."`
}

// Help is shown by --help.
func (envoyGatewayCommand) Help() string {
	return `Example:
  portcullis envoy-config gateway --namespace edge --gateway public | kubectl apply -f -`
}

// Run prints the configuration.
func (c envoyGatewayCommand) Run(p Process) error {
	text, err := envoy.GatewayYAML(envoy.GatewayOptions{
		Profile: envoy.Profile(c.Profile), MaxBodyBytes: c.MaxBodyBytes, ScanTimeout: c.ScanTimeout, UploadTimeout: c.UploadTimeout,
		Name: c.Name, Namespace: c.Namespace, Gateway: c.Gateway, Listener: c.Listener, Route: c.Route, RouteKind: c.RouteKind,
		Service: c.Service, ServiceNamespace: c.ServiceNamespace, Port: c.Port,
	})
	if err != nil {
		return err
	}
	_, err = p.Stdout.Write(text)
	return err
}
