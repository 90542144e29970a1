package app_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/credentials"
)

// authority signs certificates for 127.0.0.1.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.sign(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, "ca")
	return a
}

// sign writes NAME.pem and NAME.key; without an authority's own key it signs itself.
func (a *authority) sign(c *x509.Certificate, name string) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber, c.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := c, key
	if a.cert != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+".pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	a.write(name+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
	return signed, key
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

func (a *authority) write(name string, content []byte) {
	a.t.Helper()
	if err := os.WriteFile(a.file(name), content, 0o600); err != nil {
		a.t.Fatal(err)
	}
}

func (a *authority) read(name string) []byte {
	a.t.Helper()
	content, err := os.ReadFile(a.file(name))
	if err != nil {
		a.t.Fatal(err)
	}
	return content
}

func (a *authority) server(name string) {
	a.sign(&x509.Certificate{
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, name)
}

func (a *authority) client(name string, uris ...string) tls.Certificate {
	a.t.Helper()
	c := &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	for _, uri := range uris {
		u, err := url.Parse(uri)
		if err != nil {
			a.t.Fatal(err)
		}
		c.URIs = append(c.URIs, u)
	}
	a.sign(c, name)
	pair, err := tls.LoadX509KeyPair(a.file(name+".pem"), a.file(name+".key"))
	if err != nil {
		a.t.Fatal(err)
	}
	return pair
}

// trusting is a client's TLS that trusts the authority.
func (a *authority) trusting(own ...tls.Certificate) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{RootCAs: pool, ServerName: "127.0.0.1", Certificates: own, MinVersion: tls.VersionTLS12}
}

// listenTLS is the configuration of a gate with these files.
func (a *authority) listenTLS(cert, key, clientCA string) string {
	files := "cert_file: \"" + a.file(cert) + "\", key_file: \"" + a.file(key) + "\""
	if clientCA != "" {
		files += ", client_ca_file: \"" + a.file(clientCA) + "\""
	}
	return "listen: {extproc: \"127.0.0.1:0\", admin: \"127.0.0.1:0\", tls: {" + files + "}}\n"
}

// With TLS, only TLS 1.3 is spoken; with a client authority, only to those who
// have its certificate.
func TestTLS(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	ours.server("server")
	known, stranger := ours.client("client"), theirs.client("client")

	encrypted := started(t, ours.listenTLS("server.pem", "server.key", ""))
	mutual := started(t, ours.listenTLS("server.pem", "server.key", "ca.pem"))
	old := ours.trusting()
	old.MaxVersion = tls.VersionTLS12
	for name, c := range map[string]struct {
		gate   *running
		client *tls.Config // nil: plain text
		served bool
	}{
		"plain text":             {encrypted, nil, false},
		"TLS 1.2":                {encrypted, old, false},
		"TLS 1.3":                {encrypted, ours.trusting(), true},
		"who trusts another CA":  {encrypted, theirs.trusting(), false},
		"without a certificate":  {mutual, ours.trusting(), false},
		"another's certificate":  {mutual, ours.trusting(stranger), false},
		"with its certificate":   {mutual, ours.trusting(known), true},
		"plain text to a mutual": {mutual, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			var creds credentials.TransportCredentials
			if c.client != nil {
				creds = credentials.NewTLS(c.client)
			}
			res, err := scanContent(t.Context(), c.gate.dial(creds), eicar())
			if (err == nil) != c.served {
				t.Errorf("got %v, %v", res, err)
			}
		})
	}
}

