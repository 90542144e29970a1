package app

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/credentials"

	configv1 "github.com/portcullis-av/portcullis/cmd/portcullis/config/v1"
)

// loadTLS returns nil for plain text. Whatever is wrong with a file is an error:
// the gate never goes on with less security than was asked for.
func loadTLS(t *configv1.TLS, door *tlsDoor) (*tls.Config, error) {
	if t == nil {
		return nil, nil //nolint:nilnil // nil is plain text
	}
	pair, err := tls.LoadX509KeyPair(t.GetCertFile(), t.GetKeyFile())
	if err != nil {
		return nil, fmt.Errorf("listen.tls: %w", err)
	}
	cfg := &tls.Config{
		Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"},
		// A resumed session would carry a client in that new files keep out.
		SessionTicketsDisabled: true,
	}
	file := t.GetClientCaFile()
	if file == "" {
		return cfg, nil
	}
	pem, err := os.ReadFile(file) //nolint:gosec // the operator's own path
	if err != nil {
		return nil, fmt.Errorf("listen.tls.client_ca_file: %w", err)
	}
	cfg.ClientCAs = x509.NewCertPool()
	if !cfg.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("listen.tls.client_ca_file: %w", errors.New("no PEM certificate in "+file))
	}
	cfg.ClientAuth = tls.RequireAndVerifyClientCert
	if allowed := t.GetClientSpiffeIds(); len(allowed) > 0 {
		cfg.VerifyConnection = func(s tls.ConnectionState) error { return door.admit(s, allowed) }
	}
	return cfg, nil
}

// tlsDoor is the TLS of the gRPC port. What it works with is replaced whole:
// every connection gets what holds when it begins.
type tlsDoor struct {
	now     atomic.Pointer[tls.Config]
	log     *slog.Logger
	refused prometheus.Counter
	began   time.Time
	told    atomic.Int64 // the second, since then, of the last line about a refusal
}

func newTLSDoor(log *slog.Logger, reg prometheus.Registerer) *tlsDoor {
	d := &tlsDoor{log: log, began: time.Now().Add(-time.Second), refused: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "portcullis_tls_clients_refused_total",
		Help: "Connections whose certificate carries no SPIFFE ID of listen.tls.client_spiffe_ids.",
	})}
	reg.MustRegister(d.refused)
	return d
}

// credentials are for the gRPC server; nil is plain text, which cannot change
// while it serves.
func (d *tlsDoor) credentials() credentials.TransportCredentials {
	if d.now.Load() == nil {
		return nil
	}
	return credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return d.now.Load(), nil },
	})
}

// admit lets a client in whose certificate carries one of the allowed IDs. A
// certificate is one workload's: the standard allows it exactly one URI (X.509-SVID,
// section 2), and one with more is nobody's.
func (d *tlsDoor) admit(s tls.ConnectionState, allowed []string) error {
	id := ""
	if uris := s.PeerCertificates[0].URIs; len(uris) == 1 {
		id = uris[0].String()
	}
	for _, pattern := range allowed {
		if spiffeMatches(pattern, id) {
			return nil
		}
	}
	d.refused.Inc()
	// A client may come again and again: one line a second.
	if second := int64(time.Since(d.began) / time.Second); d.told.Swap(second) != second {
		d.log.LogAttrs(nil, slog.LevelWarn, "a client was refused: its certificate carries no allowed SPIFFE ID", //nolint:staticcheck // no context
			appendText(nil, "spiffe_id", id)...)
	}
	return errors.New("the certificate carries no SPIFFE ID that is allowed here")
}

// spiffeMatches compares an ID with one that is meant whole, or with all below
// one that ends in /*.
func spiffeMatches(pattern, id string) bool {
	above, below := strings.CutSuffix(pattern, "*")
	if !below {
		return id == pattern
	}
	return strings.HasPrefix(id, above) && len(id) > len(above)
}

// dialTLS is for a server that must be called name, or by what it is dialled if that
// is "", and be vouched for by the authorities in caFile, or by the system's.
func dialTLS(name, caFile string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: name}
	if caFile == "" {
		return c, nil
	}
	pem, err := os.ReadFile(caFile) //nolint:gosec // the operator's own path
	if err != nil {
		return nil, err
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, errors.New("no PEM certificate in " + caFile)
	}
	return c, nil
}
