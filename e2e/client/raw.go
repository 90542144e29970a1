package client

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"

	"github.com/portcullis-av/portcullis/e2e/tap"
)

// Raw is a connection for clients that break the rules.
type Raw struct {
	net.Conn
	tap *tap.Tap
	in  *bufio.Reader
}

// Dial opens a raw connection whose reads and writes end with the deadline of
// ctx; the caller closes it.
func Dial(ctx context.Context, addr string) (*Raw, error) {
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	heard := tap.New()
	c = heard.Conn(c)
	return &Raw{Conn: c, tap: heard, in: bufio.NewReader(c)}, nil
}

// Tap hears every byte that reaches the connection.
func (r *Raw) Tap() *tap.Tap { return r.tap }

// Send writes text as it is.
func (r *Raw) Send(text string) error {
	_, err := io.WriteString(r.Conn, text)
	return err
}

// Receive reads one response to a request of that method, whole.
func (r *Raw) Receive(method string) (Result, error) {
	var res Result
	resp, err := http.ReadResponse(r.in, &http.Request{Method: method})
	if err != nil {
		return res, err
	}
	defer func() { _ = resp.Body.Close() }() // read to its end below
	res.Status, res.Proto, res.Header, res.ContentLength = resp.StatusCode, resp.Proto, resp.Header, resp.ContentLength
	res.receive(resp.Body)
	res.Trailer = resp.Trailer
	return res, nil
}
