package envoy

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// ForwardProxyOptions describe an Envoy through which clients reach the outside
// (http_proxy), with Portcullis on both legs. The zero value is a working
// configuration on the loopback interface.
type ForwardProxyOptions struct {
	// Profile is [Duplex] when empty.
	Profile Profile
	// Listen is the IP address and port that clients use as their proxy;
	// 127.0.0.1:3128 when empty. Port 0 lets the system choose.
	Listen string
	// Name names the proxy in its statistics and in the Via header, by which it
	// knows a request that comes back to it; "portcullis-egress" when empty.
	// Proxies behind one another need different names.
	Name string
	// Tunnels are the host:port pairs to which CONNECT opens a tunnel, which
	// nothing can scan; "*.example.com:443" stands for all hosts of a domain.
	// CONNECT to anything else is answered with 403.
	Tunnels []string
	// AllowLocal lets clients reach this machine's own addresses and link-local
	// ones, behind which are admin interfaces and a cloud's credentials.
	AllowLocal bool
	// Processor, Admin, MaxBodyBytes, ScanTimeout, UploadTimeout, Policy,
	// MaxHeapBytes and AccessLog are as in [Options].
	Processor, Admin           string
	MaxBodyBytes               int64
	ScanTimeout, UploadTimeout time.Duration
	Policy                     string
	MaxHeapBytes               int64
	AccessLog                  string
}

// options are what a forward proxy has in common with a reverse proxy.
// Paths and headers are the business of whoever is asked, so they stay as they are.
func (o ForwardProxyOptions) options() Options {
	return Options{
		Profile: o.Profile, Listen: orDefault(o.Listen, "127.0.0.1:3128"), StatPrefix: orDefault(o.Name, "portcullis-egress"),
		Processor: o.Processor, Admin: o.Admin, MaxBodyBytes: o.MaxBodyBytes, ScanTimeout: o.ScanTimeout, UploadTimeout: o.UploadTimeout,
		Policy: o.Policy, MaxHeapBytes: o.MaxHeapBytes, AccessLog: o.AccessLog, KeepPaths: true, AllowUnderscores: true,
	}.withDefaults()
}

// check returns every fault of o at once.
func (o ForwardProxyOptions) check() error {
	errs := []error{o.options().check()}
	seen := map[string]bool{}
	for _, t := range o.Tunnels {
		host := strings.TrimPrefix(t, "*.")
		e, err := splitEndpoint(host)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("tunnel: %w", err))
		case e.pipe != "" || e.port == 0:
			errs = append(errs, fmt.Errorf("tunnel: %q has no host and port; write host:port, as in example.com:443", t))
		case seen[strings.ToLower(t)]:
			errs = append(errs, fmt.Errorf("tunnel: %q is given twice", t))
		}
		seen[strings.ToLower(t)] = true
	}
	return errors.Join(errs...)
}
