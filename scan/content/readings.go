package content

import (
	"bytes"
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
	r := &reading{c: c, quad: c.quad, start: bytes.Clone(c.start)}
	var err error
	r.decoded, err = c.decoded.fork()
	return r, err
}

func (r *reading) fork() (*reading, error) {
	if err := r.spill(); err != nil {
		return nil, err
	}
	twin := &reading{c: r.c, quad: r.quad, start: bytes.Clone(r.start), stopped: r.stopped}
	var err error
	twin.decoded, err = r.decoded.fork()
	return twin, err
}

// fork returns a sink with the same bytes.
func (s *sink) fork() (sink, error) {
	twin := sink{w: s.w, n: s.n}
	if s.body == nil { // all of it is in the buffer, or over a limit
		twin.buf, twin.over = bytes.Clone(s.buf), s.over
		return twin, nil
	}
	size := s.total()
	body, err := s.seal()
	if err != nil || body == nil {
		return twin, err
	}
	block := s.w.u.pools.block()
	defer s.w.u.pools.giveBlock(block)
	for off := int64(0); off < size; off += int64(len(*block)) {
		p := (*block)[:min(size-off, int64(len(*block)))]
		if err := readAt(body, p, off); err != nil {
			return twin, err
		}
		for _, to := range []*sink{s, &twin} {
			if err := to.write(p); err != nil {
				return twin, err
			}
		}
	}
	return twin, nil
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
