package cache

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strconv"
	"syscall"
)

const (
	// maxLine is the longest line of a reply; those that are asked for have 100
	// bytes at most, errors of the server some more.
	maxLine = 4 << 10
	// maxCount is the most elements of an aggregate: HELLO's answer has 14.
	maxCount = 64
	// maxBulk is the longest string: an entry, of which one byte too many is asked
	// for, or a value of HELLO's.
	maxBulk = 4 << 10
	// maxReply is the most bytes of one reply, nested ones included.
	maxReply = 256 << 10
)

var errNotRedis = errors.New("it answers as no Redis would")

// dialGuarded connects to a server whose replies are bounded.
func dialGuarded(config *tls.Config) func(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: dialTimeout}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if config != nil {
			conn, err := (&tls.Dialer{NetDialer: dialer, Config: config}).DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &guarded{Conn: conn}, nil
		}
		conn, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		if raw, ok := conn.(syscall.Conn); ok {
			// With it the library finds out that an idle connection was closed.
			return struct {
				*guarded
				syscall.Conn
			}{&guarded{Conn: conn}, raw}, nil
		}
		return &guarded{Conn: conn}, nil
	}
}

// guarded is a connection that breaks when the server announces more than it was
// asked for: the library takes memory by what a reply says of its own length, 8 EiB
// if need be, which ends the process.
type guarded struct {
	net.Conn
	line []byte // what there is of the current line
	skip int64  // bytes left of the current string
	read int    // bytes since the last command
	err  error
}

// Write implements [io.Writer].
func (g *guarded) Write(p []byte) (int, error) {
	g.read = 0
	return g.Conn.Write(p)
}

// Read implements [io.Reader]. Nothing that begins a reply which is not wanted is
// handed on.
func (g *guarded) Read(p []byte) (int, error) {
	if g.err != nil {
		return 0, g.err
	}
	n, err := g.Conn.Read(p)
	if g.read += n; g.read > maxReply || !g.wanted(p[:n]) {
		g.err = errNotRedis
		return 0, g.err
	}
	return n, err
}

// wanted follows the protocol (RESP2 and 3) as far as lengths go.
func (g *guarded) wanted(p []byte) bool {
	for len(p) > 0 {
		if g.skip > 0 {
			n := min(g.skip, int64(len(p)))
			g.skip, p = g.skip-n, p[n:]
			continue
		}
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			g.line = append(g.line, p...)
			return len(g.line) <= maxLine
		}
		g.line, p = append(g.line, p[:end+1]...), p[end+1:]
		if len(g.line) > maxLine || !g.follows() {
			return false
		}
		g.line = g.line[:0]
	}
	return true
}

// follows takes from a whole line how much it says will follow. A line that says it
// wrongly is the library's to refuse.
func (g *guarded) follows() bool {
	line := bytes.TrimRight(g.line, "\r\n")
	if len(line) == 0 {
		return true
	}
	n, err := strconv.ParseInt(string(line[1:]), 10, 64)
	switch line[0] {
	case '$', '=', '!':
		if err == nil && n >= 0 {
			g.skip = n + int64(len("\r\n"))
		}
		return n <= maxBulk
	case '*', '~', '>', '%', '|':
		return n <= maxCount
	}
	return true
}
