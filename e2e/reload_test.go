package e2e_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-av/portcullis/e2e/rig"
	"github.com/portcullis-av/portcullis/envoy"
	"github.com/portcullis-av/portcullis/scan/clamd/clamdtest"
	"github.com/portcullis-av/portcullis/scan/cloudmersive/cloudmersivetest"
)

// folder is a mounted Secret or ConfigMap: its files are links through one link,
// which is turned to another version.
type folder struct {
	dir     string
	version int
}

func (f *folder) file(name string) string { return filepath.Join(f.dir, "data", name) }

// turn puts a new version of all files in place, at once.
func (f *folder) turn(t *testing.T, files map[string]string) {
	t.Helper()
	f.version++
	version, fresh := fmt.Sprintf("version%d", f.version), filepath.Join(f.dir, "fresh")
	if err := os.Mkdir(filepath.Join(f.dir, version), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(f.dir, version, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(version, fresh); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(fresh, filepath.Join(f.dir, "data")); err != nil {
		t.Fatal(err)
	}
}

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	text string // of the certificate, in PEM
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	a.text, _ = a.sign(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// workload is a certificate for 127.0.0.1 and a SPIFFE ID, and its key, in PEM.
func (a *authority) workload(t *testing.T, id string) (cert, key string) {
	t.Helper()
	u, err := url.Parse(id)
	if err != nil {
		t.Fatal(err)
	}
	return a.sign(t, &x509.Certificate{
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, URIs: []*url.URL{u},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
}

// sign signs c; an authority that has no certificate yet signs its own.
func (a *authority) sign(t *testing.T, c *x509.Certificate) (cert, key string) {
	t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial := time.Now().UnixNano()
	c.SerialNumber, c.Subject = big.NewInt(serial), pkix.Name{CommonName: fmt.Sprintf("e2e %d", serial)} // its own, or it seems self-signed
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if a.cert == nil {
		a.cert, a.key = c, own
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, own.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
}

// shown is the certificate with which a server greets a client of Envoy's kind.
func shown(t *testing.T, address, ca, cert, key string) string {
	t.Helper()
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(ca))
	conn, err := tls.Dial("tcp", address, &tls.Config{
		RootCAs: roots, Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS13,
	})
	if err != nil {
		return err.Error()
	}
	defer func() { _ = conn.Close() }()
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: conn.ConnectionState().PeerCertificates[0].Raw}))
}

// withTLS has Envoy speak mutual TLS to Portcullis, with files of f.
func (b bootstrap) withTLS(t *testing.T, f *folder) {
	t.Helper()
	b.cluster(t)["transport_socket"] = map[string]any{
		"name": "envoy.transport_sockets.tls",
		"typed_config": map[string]any{
			"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
			"common_tls_context": map[string]any{
				// Envoy as a client stops at TLS 1.2 unless it is told otherwise.
				"tls_params": map[string]any{"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
				"tls_certificates": []any{map[string]any{
					"certificate_chain": map[string]any{"filename": f.file("envoy.pem")},
					"private_key":       map[string]any{"filename": f.file("envoy.key")},
				}},
				"validation_context": map[string]any{"trusted_ca": map[string]any{"filename": f.file("ca.pem")}},
			},
		},
	}
}

// reloadRig is a gate whose files are changed under load.
type reloadRig struct {
	*gate
	clamds  [2]*clamdtest.Server
	cloud   *cloudmersivetest.Server
	secrets *folder
	ca      *authority
	files   map[string]string
}

const (
	firstKey  = "the-first-api-key"
	secondKey = "the-second-api-key"
)

func startReloading(t *testing.T) *reloadRig {
	t.Helper()
	r := &reloadRig{cloud: cloudmersivetest.New(), secrets: &folder{dir: t.TempDir()}, ca: newAuthority(t)}
	t.Cleanup(r.cloud.Close)
	r.cloud.Accept(firstKey, secondKey) // a service takes both for a while
	for i := range r.clamds {
		r.clamds[i] = clamdtest.Start(t, clamdtest.Options{})
	}
	r.files = map[string]string{"key": firstKey, "ca.pem": r.ca.text}
	r.files["gate.pem"], r.files["gate.key"] = r.ca.workload(t, "spiffe://example.org/portcullis")
	r.files["envoy.pem"], r.files["envoy.key"] = r.ca.workload(t, "spiffe://example.org/edge/envoy")
	r.secrets.turn(t, r.files)
	p := startPortcullis(t, rig.PortcullisOptions{
		Binary: needPlain(t), Config: r.config(0, "10s"),
		TLS: fmt.Sprintf(`{cert_file: %q, key_file: %q, client_ca_file: %q, client_spiffe_ids: ["spiffe://example.org/edge/*"]}`,
			r.secrets.file("gate.pem"), r.secrets.file("gate.key"), r.secrets.file("ca.pem")),
	})
	r.gate = startRewired(t, p, envoy.Options{}, func(b bootstrap) { b.withTLS(t, r.secrets) })
	return r
}

// config scans with one of the two clamds.
func (r *reloadRig) config(clamd int, timeout string) string {
	return yaml(
		[]string{
			fmt.Sprintf(`{name: av%d, clamd: {addresses: [%q], max_in_flight: 64}}`, clamd, r.clamds[clamd].Address()),
			fmt.Sprintf(`{name: cloud, cloudmersive: {url: %q, api_key_file: %q, max_in_flight: 64}}`, r.cloud.URL(), r.secrets.file("key")),
		},
		[]string{
			fmt.Sprintf(`{name: default, engines: [av%d], scan_timeout: %s}`, clamd, timeout),
			fmt.Sprintf(`{name: cloud, engines: [cloud], scan_timeout: %s}`, timeout),
		}) + "cache: {memory_entries: 0}\n"
}

// becomes waits for a metric and returns how long that took.
func (r *reloadRig) becomes(t *testing.T, value float64, name string, labels ...string) time.Duration {
	t.Helper()
	start := time.Now()
	until(t, fmt.Sprintf("%s %v to be %v", name, labels, value), func() bool {
		m, err := r.portcullis.Metrics()
		return err == nil && m.Sum(name, labels...) == value
	})
	return time.Since(start)
}

// write replaces the configuration, all at once or in two halves with a pause.
func (r *reloadRig) write(t *testing.T, config string, pause time.Duration) {
	t.Helper()
	text := r.portcullis.Text(config)
	if pause > 0 {
		// Past the rules, which no longer have their end: no YAML.
		if err := os.WriteFile(r.portcullis.ConfigFile, []byte(text[:strings.LastIndex(text, "policy:")]), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(pause)
	}
	if err := os.WriteFile(r.portcullis.ConfigFile, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const (
	reloads = "portcullis_config_reloads_total"
	inUse   = "portcullis_config_current"
)

// Reloads of configuration, API key and certificates under load, good ones and
// bad ones, half-written ones and links that are turned: no exchange notices, and
// what is good is used within seconds (F-37).
func TestReloadUnderLoad(t *testing.T) {
	t.Parallel()
	r := startReloading(t)
	load := &traffic{gate: r.gate, policies: []string{"default", "cloud"}, rate: 60}
	ctx, stop := context.WithCancel(t.Context())
	var sending sync.WaitGroup
	sending.Go(func() { load.run(ctx, t) })
	time.Sleep(time.Second)

	r.write(t, r.config(1, "11s"), 0)
	other := r.becomes(t, 1, reloads, "result", "applied")
	scans := r.clamds[0].Scans()
	r.write(t, r.config(1, "11s")+"nonsense: 1\n", 0)
	r.becomes(t, 1, reloads, "result", "invalid")
	r.becomes(t, 0, inUse)
	r.write(t, r.config(1, "12s"), 1500*time.Millisecond) // as long as one look sees the half of it
	r.becomes(t, 2, reloads, "result", "applied")
	r.becomes(t, 1, inUse)
	if now := r.clamds[0].Scans(); now != scans {
		t.Errorf("the engine that is gone was asked %d times", now-scans)
	}

	fresh := &folder{dir: t.TempDir()}
	fresh.turn(t, map[string]string{"portcullis.yaml": r.portcullis.Text(r.config(0, "13s"))})
	link := r.portcullis.ConfigFile + ".new"
	if err := errors.Join(os.Symlink(fresh.file("portcullis.yaml"), link), os.Rename(link, r.portcullis.ConfigFile)); err != nil {
		t.Fatal(err)
	}
	r.becomes(t, 3, reloads, "result", "applied")
	fresh.turn(t, map[string]string{"portcullis.yaml": r.portcullis.Text(r.config(1, "14s"))})
	linked := r.becomes(t, 4, reloads, "result", "applied")

	bad := maps.Clone(r.files)
	bad["gate.key"] = r.files["envoy.key"] // of another certificate
	bad["key"] = "two\nlines"
	r.secrets.turn(t, bad)
	r.becomes(t, 0, inUse)
	r.files["gate.pem"], r.files["gate.key"] = r.ca.workload(t, "spiffe://example.org/portcullis")
	r.files["key"] = secondKey
	begun := time.Now()
	r.secrets.turn(t, r.files)
	until(t, "the new certificate to be shown", func() bool {
		return shown(t, r.portcullis.ExtProc, r.ca.text, r.files["envoy.pem"], r.files["envoy.key"]) == r.files["gate.pem"]
	})
	cert := time.Since(begun)
	until(t, "the new key to be sent", func() bool {
		all := r.cloud.Requests()
		return all[len(all)-1].Key == secondKey
	})
	key := time.Since(begun)
	r.cloud.Accept(secondKey)
	time.Sleep(2 * time.Second)
	stop()
	sending.Wait()
	for what, took := range map[string]time.Duration{"configuration": other, "link": linked, "certificate": cert, "API key": key} {
		if took > 5*time.Second {
			t.Errorf("the new %s is used after %v", what, took)
		}
	}
	faultRows.add("F-37", "reloads under load, good and bad", "clamd, cloudmersive", closed, marked(t, fmt.Sprintf(
		"%s; used after: configuration %v, link %v, certificate %v, API key %v", load.right(t, "passed", "403 INFECTED malware"),
		other.Round(10*time.Millisecond), linked.Round(10*time.Millisecond), cert.Round(10*time.Millisecond), key.Round(10*time.Millisecond))))
}
