package client

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/portcullis-av/portcullis/e2e/payload"
	"github.com/portcullis-av/portcullis/e2e/tap"
)

// Protocol is what a client speaks.
type Protocol uint8

// The two protocols, both without TLS.
const (
	HTTP1 Protocol = iota
	HTTP2
)

// String returns "HTTP/1.1" or "HTTP/2".
func (p Protocol) String() string {
	if p == HTTP2 {
		return "HTTP/2"
	}
	return "HTTP/1.1"
}

// Request is one request.
type Request struct {
	Method string // empty: POST if there is a body to send, else GET
	Path   string
	Header http.Header
	// Body is sent with Content-Length unless Chunked is set. The Content-Type
	// is the body's unless Header has one.
	Body    payload.Body
	Chunked bool
	Trailer http.Header // needs Chunked
	// Gate, if set, is awaited before byte GateAt of the body is sent.
	Gate   <-chan struct{}
	GateAt int64
}

// Result is what came back.
type Result struct {
	Status        int
	Proto         string
	Header        http.Header
	ContentLength int64 // as declared; -1 if not
	Bytes         int64 // of the body
	SHA256        [sha256.Size]byte
	Head          []byte // the first 16 KiB of the body
	Trailer       http.Header
	// Err is set when the body broke off.
	Err error
	// Sent and SentSHA256 are the request body as it left.
	Sent       int64
	SentSHA256 [sha256.Size]byte
	HeadersIn  time.Duration // from the start to the response headers
	Took       time.Duration // from the start to the end of the body
}

// Client talks to one address. It is safe for concurrent use.
type Client struct {
	addr      string
	tap       *tap.Tap
	transport *http.Transport
}

// New returns a client for host:port; the caller closes it.
func New(addr string, p Protocol) *Client {
	heard := tap.New()
	protocols := &http.Protocols{}
	protocols.SetHTTP1(p == HTTP1)
	protocols.SetUnencryptedHTTP2(p == HTTP2)
	var dialer net.Dialer
	return &Client{addr: addr, tap: heard, transport: &http.Transport{
		Protocols:           protocols,
		DisableCompression:  true, // bytes as they cross the wire
		MaxIdleConnsPerHost: 64,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return heard.Conn(c), nil
		},
	}}
}

// Through makes c ask the HTTP proxy at host:port, as http_proxy would. It must
// be called before the first Do.
func (c *Client) Through(proxy string) {
	c.transport.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: proxy})
}

// Tap hears every byte that reaches the client.
func (c *Client) Tap() *tap.Tap { return c.tap }

// Close closes idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Do sends r and reads the answer whole. An error means that there was no
// answer, not even headers; ctx bounds all of it.
func (c *Client) Do(ctx context.Context, r Request) (Result, error) {
	var res Result
	start := time.Now()
	body := &sending{ctx: ctx, from: r.Body.Reader(), hash: sha256.New(), gate: r.Gate, gateAt: r.GateAt}
	req, err := c.request(ctx, r, body)
	if err != nil {
		return res, err
	}
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return res, fmt.Errorf("%s %s: %w", req.Method, r.Path, err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end below
	res.HeadersIn = time.Since(start)
	res.Status, res.Proto, res.Header, res.ContentLength = resp.StatusCode, resp.Proto, resp.Header, resp.ContentLength
	res.receive(resp.Body)
	res.Trailer = resp.Trailer
	res.Took = time.Since(start)
	res.Sent, res.SentSHA256 = body.result()
	return res, nil
}

func (c *Client) request(ctx context.Context, r Request, body *sending) (*http.Request, error) {
	if r.Method == "" {
		r.Method = http.MethodGet
		if r.Body.Size() > 0 || r.Chunked {
			r.Method = http.MethodPost
		}
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, "http://"+c.addr+r.Path, nil)
	if err != nil {
		return nil, err
	}
	if r.Header != nil {
		req.Header = r.Header.Clone()
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
		req.Header.Del("Host")
	}
	if req.Header.Get("Content-Type") == "" && r.Body.ContentType != "" {
		req.Header.Set("Content-Type", r.Body.ContentType)
	}
	switch {
	case r.Chunked:
		req.Body, req.ContentLength, req.Trailer = body, -1, r.Trailer
	case r.Body.Size() > 0:
		req.Body, req.ContentLength = body, r.Body.Size()
	}
	return req, nil
}

func (r *Result) receive(body io.Reader) {
	const head = 16 << 10
	h := sha256.New()
	buf := make([]byte, 64<<10)
	for {
		n, err := body.Read(buf)
		h.Write(buf[:n])
		r.Bytes += int64(n)
		if room := head - len(r.Head); room > 0 {
			r.Head = append(r.Head, buf[:min(n, room)]...)
		}
		if err != nil {
			if err != io.EOF {
				r.Err = err
			}
			break
		}
	}
	r.SHA256 = [sha256.Size]byte(h.Sum(nil))
}

// sending is the request body on its way out. The transport may still be
// reading it when the answer is already there, hence the lock.
type sending struct {
	ctx    context.Context //nolint:containedctx // it lives as long as the call it belongs to
	from   io.Reader
	gate   <-chan struct{}
	gateAt int64

	mu   sync.Mutex
	hash hash.Hash
	n    int64
}

func (s *sending) Read(p []byte) (int, error) {
	if s.gate != nil {
		sent, _ := s.result()
		if sent < s.gateAt {
			p = p[:min(int64(len(p)), s.gateAt-sent)]
		} else if err := s.wait(); err != nil {
			return 0, err
		}
	}
	n, err := s.from.Read(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hash.Write(p[:n])
	s.n += int64(n)
	return n, err
}

func (s *sending) wait() error {
	select {
	case <-s.gate:
		s.gate = nil
		return nil
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
}

func (s *sending) result() (int64, [sha256.Size]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n, [sha256.Size]byte(s.hash.Sum(nil))
}

func (s *sending) Close() error { return nil }
