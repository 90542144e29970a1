package remote

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/portcullis-av/portcullis/scan/scanv1"
)

const (
	defaultConnectTimeout = time.Second
	// maxRetryPause is the longest time between two attempts to connect: a
	// service must be in use again within 5 s of its return.
	maxRetryPause = 2 * time.Second
	// maxReply is far more than any answer has.
	maxReply = 1 << 20
)

// Config names one instance of the far service.
type Config struct {
	// Address is "host:port" or "unix:/path".
	Address string
	// TLS is nil for plain text: for a Unix socket, loopback, or a mesh that
	// encrypts by itself.
	TLS *TLS
	// Policy is the name of the far policy to scan with; empty: its default.
	Policy string
	// ConnectTimeout bounds one attempt to connect; 0 means 1 s.
	ConnectTimeout time.Duration
	// Dial are further options of the connection, such as interceptors.
	Dial []grpc.DialOption
}

// TLS says how the far side proves who it is, and how we do.
type TLS struct {
	// CAFile is a PEM file with the authorities that may have signed its
	// certificate; empty means the system's.
	CAFile string
	// CertFile and KeyFile are our own certificate, in PEM, both or none. They
	// are read again for every connection; the last good ones stay in use.
	CertFile, KeyFile string
	// ServerName is the name its certificate must have; empty means the
	// address's host.
	ServerName string
}

// New returns the engine for one instance. It checks the configuration, reads
// the files it names and does not connect: a service that is down is found by
// the first scan. [Engine.Close] gives the connection back.
func New(c Config) (*Engine, error) {
	target, err := targetOf(c.Address)
	if err != nil {
		return nil, err
	}
	switch {
	case c.ConnectTimeout < 0:
		return nil, fmt.Errorf("remote %s: connect time-out %v is negative", c.Address, c.ConnectTimeout)
	case c.ConnectTimeout == 0:
		c.ConnectTimeout = defaultConnectTimeout
	}
	creds := insecure.NewCredentials()
	if c.TLS != nil {
		if creds, err = c.TLS.credentials(strings.HasPrefix(c.Address, "unix:")); err != nil {
			return nil, err
		}
	}
	pauses := backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: maxRetryPause}
	opts := append([]grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: pauses, MinConnectTimeout: c.ConnectTimeout}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReply)),
		// Portcullis takes pings this often; without them a connection that the
		// network forgot would fail every scan for minutes.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		// One layer retries, and it is not this one.
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
		grpc.WithNoProxy(),
	}, c.Dial...)
	conn, err := grpc.NewClient(target, opts...)
	if err != nil {
		return nil, fmt.Errorf("remote %s: %w", c.Address, err)
	}
	return &Engine{conn: conn, client: scanv1.NewScanServiceClient(conn), policy: c.Policy}, nil
}

func targetOf(address string) (string, error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		if !strings.HasPrefix(path, "/") {
			return "", fmt.Errorf("remote address %q: want unix: and an absolute path", address)
		}
		return "unix:" + path, nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || port == "" {
		return "", fmt.Errorf("remote address %q: want unix:/path or host:port", address)
	}
	return "dns:///" + address, nil
}

func (t *TLS) credentials(unix bool) (credentials.TransportCredentials, error) {
	config := &tls.Config{ServerName: t.ServerName, MinVersion: tls.VersionTLS13} // Portcullis speaks no other
	if unix && t.ServerName == "" {
		return nil, errors.New("remote tls: a unix socket needs a server name")
	}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("remote ca file: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("remote ca file: %s holds no certificate in PEM form", t.CAFile)
		}
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		return nil, errors.New("remote tls: certificate and key are needed both, or none")
	}
	if t.CertFile != "" {
		own := &ownCertificate{certFile: t.CertFile, keyFile: t.KeyFile}
		if err := own.read(); err != nil {
			return nil, fmt.Errorf("remote tls: %w", err)
		}
		config.GetClientCertificate = own.present
	}
	return credentials.NewTLS(config), nil
}

// ownCertificate is read again for every connection. While the files cannot be
// used, as when only one of them has been renewed yet, the last good one is.
type ownCertificate struct {
	certFile, keyFile string
	last              atomic.Pointer[tls.Certificate]
}

func (c *ownCertificate) read() error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err == nil {
		c.last.Store(&pair)
	}
	return err
}

func (c *ownCertificate) present(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	_ = c.read() // then the last good one is not out of date, or the far side says so
	return c.last.Load(), nil
}
