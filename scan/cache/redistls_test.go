package cache

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-av/portcullis/scan"
)

// selfSigned writes a certificate for localhost and its key.
func selfSigned(t *testing.T) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	certFile, keyFile = filepath.Join(t.TempDir(), "cert"), filepath.Join(t.TempDir(), "key")
	for file, text := range map[string][]byte{certFile: cert, keyFile: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile, pool
}

// Over TLS the server's certificate is checked, for the address's host.
func TestRedisTLS(t *testing.T) {
	certFile, keyFile, pool := selfSigned(t)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close() // redis-server cannot take a listener or any free port
	_, port, _ := net.SplitHostPort(address)
	startRedis(t, "--tls-port", port, "--tls-cert-file", certFile, "--tls-key-file", keyFile,
		"--tls-ca-cert-file", certFile, "--tls-auth-clients", "no", "--bind", "127.0.0.1", "::1")
	a := startReplica(t, Redis{Address: "localhost:" + port, TLS: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}, judge)
	mustScan(t, a, object("fine"), scan.OutcomeClean)
	a.flush(t, 1)
	for name, c := range map[string]*tls.Config{
		"unknown authority": {MinVersion: tls.VersionTLS12},
		"another name":      {RootCAs: pool, ServerName: "redis.example.net", MinVersion: tls.VersionTLS12},
	} {
		wrong := newCache(t, Config{Redis: &Redis{Address: "localhost:" + port, TLS: c}})
		if told := <-run(t, wrong); !strings.HasPrefix(told, "false ") || !strings.Contains(told, "x509") {
			t.Errorf("%s: told %q", name, told)
		}
	}
}
