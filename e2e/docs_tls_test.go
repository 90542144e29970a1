package e2e_test

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"strings"
	"testing"

	yamltree "go.yaml.in/yaml/v3"

	"github.com/portcullis-av/portcullis/e2e/client"
	"github.com/portcullis-av/portcullis/e2e/origin"
	"github.com/portcullis-av/portcullis/e2e/payload"
	"github.com/portcullis-av/portcullis/e2e/rig"
	"github.com/portcullis-av/portcullis/envoy"
)

// What the docs say of TLS makes a real Envoy speak to Portcullis, and to nobody
// who only has a certificate of the same authority.
func TestDocsTLS(t *testing.T) {
	t.Parallel()
	const name = "portcullis-headless.portcullis.svc"
	for _, b := range docBlocks(t, "envoy-tls") {
		for host, passes := range map[string]bool{name: true, "other.portcullis.svc": false} {
			g := startWithDocsTLS(t, b.text(), host)
			if passes {
				g.blocksUpload(t, "x", client.HTTP1, framing{name: "length"}, "raw")
				g.crosses(t, "x", client.HTTP1, framing{name: "length"}, payload.Random(1, 10<<10))
				continue
			}
			x := g.send(t, client.HTTP1, client.Request{Path: "/x/upload", Body: payload.Random(1, 10)}, origin.Answer{})
			x.wantNoUpload(t, host)
			if x.Status != http.StatusServiceUnavailable {
				t.Errorf("%v: a Portcullis that is called %s: status %d", b, host, x.Status)
			}
		}
	}
}

func startWithDocsTLS(t *testing.T, block, host string) *gate {
	t.Helper()
	ca, f := newAuthority(t), &folder{dir: t.TempDir()}
	files := map[string]string{"ca.pem": ca.text}
	files["gate.pem"], files["gate.key"] = ca.sign(t, &x509.Certificate{DNSNames: []string{host}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	files["envoy.pem"], files["envoy.key"] = ca.workload(t, "spiffe://example.org/ns/edge/sa/envoy")
	f.turn(t, files)
	var patch map[string]any
	if err := yamltree.Unmarshal([]byte(strings.NewReplacer(
		"/etc/envoy/tls.crt", f.file("envoy.pem"), "/etc/envoy/tls.key", f.file("envoy.key"), "/etc/envoy/portcullis-ca.crt", f.file("ca.pem"),
	).Replace(block)), &patch); err != nil {
		t.Fatal(err)
	}
	p := startPortcullis(t, rig.PortcullisOptions{
		Config: yaml([]string{`{name: builtin, builtin: {}}`}, []string{`{name: default, engines: [builtin]}`}),
		TLS: fmt.Sprintf(`{cert_file: %q, key_file: %q, client_ca_file: %q, client_spiffe_ids: ["spiffe://example.org/ns/edge/sa/envoy"]}`,
			f.file("gate.pem"), f.file("gate.key"), f.file("ca.pem")),
	})
	return startRewired(t, p, envoy.Options{}, func(b bootstrap) { b.cluster(t)["transport_socket"] = patch["transport_socket"] })
}