// With an allow-list, only a client whose certificate carries exactly one SPIFFE
// ID that is on it comes in; the others are counted and told about.
func TestSPIFFE(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	ours.server("server")
	config := strings.Replace(ours.listenTLS("server.pem", "server.key", "ca.pem"), "}}",
		`, client_spiffe_ids: ["spiffe://example.org/ns/edge/sa/envoy", "spiffe://example.org/ns/mesh/*"]}}`, 1)
	gate := started(t, config)
	refused := 0
	for name, c := range map[string]struct {
		by     *authority
		ids    []string
		served bool
	}{
		"on the list":                 {ours, []string{"spiffe://example.org/ns/edge/sa/envoy"}, true},
		"below an entry":              {ours, []string{"spiffe://example.org/ns/mesh/sa/gateway"}, true},
		"an entry itself":             {ours, []string{"spiffe://example.org/ns/mesh/"}, false},
		"one that begins like it":     {ours, []string{"spiffe://example.org/ns/edge/sa/envoy2"}, false},
		"below one that is whole":     {ours, []string{"spiffe://example.org/ns/edge/sa/envoy/x"}, false},
		"another trust domain":        {ours, []string{"spiffe://example.com/ns/edge/sa/envoy"}, false},
		"another scheme":              {ours, []string{"https://example.org/ns/edge/sa/envoy"}, false},
		"none":                        {ours, nil, false},
		"two, of which one is listed": {ours, []string{"spiffe://example.org/ns/edge/sa/envoy", "spiffe://example.org/x"}, false},
		"from another authority":      {theirs, []string{"spiffe://example.org/ns/edge/sa/envoy"}, false},
	} {
		client := ours.trusting(c.by.client("client", c.ids...))
		_, err := scanContent(t.Context(), gate.dial(credentials.NewTLS(client)), eicar())
		if (err == nil) != c.served {
			t.Errorf("%s: %v", name, err)
		}
		if !c.served && c.by == ours {
			refused++
		}
	}
	_, metrics := gate.get("/metrics")
	var counted int
	_, after, _ := strings.Cut(metrics, "\nportcullis_tls_clients_refused_total ")
	if _, err := fmt.Sscan(after, &counted); err != nil || counted < refused { // gRPC connects again by itself
		t.Errorf("%d refused clients are counted, of %d", counted, refused)
	}
	until(t, "the log tells of them", func() bool {
		log := gate.log.String()
		return strings.Contains(log, "a client was refused") && strings.Contains(log, `"spiffe_id":"`)
	})
}

// New certificates and authorities are used within 5 s, without a restart, for
// connections from then on; whatever is wrong with one leaves the old in use.
func TestTLSFilesChange(t *testing.T) {
	t.Parallel()
	first, second := newAuthority(t), newAuthority(t)
	first.server("server")
	second.server("server")
	alice, bob := first.client("client"), second.client("client")
	gate := started(t, first.listenTLS("server.pem", "server.key", "ca.pem"))
	served := func(trusted *authority, own tls.Certificate) bool {
		_, err := scanContent(t.Context(), gate.dial(credentials.NewTLS(trusted.trusting(own))), []byte("hello"))
		return err == nil
	}
	open := gate.dial(credentials.NewTLS(first.trusting(alice)))
	if _, err := scanContent(t.Context(), open, []byte("hello")); err != nil {
		t.Fatal(err)
	}

	first.write("server.key", second.read("server.key")) // of another certificate
	gate.becomes("/metrics", 200, `portcullis_config_reloads_total{result="invalid"} 1`)
	gate.becomes("/metrics", 200, "portcullis_config_current 0\n")
	if !served(first, alice) {
		t.Error("the old files are not in use any more")
	}
	if log := gate.log.String(); !strings.Contains(log, "listen.tls: ") || strings.Contains(log, "PRIVATE") {
		t.Error("the log does not say what is wrong, or too much")
	}

	begun := time.Now()
	for _, name := range []string{"ca.pem", "server.pem"} {
		first.write(name, second.read(name))
	}
	until(t, "the new certificate and authority are used", func() bool { return served(second, bob) })
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("they are used after %v", took)
	}
	if served(second, alice) || served(first, alice) {
		t.Error("the old authority's client still comes in")
	}
	if _, err := scanContent(t.Context(), open, []byte("hello")); err != nil {
		t.Errorf("a connection from before: %v", err)
	}
	gate.becomes("/metrics", 200, "portcullis_config_current 1\n")
}

// Whatever is wrong with a file, the gate does not start with less security than
// was asked for, and tells no key.
func TestBadTLSFiles(t *testing.T) {
	a := newAuthority(t)
	a.server("server")
	a.server("other")
	a.write("rubbish.pem", []byte("no certificate\n"))
	a.write("empty.pem", nil)
	for name, c := range map[string]struct{ cert, key, ca, says string }{
		"certificate missing":    {"nobody.pem", "server.key", "", "cert_file"},
		"key missing":            {"server.pem", "nobody.key", "", "key_file"},
		"authority missing":      {"server.pem", "server.key", "nobody.pem", "client_ca_file"},
		"certificate is rubbish": {"rubbish.pem", "server.key", "", "listen.tls"},
		"key is rubbish":         {"server.pem", "rubbish.pem", "", "listen.tls"},
		"authority is rubbish":   {"server.pem", "server.key", "rubbish.pem", "client_ca_file"},
		"authority is empty":     {"server.pem", "server.key", "empty.pem", "client_ca_file"},
		"another's key":          {"server.pem", "other.key", "", "listen.tls"},
	} {
		t.Run(name, func(t *testing.T) {
			r := serve(t, a.listenTLS(c.cert, c.key, c.ca))
			if log := r.log.String(); r.extproc != "" || r.code == 0 || !strings.Contains(log, c.says) || strings.Contains(log, "PRIVATE") {
				t.Errorf("serves on %q, exit %d, %s", r.extproc, r.code, log)
			}
		})
	}
}
