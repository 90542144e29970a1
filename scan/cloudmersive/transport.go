package cloudmersive

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

func newTransport(tlsConfig *tls.Config) *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return newReplyFirstConn(conn), nil
		},
		TLSClientConfig:     tlsConfig,
		TLSHandshakeTimeout: 10 * time.Second,
		ForceAttemptHTTP2:   true,
		// Without pings, every scan on a silently dead HTTP/2 connection would
		// run into its time-out until the kernel gives up, after a quarter hour.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 10 * time.Second},
		// A compressed reply could expand without bound before the cap.
		DisableCompression:     true,
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConnsPerHost:    16,
		// Shorter than the idle time-outs of usual load balancers (60 s), so
		// that we, not they, close an idle connection.
		IdleConnTimeout: 30 * time.Second,
		WriteBufferSize: 64 << 10,
	}
}

// replyFirstConn lets a reply be read that came before the connection broke
// under our upload.
//
// A server that finds the length too much answers 413 and closes, while we
// still write. Go's transport then reports the broken write and drops the
// reply, so that a body over the service's limit (UNSCANNABLE) would look like
// a broken connection (ERROR), which a policy may let pass. Here a write that
// finds the connection broken keeps its error until the transport has given the
// connection up. It does that once it has read the reply, or that there is none:
// reading from a connection that the other side has reset never waits.
type replyFirstConn struct {
	net.Conn
	once   sync.Once
	closed chan struct{}
}

func newReplyFirstConn(c net.Conn) *replyFirstConn {
	return &replyFirstConn{Conn: c, closed: make(chan struct{})}
}

func (c *replyFirstConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		<-c.closed
	}
	return n, err
}

func (c *replyFirstConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
