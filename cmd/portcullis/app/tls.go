package app

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"google.golang.org/grpc/credentials"

	configv1 "github.com/portcullis-av/portcullis/cmd/portcullis/config/v1"
)

// tlsCredentials returns nil for plain text. Whatever is wrong with a file ends
// the start: the gate never goes on with less security than was asked for.
func tlsCredentials(t *configv1.TLS) (credentials.TransportCredentials, error) {
	if t == nil {
		return nil, nil //nolint:nilnil // nil is plain text
	}
	pair, err := tls.LoadX509KeyPair(t.GetCertFile(), t.GetKeyFile())
	if err != nil {
		return nil, fmt.Errorf("listen.tls: %w", err)
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}}
	if file := t.GetClientCaFile(); file != "" {
		pem, err := os.ReadFile(file) //nolint:gosec // the operator's own path
		if err != nil {
			return nil, fmt.Errorf("listen.tls.client_ca_file: %w", err)
		}
		cfg.ClientCAs = x509.NewCertPool()
		if !cfg.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("listen.tls.client_ca_file: %w", errors.New("no PEM certificate in "+file))
		}
		cfg.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return credentials.NewTLS(cfg), nil
}
