package envoy

import (
	"strings"
	"testing"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
)

// A bad option is refused by name and with a way out.
func TestStaticRefuses(t *testing.T) {
	for _, c := range []struct {
		o            Options
		option, help string
	}{
		{Options{Profile: "streamed"}, "profile:", "duplex buffered adaptive"},
		{Options{Listen: "10000"}, "listen:", "write host:port"},
		{Options{Listen: ":10000"}, "listen:", "0.0.0.0:10000"},
		{Options{Listen: "localhost:10000"}, "listen:", "127.0.0.1:10000"},
		{Options{Listen: "unix:/run/x"}, "listen:", "IP address"},
		{Options{Listen: "127.0.0.1:http"}, "listen:", "host:port"},
		{Options{Listen: "127.0.0.1:70000"}, "listen:", "65535"},
		{Options{Listen: "::1:10000"}, "listen:", "[::1]"},
		{Options{Listen: "[::1:10000"}, "listen:", "brackets"},
		{Options{Upstream: "unix:/run/x"}, "upstream:", "host:port"},
		{Options{Upstream: "http://app:80"}, "upstream:", "host:port"},
		{Options{Upstream: "a/b:80"}, "upstream:", "host name"},
		{Options{Upstream: "app:0"}, "upstream:", "port of the service"},
		{Options{Upstream: "[app]:80"}, "upstream:", "host name"},
		{Options{Processor: "0.0.0.0:9100"}, "processor:", "127.0.0.1:9100"},
		{Options{Processor: "unix:run/x"}, "processor:", "absolute path"},
		{Options{Processor: "unix:/" + strings.Repeat("x", 107)}, "processor:", "107"},
		{Options{Admin: "admin:9901"}, "admin:", "127.0.0.1:9901"},
		{Options{Admin: "127.0.0.1:10000"}, "admin:", "another port"},
		{Options{Upstream: "127.0.0.1:10000"}, "upstream:", "another port"},
		{Options{Listen: "[::]:8080", Upstream: "[::1]:8080"}, "upstream:", "call itself"},
		{Options{Listen: "0.0.0.0:9100"}, "processor:", "call itself"},
		{Options{MaxBodyBytes: -1}, "max body:", "duplex"},
		{Options{MaxBodyBytes: maxBuffered + 1}, "max body:", "duplex"},
		{Options{ScanTimeout: -time.Second}, "scan timeout:", "policies"},
		{Options{ScanTimeout: time.Microsecond}, "scan timeout:", "100ms"},
		{Options{UploadTimeout: 25 * time.Hour}, "upload timeout:", "24h"},
		{Options{Policy: "a%b"}, "policy:", "letters"},
		{Options{Policy: "a\r\nb"}, "policy:", "letters"},
		{Options{MaxHeapBytes: 1000}, "max heap:", "0 for no bound"},
		{Options{AccessLog: "/tmp/a\nb"}, "access log:", "/dev/stdout"},
		{Options{StatPrefix: "a b"}, "stat prefix:", "letters"},
	} {
		for name, err := range map[string]error{"Static": second(Static(c.o)), "StaticYAML": second(StaticYAML(c.o))} {
			refused(t, name, c.o, err, c.option, c.help)
		}
	}
}

