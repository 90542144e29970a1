package content

import (
	"errors"
	"fmt"
)

// Decoders of base64 that skip foreign characters part ways over two sorts of
// them: the digits of the URL-safe alphabet, which are foreign to some, and
// padding that is not at the end, where some stop (Python's, Node's), some begin
// anew (GNU's) and some go on as if it were not there (PHP's). The candidate itself
// takes both alphabets and begins anew; what one makes of the value that stops is
// an object at once; the others go on in readings of their own.

// reading is what a decoder makes of a value that skips padding.
type reading struct {
	c        *candidate
	standard bool // digits of the URL-safe alphabet are foreign
	stopped  bool // what is made of it by one that stops was reported
	decoded  sink
	quad     quad
	out      []byte
	start    []byte // the first decoded bytes
	judged   bool
	dead     bool // what comes out is no file
}

// Indexes of candidate.others.
const (
	bothAlphabets = iota
	standardOnly
)

// split reports whether there is more than one reading.
func (c *candidate) split() bool {
	for _, r := range c.others {
		if r != nil && !r.dead {
			return true
		}
	}
	return false
}

// done reports whether no reading of the value goes on.
func (c *candidate) done() bool { return c.given && !c.split() }

// part is called before a digit is taken: it may be the first one over which
// decoders differ.
func (c *candidate) part(kind byte) error {
	if c.n.levels[byEmbedding] >= maxEmbedded {
		return nil
	}
	if c.quad.pads > 0 && c.others[bothAlphabets] == nil && !c.given {
		r, err := c.fork()
		if err != nil || r == nil {
			return err
		}
		c.others[bothAlphabets] = r
		if err := r.stop(); err != nil {
			return err
		}
	}
	if kind&kindURLSafe == 0 || c.others[standardOnly] != nil {
		return nil
	}
	r := c.others[bothAlphabets]
	var err error
	switch {
	case r != nil && !r.dead:
		r, err = r.fork()
	case !c.given:
		r, err = c.fork()
	}
	if err != nil || r == nil {
		return err
	}
	r.standard = true
	c.others[standardOnly] = r
	return nil
}

// fork begins a reading with what the candidate decoded so far.
func (c *candidate) fork() (*reading, error) {
	if err := c.spill(); err != nil || c.given {
		return nil, err
	}
	r := c.newReading()
	r.quad, r.start = c.quad, append(r.start, c.start...)
	return r, c.decoded.forkTo(&r.decoded)
}

// newReading returns an empty reading, if possible one that is over: a form may have
// as many values as it has bytes.
func (c *candidate) newReading() *reading {
	if last := len(c.spare) - 1; last >= 0 {
		r := c.spare[last]
		c.spare = c.spare[:last]
		return r
	}
	return &reading{c: c, decoded: sink{w: c.w, n: c.n}}
}

// release takes back a reading of which nothing is kept.
func (c *candidate) release(r *reading) {
	decoded := sink{w: c.w, n: c.n, buf: r.decoded.buf[:0]}
	*r = reading{c: c, out: r.out[:0], start: r.start[:0], decoded: decoded}
	c.spare = append(c.spare, r)
}

// releaseOthers takes back the other readings once they have ended.
func (c *candidate) releaseOthers() {
	for i, r := range c.others {
		if r != nil {
			c.release(r)
			c.others[i] = nil
		}
	}
}

func (r *reading) fork() (*reading, error) {
	if err := r.spill(); err != nil {
		return nil, err
	}
	twin := r.c.newReading()
	twin.quad, twin.start, twin.stopped = r.quad, append(twin.start, r.start...), r.stopped
	return twin, r.decoded.forkTo(&twin.decoded)
}

