package remote

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// renew writes a fresh certificate and its key, and returns the certificate.
func renew(t *testing.T, certFile, keyFile string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return der
}

// TestOwnCertificate: a renewed certificate is shown at the next connection; while
// the files are not right, the last good one is.
func TestOwnCertificate(t *testing.T) {
	dir := t.TempDir()
	own := &ownCertificate{certFile: filepath.Join(dir, "cert.pem"), keyFile: filepath.Join(dir, "key.pem")}
	if err := own.read(); err == nil {
		t.Error("files that are not there were read")
	}
	shows := func(want []byte) {
		t.Helper()
		got, err := own.present(nil)
		if err != nil || !bytes.Equal(got.Certificate[0], want) {
			t.Errorf("another certificate is shown, %v", err)
		}
	}
	first := renew(t, own.certFile, own.keyFile)
	shows(first)
	for name, hurt := range map[string]func() error{
		"half":            func() error { return os.Truncate(own.keyFile, 50) },
		"another's":       func() error { renew(t, filepath.Join(dir, "other.pem"), own.keyFile); return nil },
		"gone":            func() error { return os.Remove(own.certFile) },
		"gone altogether": func() error { return os.Remove(own.keyFile) },
	} {
		if err := hurt(); err != nil && !os.IsNotExist(err) {
			t.Fatalf("%s: %v", name, err)
		}
		shows(first)
	}
	shows(renew(t, own.certFile, own.keyFile))
}
