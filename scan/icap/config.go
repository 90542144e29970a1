package icap

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"
)

const (
	defaultConnectTimeout = time.Second
	defaultIdleTimeout    = 15 * time.Second
	defaultMaxIdle        = 4
	defaultMaxObjectBytes = 100 << 20
	// The bounds leave room for the known-bad file of that size, a zip archive.
	minObjectBytes = 4 << 10
	maxObjectBytes = 2 << 30
	maxPreview     = 64 << 10
)

// Values of [Config.Method].
const (
	MethodRespmod = "respmod"
	MethodReqmod  = "reqmod"
	MethodAuto    = "auto"
)

// Config names one service of one server.
type Config struct {
	// URL is icap://host[:port]/service, or icaps:// for TLS from the first
	// byte. A query is kept. The ports are 1344 and 11344 unless given.
	URL string
	// CAFile is a PEM file with the authorities that may have signed the
	// server's certificate; empty means the system's. For icaps only.
	CAFile string
	// Method is "respmod" (also when empty), "reqmod", or "auto": RESPMOD where
	// the service offers it, else REQMOD.
	Method string
	// Headers are sent with every request.
	Headers []Header
	// MaxPreview bounds, in bytes, the preview that a service may ask for; up to
	// 64 KiB. 0 means that objects are sent without one. A service that lets an
	// object pass after a preview of it has not seen all of it: UNSCANNABLE.
	MaxPreview int
	// AcceptEcho takes an object that came back unchanged for CLEAN. Needed for
	// servers that never answer 204.
	AcceptEcho bool
	// MaxObjectBytes is the largest object given to the server; larger ones are
	// UNSCANNABLE. The server must find a known-bad file of that very size before
	// anything is called CLEAN. 0 means 100 MiB; 4 KiB to 2 GiB.
	MaxObjectBytes int64
	// SendFileName sends the object's file name. Servers may be set up to skip
	// by extension, and a name is the sender's choice.
	SendFileName bool
	// ConnectTimeout bounds the time until a connection stands, TLS included; 0
	// means 1 s.
	ConnectTimeout time.Duration
	// MaxIdle is how many connections are kept for later scans; 0 means 4,
	// negative none. A kept connection occupies a thread of some servers (c-icap).
	MaxIdle int
	// IdleTimeout is how long one is kept; 0 means 15 s.
	IdleTimeout time.Duration
}

// New returns the engine for one service. It checks the configuration, reads
// the files it names and does not connect: a server that is down is found by
// the first scan.
func New(c Config) (*Engine, error) {
	e := &Engine{
		sendFileName:   c.SendFileName,
		acceptEcho:     c.AcceptEcho,
		maxPreview:     c.MaxPreview,
		connectTimeout: orDefault(c.ConnectTimeout, defaultConnectTimeout),
		maxObjectBytes: orDefault(c.MaxObjectBytes, defaultMaxObjectBytes),
	}
	if err := e.setURL(c); err != nil {
		return nil, err
	}
	switch c.Method {
	case "", MethodRespmod:
		e.method = respmod
	case MethodReqmod:
		e.method = reqmod
	case MethodAuto:
	default:
		return nil, fmt.Errorf("icap method %q: want %s, %s or %s", c.Method, MethodRespmod, MethodReqmod, MethodAuto)
	}
	switch {
	case e.connectTimeout < 0:
		return nil, fmt.Errorf("icap: connect time-out %v is negative", c.ConnectTimeout)
	case c.IdleTimeout < 0:
		return nil, fmt.Errorf("icap: idle time-out %v is negative", c.IdleTimeout)
	case c.MaxPreview < 0 || c.MaxPreview > maxPreview:
		return nil, fmt.Errorf("icap: preview of %d bytes: want 0 to %d", c.MaxPreview, maxPreview)
	case e.maxObjectBytes < minObjectBytes || e.maxObjectBytes > maxObjectBytes:
		return nil, fmt.Errorf("icap: largest object of %d bytes: want %d to %d", c.MaxObjectBytes, minObjectBytes, maxObjectBytes)
	}
	for _, h := range c.Headers {
		own, err := newExtraHeader(h)
		if err != nil {
			return nil, err
		}
		e.extra = append(e.extra, own)
	}
	e.idle = newPool(orDefault(c.MaxIdle, defaultMaxIdle), orDefault(c.IdleTimeout, defaultIdleTimeout))
	e.proof = newProof(e.maxObjectBytes)
	e.buffers.New = func() any { return new(buffer) }
	return e, nil
}

func orDefault[T int | int64 | time.Duration](v, fallback T) T {
	if v == 0 {
		return fallback
	}
	return v
}

// setURL takes scheme, address and service from the URL. Errors never repeat
// the URL as a whole: it may hold a secret.
func (e *Engine) setURL(c Config) error {
	u, err := url.Parse(c.URL)
	if err != nil {
		return errors.New("icap url: want icap://host:port/service")
	}
	port := "1344"
	switch u.Scheme {
	case "icap":
	case "icaps":
		port = "11344"
	default:
		return fmt.Errorf("icap url: scheme %q: want icap or icaps", u.Scheme)
	}
	host := u.Hostname()
	switch {
	case host == "":
		return errors.New("icap url: names no host")
	case strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r > '~' }):
		return errors.New("icap url: the host is no ASCII name")
	case u.User != nil:
		return errors.New("icap url: holds a user name or password")
	case u.Fragment != "" || u.Opaque != "":
		return errors.New("icap url: want icap://host:port/service")
	case strings.ContainsFunc(u.RawQuery, func(r rune) bool { return r <= ' ' || r > '~' }):
		return errors.New("icap url: the query has characters that must be percent-encoded")
	}
	if u.Port() != "" {
		port = u.Port()
	}
	e.address = net.JoinHostPort(host, port)
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	if u.RawQuery != "" {
		path += "?" + u.RawQuery
	}
	e.uri = u.Scheme + "://" + e.address + path
	if u.Scheme == "icap" {
		if c.CAFile != "" {
			return errors.New("icap: a CA file needs an icaps:// url")
		}
		return nil
	}
	e.tls = &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if c.CAFile == "" {
		return nil
	}
	pem, err := os.ReadFile(c.CAFile)
	if err != nil {
		return fmt.Errorf("icap ca file: %w", err)
	}
	e.tls.RootCAs = x509.NewCertPool()
	if !e.tls.RootCAs.AppendCertsFromPEM(pem) {
		return fmt.Errorf("icap ca file: %s holds no certificate in PEM form", c.CAFile)
	}
	return nil
}
