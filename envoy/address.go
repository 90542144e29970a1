package envoy

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
)

// endpoint is an address option taken apart.
type endpoint struct {
	pipe string // path of a Unix socket; then host and port are empty
	host string
	port uint32
}

// isName reports whether Envoy has to ask DNS for the endpoint.
func (e endpoint) isName() bool {
	_, err := netip.ParseAddr(e.host)
	return e.pipe == "" && err != nil
}

func (e endpoint) proto() *corev3.Address {
	if e.pipe != "" {
		return &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: e.pipe}}}
	}
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address:       e.host,
		PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: e.port},
	}}}
}

var hostname = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?$`)

// maxPipe is the longest path that fits a socket address on Linux.
const maxPipe = 107

// splitEndpoint takes host:port, [v6]:port or unix:/path.
func splitEndpoint(address string) (endpoint, error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		if !strings.HasPrefix(path, "/") || len(path) > maxPipe {
			return endpoint{}, fmt.Errorf("%q needs an absolute path of at most %d bytes, as in unix:/run/portcullis.sock", address, maxPipe)
		}
		return endpoint{pipe: path}, nil
	}
	if strings.Contains(address, "://") {
		return endpoint{}, fmt.Errorf("%q is a URL; write host:port alone", address)
	}
	at := strings.LastIndexByte(address, ':')
	if at < 0 {
		return endpoint{}, fmt.Errorf("%q has no port; write host:port", address)
	}
	host := address[:at]
	port, err := strconv.ParseUint(address[at+1:], 10, 16)
	if err != nil {
		return endpoint{}, fmt.Errorf("%q has no port between 0 and 65535 after its last colon; write host:port", address)
	}
	bare, bracketed := strings.CutPrefix(host, "[")
	bare, closed := strings.CutSuffix(bare, "]")
	if bracketed != closed || strings.Contains(bare, ":") && !bracketed {
		return endpoint{}, fmt.Errorf("%q: an IPv6 address stands in brackets, as in [::1]:9100", address)
	}
	if bare == "" {
		return endpoint{}, fmt.Errorf("%q has no host; write an address such as 127.0.0.1%s, or 0.0.0.0%s for all", address, address[at:], address[at:])
	}
	if _, err := netip.ParseAddr(bare); err != nil && (bracketed || !hostname.MatchString(bare)) {
		return endpoint{}, fmt.Errorf("%q: %q is neither an IP address nor a host name", address, bare)
	}
	return endpoint{host: bare, port: uint32(port)}, nil
}

// checkBind is for addresses that Envoy listens on.
func checkBind(option, address string) error {
	e, err := splitEndpoint(address)
	if err != nil {
		return fmt.Errorf("%s: %w", option, err)
	}
	if e.pipe != "" || e.isName() {
		return fmt.Errorf("%s: %q: Envoy listens on an IP address, not a name or path; write 127.0.0.1:%d, or 0.0.0.0:%d for all",
			option, address, e.port, e.port)
	}
	return nil
}

// checkDial is for addresses that Envoy connects to.
func checkDial(option, address string, unix bool) error {
	e, err := splitEndpoint(address)
	if err != nil {
		return fmt.Errorf("%s: %w", option, err)
	}
	if e.pipe != "" && !unix {
		return fmt.Errorf("%s: %q is a Unix socket; write host:port", option, address)
	}
	if e.pipe == "" && e.port == 0 {
		return fmt.Errorf("%s: %q: nothing listens on port 0; write the port of the service", option, address)
	}
	if ip, err := netip.ParseAddr(e.host); err == nil && ip.IsUnspecified() {
		return fmt.Errorf("%s: %q stands for all addresses and cannot be connected to; write 127.0.0.1:%d", option, address, e.port)
	}
	return nil
}

// addrPort is an address option with an IP address.
func addrPort(address string) (netip.AddrPort, bool) {
	a, err := netip.ParseAddrPort(address)
	return a, err == nil
}

// checkLoop is for addresses behind an Envoy, which must not be its own.
func checkLoop(option, address, listen string) error {
	to, ok := addrPort(address)
	own, bound := addrPort(listen)
	everywhere := own.Addr().IsUnspecified() && to.Addr().IsLoopback()
	if !ok || !bound || to.Port() != own.Port() || to.Addr() != own.Addr() && !everywhere {
		return nil
	}
	return fmt.Errorf("%s: %q is where Envoy itself listens, so that it would call itself without end; choose another port", option, address)
}

// mustEndpoint is for options that check has passed.
func mustEndpoint(address string) endpoint {
	e, err := splitEndpoint(address)
	if err != nil {
		panic("envoy: address was not checked: " + err.Error())
	}
	return e
}
