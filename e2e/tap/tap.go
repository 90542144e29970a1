package tap

import (
	"bytes"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Prefix begins a canary; an id of [IDLength] characters follows.
const (
	Prefix   = "canary:"
	IDLength = 16
)

// Canary returns the text that a tap finds for id, which must have [IDLength]
// characters. It ends in a line break, so that it can be repeated.
func Canary(id string) string { return Prefix + id + "\n" }

// Tap collects what its connections read. It is safe for concurrent use.
type Tap struct {
	bytes atomic.Int64
	mu    sync.Mutex
	found map[string]int
}

// New returns a tap that has heard nothing.
func New() *Tap { return &Tap{found: map[string]int{}} }

// Bytes is the number of bytes read so far, framing included.
func (t *Tap) Bytes() int64 { return t.bytes.Load() }

// Canaries is how often the canary of id was read.
func (t *Tap) Canaries(id string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.found[id]
}

func (t *Tap) add(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.found[id]++
}

// Conn returns c with everything read from it heard by t.
func (t *Tap) Conn(c net.Conn) net.Conn { return &conn{Conn: c, tap: t} }

// Listener returns l with every accepted connection heard by t.
func (t *Tap) Listener(l net.Listener) net.Listener { return &listener{Listener: l, tap: t} }

type listener struct {
	net.Listener
	tap *Tap
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.tap.Conn(c), nil
}

type conn struct {
	net.Conn
	tap  *Tap
	tail []byte // the end of what was read before, shorter than one canary
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.tap.bytes.Add(int64(n))
	c.listen(p[:n])
	return n, err
}

const whole = len(Prefix) + IDLength

// listen searches the seam between the last read and this one, and then this
// one, so that a canary is found once wherever the reads cut it.
func (c *conn) listen(p []byte) {
	if len(c.tail) > 0 {
		c.search(slices.Concat(c.tail, p[:min(len(p), whole-1)]))
	}
	c.search(p)
	keep := whole - 1
	if len(p) < keep {
		p = slices.Concat(c.tail, p)
	}
	c.tail = bytes.Clone(p[max(0, len(p)-keep):])
}

func (c *conn) search(p []byte) {
	for {
		at := bytes.Index(p, []byte(Prefix))
		if at < 0 || len(p) < at+whole {
			return
		}
		c.tap.add(strings.Clone(string(p[at+len(Prefix) : at+whole])))
		p = p[at+whole:]
	}
}
