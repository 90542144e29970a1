package e2e_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/portcullis-av/portcullis/e2e/client"
	"github.com/portcullis-av/portcullis/e2e/origin"
	"github.com/portcullis-av/portcullis/e2e/payload"
	"github.com/portcullis-av/portcullis/e2e/rig"
	"github.com/portcullis-av/portcullis/envoy"
)

// startEgress puts a forward proxy between the client and an origin outside.
func startEgress(t *testing.T, o envoy.ForwardProxyOptions) *gate {
	t.Helper()
	p := startPortcullis(t, rig.PortcullisOptions{})
	o.Listen, o.Admin, o.Processor = "127.0.0.1:0", "127.0.0.1:0", p.ExtProc
	config, err := envoy.ForwardProxyYAML(o)
	if err != nil {
		t.Fatal(err)
	}
	e, address := startEnvoyWith(t, config)
	outside := startOrigin(t)
	return &gate{name: string(o.Profile), address: outside.Address(), proxy: address, envoy: e, portcullis: p, origin: outside}
}

// A client that asks by http_proxy gets the same gate on both legs as one that
// asks a reverse proxy, in every profile.
func TestEgressBlocks(t *testing.T) {
	for _, profile := range profiles() {
		t.Run(string(profile), func(t *testing.T) {
			t.Parallel()
			g := startEgress(t, envoy.ForwardProxyOptions{Profile: profile, AllowLocal: true})
			for _, f := range framings() {
				for name := range infected("") {
					g.blocksUpload(t, "x", client.HTTP1, f, name)
					g.blocksDownload(t, "x", client.HTTP1, f, name)
				}
				for _, size := range []int64{1, 10 << 10, 1 << 20} {
					g.crosses(t, "x", client.HTTP1, f, payload.Random(uint64(size), size))
				}
			}
		})
	}
}

// curl, told by the environment, as a user would.
func TestEgressWithCurl(t *testing.T) {
	t.Parallel()
	curl, err := exec.LookPath("curl")
	if err != nil {
		missing(t, "no curl")
	}
	g := startEgress(t, envoy.ForwardProxyOptions{AllowLocal: true})
	clean, id := payload.Random(7, 300<<10), newID()
	for _, c := range []struct {
		path   string
		body   payload.Body
		status string
		sum    [sha256.Size]byte
	}{
		{"/clean", clean, "200", clean.SHA256()},
		{"/infected", payload.InfectedForm(id, 20<<10), "403", [sha256.Size]byte{}},
	} {
		file := filepath.Join(t.TempDir(), "body")
		exchange := newID()
		g.origin.Expect(exchange, origin.Answer{Body: c.body})
		cmd := exec.CommandContext(t.Context(), curl, "-sS", "-m", "30", "-o", file, "-w", "%{http_code}",
			"-H", origin.IDHeader+": "+exchange, "http://"+g.address+c.path)
		cmd.Env = append(os.Environ(), "http_proxy=http://"+g.proxy, "no_proxy=", "NO_PROXY=")
		out, err := cmd.CombinedOutput()
		if err != nil || string(out) != c.status {
			t.Errorf("%s: curl says %s, error %v", c.path, out, err)
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case c.status == "200" && sha256.Sum256(got) != c.sum:
			t.Errorf("%s: %d bytes, not those of the origin", c.path, len(got))
		case c.status == "403" && (bytes.Contains(got, []byte(id)) || bytes.Contains(got, payload.EICAR()) || !bytes.Contains(got, []byte(`"INFECTED"`))):
			t.Errorf("%s: LEAK or no answer of Portcullis': %q", c.path, got[:min(len(got), 200)])
		}
		if _, arrived := g.origin.Seen(exchange); !arrived {
			t.Errorf("%s: the origin was not asked: curl took no proxy, or the proxy nothing", c.path)
		}
	}
}

// What a proxy must add is added, and what is none of the outside's business
// stays inside.
func TestEgressHeaders(t *testing.T) {
	t.Parallel()
	g := startEgress(t, envoy.ForwardProxyOptions{AllowLocal: true})
	x := g.send(t, client.HTTP1, client.Request{Path: "/a%2Fb//c?d=e", Header: http.Header{
		"Proxy-Authorization": {"Basic c2VjcmV0"}, "X-Portcullis-Verdict": {"mine"}, "Authorization": {"Bearer x"}, "Via": {"1.1 another"},
	}}, origin.Answer{})
	if x.Status != http.StatusOK || x.seen.Path != "/a%2Fb//c?d=e" || x.seen.Host != g.address {
		t.Errorf("status %d, path %q, host %q", x.Status, x.seen.Path, x.seen.Host)
	}
	for name, want := range map[string]string{
		"Proxy-Authorization": "", "Proxy-Connection": "", "X-Portcullis-Verdict": "", "Authorization": "Bearer x", "Via": "1.1 another,1.1 portcullis-egress",
	} {
		if got := strings.Join(x.seen.Header[name], ","); strings.ReplaceAll(got, ", ", ",") != want {
			t.Errorf("%s reaches the outside as %q, want %q", name, got, want)
		}
	}
}

