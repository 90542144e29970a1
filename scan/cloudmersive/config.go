package cloudmersive

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"
)

const (
	defaultURL = "https://api.cloudmersive.com"
	// defaultTimeout is what the vendor's SDK waits for one call.
	defaultTimeout = 60 * time.Second
)

// Config says how to reach the service and what to ask of it. The zero value of
// every field but APIKeyFile is usable.
type Config struct {
	// URL is the base address, https or http, without query, fragment and user
	// name; a path prefix is kept. Empty means https://api.cloudmersive.com.
	// The environment's HTTPS_PROXY, HTTP_PROXY and NO_PROXY are honoured.
	URL string
	// APIKeyFile holds the API key on one line; white space around it is
	// ignored. The file is read again while the engine runs, so that a key can
	// be changed in place; what cannot be read as a key then changes nothing.
	APIKeyFile string
	// CAFile holds the PEM certificates that the service's own certificate must
	// lead to, and no others. Empty means those of the system. It is read once.
	CAFile string
	// Timeout bounds one attempt, from connecting to the last byte of the
	// reply. 0 means 60 s.
	Timeout time.Duration
	// Retry allows one second attempt, after 50 to 500 ms, when it may help: no
	// connection, a kept-alive connection that broke without a byte of reply,
	// or status 408, 429, 500, 502, 503 or 504. The service bills both attempts.
	Retry bool
	// FileName is the name given to the service with every object: nil means
	// the object's own name, if it has one, and "" means none.
	FileName *string
	// Advanced asks for the advanced scan. Nil means the basic one.
	Advanced *Advanced
	// Transport replaces the package's own connections, for tests. It must not
	// follow redirects. CAFile does not apply to it.
	Transport http.RoundTripper
}

// New checks the configuration, reads the key and returns an engine; it does
// not connect. The error names every setting that is wrong, and no secret.
func New(c Config) (*Engine, error) {
	endpoint, urlErr := c.endpoint()
	key, keyErr := newAPIKey(c.APIKeyFile)
	roots, caErr := c.roots()
	options, advErr := c.Advanced.header()

	var timeoutErr error
	if c.Timeout < 0 {
		timeoutErr = fmt.Errorf("timeout: %v is negative", c.Timeout)
	}
	if err := errors.Join(urlErr, keyErr, caErr, timeoutErr, advErr); err != nil {
		return nil, fmt.Errorf("cloudmersive: %w", err)
	}

	e := &Engine{
		endpoint:  endpoint.String(),
		key:       key,
		advanced:  c.Advanced != nil,
		options:   options,
		fileName:  c.FileName,
		timeout:   c.Timeout,
		retry:     c.Retry,
		transport: c.Transport,
	}
	if e.timeout == 0 {
		e.timeout = defaultTimeout
	}
	if e.transport == nil {
		e.transport = newTransport(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots})
	}
	return e, nil
}

// endpoint returns the address to post to. Its errors do not repeat the
// address, which may hold a password.
func (c Config) endpoint() (*url.URL, error) {
	base := c.URL
	if base == "" {
		base = defaultURL
	}
	u, err := url.Parse(base)
	switch {
	case err != nil:
		return nil, errors.New("url: is not a URL")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("url: must begin with https:// or http://")
	case u.User != nil:
		return nil, errors.New("url: must not hold a user name or password")
	case u.Hostname() == "":
		return nil, errors.New("url: has no host")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("url: must not have a query or fragment")
	}
	u = u.JoinPath("virus", "scan", "file")
	if c.Advanced != nil {
		u = u.JoinPath("advanced")
	}
	return u, nil
}

// roots returns nil, which means the system's, when no file is configured.
func (c Config) roots() (*x509.CertPool, error) {
	if c.CAFile == "" {
		return nil, nil //nolint:nilnil // nil is what crypto/tls takes for the system's
	}
	pem, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("ca file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca file: %s holds no PEM certificate", c.CAFile)
	}
	return pool, nil
}
