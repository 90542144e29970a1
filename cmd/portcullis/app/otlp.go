package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	configv1 "github.com/portcullis-av/portcullis/cmd/portcullis/config/v1"
)

const (
	// exportTime bounds one call of the collector, retries included.
	exportTime = 5 * time.Second
	// maxCollectorReply is far more than any answer of a collector has.
	maxCollectorReply = 64 << 10
	// maxCollectorHeader is what the configuration allows a header that stands in it.
	maxCollectorHeader = 4096
)

// collector is the connection to where spans go.
type collector struct {
	conn     *grpc.ClientConn
	exporter *otlptrace.Exporter
}

// newCollector checks what the settings name and does not connect: a collector
// that is down costs spans, and nothing else.
//
// The library's own settings from the environment (OTEL_EXPORTER_OTLP_…) are
// overridden: there is one configuration.
func newCollector(o *configv1.Otlp) (*collector, error) {
	creds, headers, err := collectorCredentials(o)
	if err != nil {
		return nil, err
	}
	target := o.GetAddress()
	if !strings.HasPrefix(target, "unix:") {
		target = "dns:///" + target
	}
	conn, err := grpc.NewClient(
		target,
		grpc.WithTransportCredentials(creds),
		grpc.WithPerRPCCredentials(headers),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: time.Second, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 10 * time.Second},
			MinConnectTimeout: exportTime,
		}),
		// Without pings a connection that the network forgot would cost spans for
		// minutes; collectors take one in 5 min at most unless told otherwise.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 6 * time.Minute, Timeout: 10 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxCollectorReply)),
		grpc.WithDisableServiceConfig(),
		grpc.WithNoProxy(),
	)
	if err != nil {
		return nil, err
	}
	exporter, err := otlptracegrpc.New(
		context.Background(), // it only begins
		otlptracegrpc.WithGRPCConn(conn),
		otlptracegrpc.WithHeaders(map[string]string{}),
		otlptracegrpc.WithTimeout(exportTime),
		otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{
			Enabled: true, InitialInterval: 250 * time.Millisecond, MaxInterval: time.Second, MaxElapsedTime: exportTime,
		}),
	)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &collector{conn: conn, exporter: exporter}, nil
}

// collectorCredentials reads the files that the settings name.
func collectorCredentials(o *configv1.Otlp) (credentials.TransportCredentials, otlpHeaders, error) {
	creds, headers := insecure.NewCredentials(), otlpHeaders(o.GetHeaders())
	if t := o.GetTls(); t != nil {
		config, err := otlpTLS(t)
		if err != nil {
			return nil, nil, err
		}
		creds = credentials.NewTLS(config)
	}
	_, err := headers.GetRequestMetadata(context.Background())
	return creds, headers, err
}

// close ends calls under way.
func (c *collector) close() {
	_ = c.conn.Close() // there is nothing more to say to it
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	_ = c.exporter.Shutdown(ended)
}

// otlpTLS is the collector's side of TLS, and ours.
func otlpTLS(t *configv1.OtlpTLS) (*tls.Config, error) {
	c, err := dialTLS(t.GetServerName(), t.GetCaFile())
	if err != nil || t.GetCertFile() == "" {
		return c, err
	}
	own := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(t.GetCertFile(), t.GetKeyFile())
		return &pair, err
	}
	if _, err := own(nil); err != nil {
		return nil, err
	}
	c.GetClientCertificate = own
	return c, nil
}

// otlpHeaders are the gRPC metadata of every call; values in files are read each
// time.
type otlpHeaders []*configv1.OtlpHeader

var _ credentials.PerRPCCredentials = otlpHeaders(nil)

// GetRequestMetadata implements [credentials.PerRPCCredentials]. Its errors name
// files and never show what is in them.
func (h otlpHeaders) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	all := make(map[string]string, len(h))
	for _, one := range h {
		value := one.GetValue()
		if file := one.GetValueFile(); file != "" {
			raw, err := os.ReadFile(file) //nolint:gosec // the operator's own path
			if err != nil {
				return nil, err
			}
			value = strings.TrimSpace(string(raw))
			if value == "" || len(value) > maxCollectorHeader || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
				return nil, fmt.Errorf("%s must hold 1 to %d printable ASCII characters on one line", file, maxCollectorHeader)
			}
		}
		all[strings.ToLower(one.GetName())] = value
	}
	return all, nil
}

// RequireTransportSecurity implements [credentials.PerRPCCredentials]: a
// collector on loopback, or behind a mesh that encrypts, is the operator's choice.
func (otlpHeaders) RequireTransportSecurity() bool { return false }