// CONNECT is answered as the configuration says: refused with the reason, but
// for the hosts that it names, which pass unscanned.
func TestEgressTunnels(t *testing.T) {
	t.Parallel()
	o := startOrigin(t)
	for _, c := range []struct {
		name    string
		options envoy.ForwardProxyOptions
		status  int
		opens   bool
	}{
		{"refused", envoy.ForwardProxyOptions{AllowLocal: true}, 403, false},
		{"another is named", envoy.ForwardProxyOptions{AllowLocal: true, Tunnels: []string{"127.0.0.1:1"}}, 403, false},
		{"named", envoy.ForwardProxyOptions{AllowLocal: true, Tunnels: []string{o.Address()}}, 200, true},
		{"named, but this machine's", envoy.ForwardProxyOptions{Tunnels: []string{o.Address()}}, 503, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := startEgress(t, c.options)
			raw := dial(t, g.proxy)
			if err := raw.Send("CONNECT " + o.Address() + " HTTP/1.1\r\nHost: " + o.Address() + "\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			if !c.opens {
				res, err := raw.Receive(http.MethodConnect)
				if err != nil || res.Status != c.status || c.status == http.StatusForbidden && !bytes.Contains(res.Head, []byte("CONNECT is refused")) {
					t.Errorf("status %d, want %d, %q, error %v", res.Status, c.status, res.Head, err)
				}
				return
			}
			wantLine(t, raw, "HTTP/1.1 200 OK")
			id := newID()
			o.Expect(id, origin.Answer{Body: payload.Bytes(payload.EICAR())})
			if err := raw.Send(fmt.Sprintf("GET /x HTTP/1.1\r\nHost: x\r\n%s: %s\r\n\r\n", origin.IDHeader, id)); err != nil {
				t.Fatal(err)
			}
			if res, err := raw.Receive(http.MethodGet); err != nil || res.Status != http.StatusOK || !bytes.Equal(res.Head, payload.EICAR()) {
				t.Errorf("the tunnel is not opaque: status %d, %q, error %v", res.Status, res.Head, err)
			}
		})
	}
}

// wantLine reads a response without a body, byte by byte so that nothing of what
// follows is lost, and requires its first line.
func wantLine(t *testing.T, raw *client.Raw, want string) {
	t.Helper()
	var head []byte
	for one := make([]byte, 1); !bytes.HasSuffix(head, []byte("\r\n\r\n")); head = append(head, one[0]) {
		if _, err := raw.Read(one); err != nil {
			t.Fatalf("after %q: %v", head, err)
		}
	}
	if line, _, _ := strings.Cut(string(head), "\r\n"); line != want {
		t.Fatalf("%q, want %q", head, want)
	}
}

func dial(t *testing.T, address string) *client.Raw {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), exchangeTimeout)
	t.Cleanup(cancel)
	raw, err := client.Dial(ctx, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = raw.Close() }) // nothing is written at the end
	return raw
}

// Unless it is allowed, no spelling of the machine's own address leads to what
// listens there, such as Envoy's admin interface.
func TestEgressKeepsOffThisMachine(t *testing.T) {
	t.Parallel()
	g := startEgress(t, envoy.ForwardProxyOptions{})
	_, port, err := net.SplitHostPort(g.envoy.AdminAddress())
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{
		"127.0.0.1", "127.1.2.3", "0.0.0.0", "localhost", "LOCALHOST", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
		"169.254.169.254", "[fe80::1]", "2130706433", "0x7f.1", "127.1", "017700000001",
	} {
		raw := dial(t, g.proxy)
		if err := raw.Send("GET http://" + host + ":" + port + "/stats HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		res, err := raw.Receive(http.MethodGet)
		if err != nil {
			t.Errorf("%s: %v", host, err)
			continue
		}
		if res.Status < 400 || bytes.Contains(res.Head, []byte("cluster.")) {
			t.Errorf("%s leads to the admin interface: %d, %q", host, res.Status, res.Head[:min(len(res.Head), 100)])
		}
	}
}

// A request that would go round for ever, and one that would be made without the
// TLS it asks for, are answered at once.
func TestEgressRefusesLoopsAndTLS(t *testing.T) {
	t.Parallel()
	g := startEgress(t, envoy.ForwardProxyOptions{AllowLocal: true})
	for url, want := range map[string]int{
		"http://" + g.proxy + "/":    http.StatusLoopDetected,
		"https://" + g.address + "/": http.StatusNotImplemented,
	} {
		raw := dial(t, g.proxy)
		if err := raw.Send("GET " + url + " HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if res, err := raw.Receive(http.MethodGet); err != nil || res.Status != want {
			t.Errorf("%s: status %d, want %d, error %v", url, res.Status, want, err)
		}
	}
}
