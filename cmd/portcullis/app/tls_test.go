package app_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
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

func (a *authority) server(name string) {
	a.sign(&x509.Certificate{
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, name)
}

func (a *authority) client(name string) tls.Certificate {
	a.t.Helper()
	a.sign(&x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, name)
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