func TestIstioRefuses(t *testing.T) {
	good := IstioOptions{Namespace: "shop", Selector: map[string]string{"app": "shop"}}
	if _, err := IstioYAML(good); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		change       func(*IstioOptions)
		option, help string
	}{
		{func(o *IstioOptions) { o.Profile = "x" }, "profile:", "duplex"},
		{func(o *IstioOptions) { o.Namespace = "" }, "namespace:", "give the namespace"},
		{func(o *IstioOptions) { o.Namespace = "Shop" }, "namespace:", "lower-case"},
		{func(o *IstioOptions) { o.Name = "a b" }, "name:", "lower-case"},
		{func(o *IstioOptions) { o.Service = "-" }, "service:", "lower-case"},
		{func(o *IstioOptions) { o.ServiceNamespace = "a.b" }, "service namespace:", "lower-case"},
		{func(o *IstioOptions) { o.ClusterDomain = "a|b" }, "cluster domain:", "cluster.local"},
		{func(o *IstioOptions) { o.Port = 65536 }, "port:", "9100"},
		{func(o *IstioOptions) { o.Selector = nil }, "selector:", "app=shop"},
		{func(o *IstioOptions) { o.Gateway, o.TargetGateway = true, "gw" }, "target gateway:", "leave one out"},
		{func(o *IstioOptions) { o.Selector, o.TargetGateway = nil, "gw" }, "target gateway:", "select the workload"},
		{func(o *IstioOptions) { o.Selector = map[string]string{"a b": "c"} }, "selector:", "label"},
		{func(o *IstioOptions) { o.Selector = map[string]string{"a": "c\n"} }, "selector:", "label"},
		{func(o *IstioOptions) { o.Skip = []IstioRoute{{VirtualHost: "x"}} }, "skip:", "every route"},
		{func(o *IstioOptions) { o.MaxBodyBytes = -1 }, "max body:", "duplex"},
	} {
		o := good
		c.change(&o)
		_, err := IstioYAML(o)
		refused(t, "IstioYAML", o, err, c.option, c.help)
	}
}

func TestForwardProxyRefuses(t *testing.T) {
	for _, c := range []struct {
		o            ForwardProxyOptions
		option, help string
	}{
		{ForwardProxyOptions{Profile: "x"}, "profile:", "duplex"},
		{ForwardProxyOptions{Listen: "3128"}, "listen:", "host:port"},
		{ForwardProxyOptions{Name: "a b"}, "stat prefix:", "letters"},
		{ForwardProxyOptions{Admin: "127.0.0.1:3128"}, "admin:", "another port"},
		{ForwardProxyOptions{Tunnels: []string{"example.com"}}, "tunnel:", "host:port"},
		{ForwardProxyOptions{Tunnels: []string{"*"}}, "tunnel:", "host:port"},
		{ForwardProxyOptions{Tunnels: []string{"*:443"}}, "tunnel:", "host name"},
		{ForwardProxyOptions{Tunnels: []string{"a.*.com:443"}}, "tunnel:", "host name"},
		{ForwardProxyOptions{Tunnels: []string{"https://example.com:443"}}, "tunnel:", "host:port"},
		{ForwardProxyOptions{Tunnels: []string{"unix:/run/x"}}, "tunnel:", "host:port"},
		{ForwardProxyOptions{Tunnels: []string{"example.com:0"}}, "tunnel:", "example.com:443"},
		{ForwardProxyOptions{Tunnels: []string{"example.com:443", "Example.com:443"}}, "tunnel:", "twice"},
	} {
		_, err := ForwardProxyYAML(c.o)
		refused(t, "ForwardProxyYAML", c.o, err, c.option, c.help)
	}
}

func TestGatewayRefuses(t *testing.T) {
	good := GatewayOptions{Namespace: "edge", Gateway: "public"}
	if _, err := GatewayYAML(good); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		change       func(*GatewayOptions)
		option, help string
	}{
		{func(o *GatewayOptions) { o.Profile = "x" }, "profile:", "duplex"},
		{func(o *GatewayOptions) { o.Profile = Adaptive }, "profile:", "take duplex or buffered"},
		{func(o *GatewayOptions) { o.Namespace = "" }, "namespace:", "give the namespace"},
		{func(o *GatewayOptions) { o.Namespace = "a.b" }, "namespace:", "lower-case"},
		{func(o *GatewayOptions) { o.Gateway = "" }, "gateway:", "give the name"},
		{func(o *GatewayOptions) { o.Gateway = "A" }, "gateway:", "lower-case"},
		{func(o *GatewayOptions) { o.Listener = "a b" }, "listener:", "lower-case"},
		{func(o *GatewayOptions) { o.Listener, o.Route = "https", "uploads" }, "listener:", "leave one out"},
		{func(o *GatewayOptions) { o.Route = "-" }, "route:", "lower-case"},
		{func(o *GatewayOptions) { o.Route, o.RouteKind = "db", "TCPRoute" }, "route kind:", "HTTPRoute, GRPCRoute"},
		{func(o *GatewayOptions) { o.Name = "a b" }, "name:", "lower-case"},
		{func(o *GatewayOptions) { o.Service = "-" }, "service:", "lower-case"},
		{func(o *GatewayOptions) { o.ServiceNamespace = "a.b" }, "service namespace:", "lower-case"},
		{func(o *GatewayOptions) { o.Port = -1 }, "port:", "9100"},
		{func(o *GatewayOptions) { o.MaxBodyBytes = -1 }, "max body:", "duplex"},
	} {
		o := good
		c.change(&o)
		_, err := GatewayYAML(o)
		refused(t, "GatewayYAML", o, err, c.option, c.help)
	}
}

