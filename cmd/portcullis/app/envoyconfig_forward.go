package app

import "github.com/portcullis-av/portcullis/envoy"

type envoyForwardCommand struct {
	envoyFlags

	Listen       string   `default:"127.0.0.1:3128" help:"Where clients find the proxy."`
	Name         string   `default:"portcullis-egress" help:"Name in statistics and in the Via header; proxies behind one another need different ones."`
	Tunnel       []string `sep:"none" placeholder:"HOST:PORT" help:"A host to which CONNECT may open a tunnel, unscanned, such as example.com:443 or *.example.com:443; may be repeated. CONNECT to any other is refused."`
	AllowLocal   bool     `help:"Also fetch from this machine's own addresses and from link-local ones, such as a cloud's metadata service."`
	Processor    string   `default:"127.0.0.1:9100" help:"Where Portcullis listens: host:port or unix:/path."`
	Admin        string   `placeholder:"ADDRESS" help:"Envoy's admin port; none if not given."`
	AccessLog    string   `placeholder:"FILE" help:"Access log with the verdicts; none if not given."`
	MaxHeapBytes int64    `placeholder:"BYTES" help:"Memory of Envoy; near it Envoy refuses requests. No bound if not given."`
}

// Help is shown by --help.
func (envoyForwardCommand) Help() string {
	return `Only http:// URLs can be scanned. For https:// a client asks for a tunnel
(CONNECT), of which a proxy sees nothing; it is refused unless --tunnel names the host.

Example:
  portcullis envoy-config forward-proxy > envoy.yaml
  envoy -c envoy.yaml &
  http_proxy=http://127.0.0.1:3128 curl http://example.com/`
}

// Run prints the configuration.
func (c envoyForwardCommand) Run(p Process) error {
	text, err := envoy.ForwardProxyYAML(envoy.ForwardProxyOptions{
		Profile: envoy.Profile(c.Profile), Listen: c.Listen, Name: c.Name, Tunnels: c.Tunnel, AllowLocal: c.AllowLocal,
		Processor: c.Processor, Admin: c.Admin, MaxBodyBytes: c.MaxBodyBytes, ScanTimeout: c.ScanTimeout, UploadTimeout: c.UploadTimeout,
		Policy: c.Policy, MaxHeapBytes: c.MaxHeapBytes, AccessLog: c.AccessLog,
	})
	if err != nil {
		return err
	}
	_, err = p.Stdout.Write(text)
	return err
}