// forkTo writes the same bytes to an empty sink.
func (s *sink) forkTo(twin *sink) error {
	if s.body == nil { // all of it is in the buffer, or over a limit
		twin.buf, twin.over = append(twin.buf, s.buf...), s.over
		return nil
	}
	size := s.total()
	body, err := s.seal()
	if err != nil || body == nil {
		return err
	}
	block := s.w.u.pools.block()
	defer s.w.u.pools.giveBlock(block)
	for off := int64(0); off < size; off += int64(len(*block)) {
		p := (*block)[:min(size-off, int64(len(*block)))]
		if err := readAt(body, p, off); err != nil {
			return err
		}
		for _, to := range []*sink{s, twin} {
			if err := to.write(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// digit takes a digit for the other readings. The candidate is moved on as well:
// while there are several, none is decoded in large steps.
func (c *candidate) digit(v, kind byte) error {
	if !c.split() {
		return nil
	}
	if len(c.out) >= c.mark() {
		if err := c.spill(); err != nil {
			return err
		}
	}
	for _, r := range c.others {
		if r == nil || r.dead || r.standard && kind&kindURLSafe != 0 {
			continue
		}
		if err := r.push(v); err != nil {
			return err
		}
	}
	return nil
}

func (r *reading) push(v byte) error {
	if r.quad.n >= 2 && r.quad.n+r.quad.pads >= 4 {
		if err := r.stop(); err != nil {
			return err
		}
	}
	r.quad.pads = 0
	enough := bigPiece
	if !r.judged {
		enough = judgedHead
	}
	if r.out, _ = r.quad.push(r.out, v); len(r.out) < enough {
		return nil
	}
	return r.spill()
}

func (r *reading) pad() {
	if r != nil {
		r.quad.pads++
	}
}

// stop reports what the value is to a decoder that stops at the padding; once for
// padding that ends no group, and once more for such that does.
func (r *reading) stop() error {
	whole := r.quad.n >= 2 && r.quad.n+r.quad.pads >= 4
	if r.stopped {
		return nil
	}
	r.stopped = whole
	if err := r.spill(); err != nil || r.dead || !r.looksLikeFile() {
		return err
	}
	twin, err := r.fork()
	if err != nil {
		return err
	}
	defer r.c.release(twin)
	twin.out = twin.quad.flush(twin.out)
	if err := twin.spill(); err != nil || twin.decoded.total() < minPiece {
		return err
	}
	return twin.decoded.report(piece{word: fmt.Sprintf("%s[%d]-padded", r.c.word, r.c.found), kind: byEmbedding})
}

func (r *reading) spill() error {
	if room := judgedHead - len(r.start); room > 0 {
		r.start = append(r.start, r.out[:min(room, len(r.out))]...)
	}
	if !r.judged && len(r.start) >= judgedHead {
		r.judged, r.dead = true, !r.looksLikeFile()
	}
	if r.dead {
		r.out = r.out[:0]
		return r.decoded.drop()
	}
	err := r.decoded.write(r.out)
	r.out = r.out[:0]
	return err
}

func (r *reading) looksLikeFile() bool {
	return r.c.w.u.tables.hasMagic(r.start) || textLike(r.start)
}

func (c *candidate) endOthers() error {
	for _, r := range c.others {
		if r == nil || r.dead {
			continue
		}
		if err := r.end(); err != nil {
			return err
		}
	}
	return nil
}

func (r *reading) end() error {
	r.quad.pads = 0
	r.out = r.quad.flush(r.out)
	if err := r.spill(); err != nil {
		return err
	}
	if r.dead || r.decoded.total() < minPiece || !r.looksLikeFile() || r.c.isJWT() {
		return r.decoded.drop()
	}
	return r.c.report(&r.decoded)
}

func (c *candidate) dropOthers() error {
	var err error
	for _, r := range c.others {
		if r != nil {
			err = errors.Join(err, r.decoded.drop())
		}
	}
	return err
}

// unescape goes on with an escape of a data URI (RFC 3986 section 2.1). It reports
// true when there is a character to be looked at: the one in c.escaped, or b
// itself when it is no part of an escape.
func (c *candidate) unescape(b *byte) bool {
	if unhex(*b) < 0 {
		c.percent, c.foreign = c.percent[:0], true
		return true
	}
	if c.percent = append(c.percent, *b); len(c.percent) < 3 {
		return false
	}
	c.escaped = byte(unhex(c.percent[1])<<4 | unhex(c.percent[2]))
	c.percent = c.percent[:0]
	return true
}
