package content

import (
	"fmt"
	"io"
)

// skipping is the reading of a value by a decoder that takes padding for a
// foreign character and goes on (PHP's base64_decode).
type skipping struct {
	decoded sink
	quad    quad
	out     []byte
}

// fork is called at the first digit behind padding. Three sorts of decoder part
// here: one ends at the padding (Python's, Node's), one begins anew behind it
// (GNU's), one goes on as if it were not there (PHP's). What the first makes of
// the value is an object at once; the two others get what is decoded so far.
func (c *candidate) fork() error {
	if c.skipping != nil || c.n.levels[byEmbedding] >= maxEmbedded {
		return nil
	}
	if err := c.spill(); err != nil || c.given {
		return err
	}
	size := c.decoded.total()
	if size < minPiece || !c.judge() {
		return nil
	}
	q := c.quad
	head, rest := c.decoded, q.flush(nil)
	c.decoded = sink{w: c.w, n: c.n}
	c.skipping = &skipping{decoded: sink{w: c.w, n: c.n}, quad: quad{bits: c.quad.bits, n: c.quad.n}}
	if err := head.write(rest); err != nil {
		return err
	}
	body, err := head.seal()
	if err != nil || body == nil {
		return err
	}
	p := piece{word: fmt.Sprintf("%s[%d]-padded", c.word, c.found), kind: byEmbedding}
	if err := c.w.layer(c.n, p, body); err != nil {
		return err
	}
	return c.copyFrom(body, size)
}

// copyFrom gives both other readings what they have in common.
func (c *candidate) copyFrom(body io.ReaderAt, size int64) error {
	block := c.w.u.pools.block()
	defer c.w.u.pools.giveBlock(block)
	for off := int64(0); off < size; off += int64(len(*block)) {
		p := (*block)[:min(size-off, int64(len(*block)))]
		if err := readAt(body, p, off); err != nil {
			return err
		}
		for _, to := range []*sink{&c.decoded, &c.skipping.decoded} {
			if err := to.write(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// judge reports whether what is decoded so far looks like a file.
func (c *candidate) judge() bool {
	return c.w.u.tables.hasMagic(c.start) || textLike(c.start)
}

// skip takes a digit for the reading that skips padding.
func (c *candidate) skip(v byte) error {
	s := c.skipping
	if s == nil {
		return nil
	}
	if s.out, _ = s.quad.push(s.out, v); len(s.out) < sinkBuffer {
		return nil
	}
	err := s.decoded.write(s.out)
	s.out = s.out[:0]
	return err
}

func (c *candidate) endSkipping() error {
	s := c.skipping
	if s == nil {
		return nil
	}
	if c.given {
		return c.dropSkipping()
	}
	if err := s.decoded.write(s.quad.flush(s.out)); err != nil {
		return err
	}
	return c.report(&s.decoded)
}

func (c *candidate) dropSkipping() error {
	if c.skipping == nil {
		return nil
	}
	return c.skipping.decoded.drop()
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
