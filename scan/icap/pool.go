package icap

import (
	"slices"
	"sync"
	"time"
)

// pool keeps connections for later requests, the last used first, each for a
// bounded time. It needs no closing: what is in it goes by itself.
type pool struct {
	most    int
	timeout time.Duration

	mu   sync.Mutex
	idle []idleConn
}

type idleConn struct {
	*conn
	expire *time.Timer
}

func newPool(most int, timeout time.Duration) *pool {
	return &pool{most: most, timeout: timeout}
}

// get returns nil when there is none. One that the server has closed, or over
// which it said more than its answer, is none.
func (p *pool) get() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.idle) > 0 {
		last := len(p.idle) - 1
		c := p.idle[last]
		p.idle = p.idle[:last]
		c.expire.Stop()
		if quiet(c.Conn) {
			return c.conn
		}
		_ = c.Close()
	}
	return nil
}

// put keeps c, or closes it when there are enough.
func (p *pool) put(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) >= p.most {
		_ = c.Close()
		return
	}
	p.idle = append(p.idle, idleConn{c, time.AfterFunc(p.timeout, func() { p.expire(c) })})
}

// expire closes c unless a request has it already.
func (p *pool) expire(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.idle, func(k idleConn) bool { return k.conn == c })
	if i < 0 {
		return
	}
	p.idle = slices.Delete(p.idle, i, i+1)
	_ = c.Close()
}

func (p *pool) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.idle {
		c.expire.Stop()
		_ = c.Close()
	}
	p.idle = nil
}
