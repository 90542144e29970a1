package icap

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/portcullis-av/portcullis/scan"
)

// conn is one connection, used by one request at a time.
type conn struct {
	net.Conn
	in *bufio.Reader
	// got counts the bytes received since the request began.
	got int64
	// reused says that an earlier request used it.
	reused bool
	// keep says that the last request left it fit for another.
	keep bool
}

// Read implements [io.Reader].
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.got += int64(n)
	return n, err
}

// dial returns a new connection.
func (e *Engine) dial(ctx context.Context) (*conn, error) {
	dialCtx, cancel := context.WithTimeout(ctx, e.connectTimeout)
	defer cancel()
	var raw net.Conn
	var err error
	if e.tls == nil {
		raw, err = (&net.Dialer{}).DialContext(dialCtx, "tcp", e.address)
	} else {
		raw, err = (&tls.Dialer{Config: e.tls}).DialContext(dialCtx, "tcp", e.address)
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, ended(ctx)
		}
		return nil, &scan.Error{Kind: scan.KindUnreachable, Op: "connect to the icap server", Err: err}
	}
	c := &conn{Conn: raw}
	c.in = bufio.NewReaderSize(c, maxHead)
	return c, nil
}

// with lets talk use a connection, which closes when ctx ends. A kept one that
// fails before a byte came back had been closed by the server meanwhile: talk is
// called again, exactly once, with a new connection.
func (e *Engine) with(ctx context.Context, talk func(*conn) error) error {
	if ctx.Err() != nil {
		return ended(ctx)
	}
	c := e.idle.get()
	if c == nil {
		return e.withNew(ctx, talk)
	}
	err := e.on(ctx, c, talk)
	if err == nil || c.got > 0 || scan.KindOf(err) != scan.KindUnreachable {
		return err
	}
	e.idle.clear() // what befell one has befallen all
	return e.withNew(ctx, talk)
}

func (e *Engine) withNew(ctx context.Context, talk func(*conn) error) error {
	c, err := e.dial(ctx)
	if err != nil {
		return err
	}
	return e.on(ctx, c, talk)
}

// on runs talk and then keeps or closes the connection.
func (e *Engine) on(ctx context.Context, c *conn, talk func(*conn) error) error {
	c.got, c.keep = 0, false
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	err := talk(c)
	// Bytes beyond the answer would be taken for the next one.
	if stop() && err == nil && c.keep && c.in.Buffered() == 0 {
		c.reused = true
		e.idle.put(c)
	} else {
		_ = c.Close()
	}
	if err != nil && ctx.Err() != nil {
		return ended(ctx)
	}
	return transport(err)
}

// transport gives an error of the connection its kind.
func transport(err error) error {
	if _, ok := errors.AsType[*scan.Error](err); ok || err == nil {
		return err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("the connection was closed before the reply was complete: %w", err)
	}
	return &scan.Error{Kind: scan.KindUnreachable, Op: "talk to the icap server", Err: err}
}

// ended is the error of a call whose context ended.
func ended(ctx context.Context) error {
	return &scan.Error{Kind: scan.KindOf(ctx.Err()), Op: "scan with the icap server", Err: ctx.Err()}
}