func refused(t *testing.T, who string, options any, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s took %+v", who, options)
		return
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%s(%+v): %q does not say %q", who, options, err, w)
		}
	}
}

func TestEveryFaultAtOnce(t *testing.T) {
	_, err := Static(Options{Profile: "x", Listen: "x", Upstream: "x", Processor: "x", MaxBodyBytes: -1})
	refused(t, "Static", "five faults", err, "profile:", "listen:", "upstream:", "processor:", "max body:")
}

// Envoy's timers must leave Portcullis the first word, whatever its policies say.
func TestTimersOutlastPortcullis(t *testing.T) {
	for _, scan := range []time.Duration{minTimeout, time.Second, 30 * time.Second, maxScan} {
		for _, upload := range []time.Duration{minTimeout, time.Minute, maxUpload} {
			g := gate{scan: scan, upload: upload}.withDefaults()
			timers := g.timers()
			if timers.message < scan+time.Second {
				t.Errorf("scan %v: message_timeout %v", scan, timers.message)
			}
			if timers.idle <= upload+scan+2*time.Second || timers.idle <= timers.leg {
				t.Errorf("scan %v, upload %v: idle %v", scan, upload, timers.idle)
			}
			if timers.exchange <= 2*timers.idle-slack*4 || timers.exchange < 2*(upload+scan) {
				t.Errorf("scan %v, upload %v: exchange %v", scan, upload, timers.exchange)
			}
			if err := validate(g.filter("x")); err != nil {
				t.Errorf("scan %v, upload %v: %v", scan, upload, err)
			}
			if f := g.filter("x"); f.GetMaxMessageTimeout().AsDuration() < f.GetMessageTimeout().AsDuration() {
				t.Errorf("scan %v, upload %v: max_message_timeout %v", scan, upload, f.GetMaxMessageTimeout())
			}
		}
	}
}

// Whatever Portcullis may choose must withhold the headers and see the end.
func TestEveryModeIsSafe(t *testing.T) {
	for _, p := range Profiles() {
		f := gate{profile: p}.withDefaults().filter("x")
		if f.GetFailureModeAllow() || f.GetObservabilityMode() || f.GetDisableImmediateResponse() {
			t.Errorf("%s: fails open or cannot block", p)
		}
		if f.GetAllowModeOverride() != (p == Adaptive) || (len(f.GetAllowedOverrideModes()) > 0) != (p == Adaptive) {
			t.Errorf("%s: overrides are for the adaptive profile, and for it within a list", p)
		}
		for _, m := range append(f.GetAllowedOverrideModes(), f.GetProcessingMode()) {
			if m.GetRequestHeaderMode() != extprocv3.ProcessingMode_SEND || m.GetResponseHeaderMode() != extprocv3.ProcessingMode_SEND ||
				m.GetRequestTrailerMode() != extprocv3.ProcessingMode_SEND || m.GetResponseTrailerMode() != extprocv3.ProcessingMode_SEND {
				t.Errorf("%s: %v does not send headers and trailers", p, m)
			}
			for _, body := range []extprocv3.ProcessingMode_BodySendMode{m.GetRequestBodyMode(), m.GetResponseBodyMode()} {
				switch body {
				case extprocv3.ProcessingMode_FULL_DUPLEX_STREAMED, extprocv3.ProcessingMode_BUFFERED:
				case extprocv3.ProcessingMode_NONE:
					if p != Adaptive {
						t.Errorf("%s: %v leaves a body unscanned", p, m)
					}
				default:
					t.Errorf("%s: %v releases bytes before the verdict", p, m)
				}
			}
		}
	}
}

func second[T any](_ T, err error) error { return err }
