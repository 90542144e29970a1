package content

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/portcullis-av/portcullis/scan"
)

const (
	minPiece    = 64      // decoded bytes that make a piece
	bigPiece    = 1 << 10 // decoded bytes that no token has
	judgedHead  = 48      // decoded bytes by which a piece is judged
	keptHead    = 256     // bytes of text kept to recognise it
	maxTokens   = 256     // pieces that look like tokens and are objects of their own
	maxEmbedded = 4       // embedded pieces inside each other
)

// candidate is one value of a structured text (a JSON string, the text of an
// XML element, a form value): perhaps text that is a file itself, perhaps
// base64. It is fed in pieces and holds no value whole.
//
// A well-formed base64 value of at least minPiece bytes is an object. Receivers
// that skip foreign characters decode nearly every text to something, so a
// value with such characters counts only if what comes out looks like a file, or if
// it is long and has few of them.
// The many short values that decode to noise (identifiers, keys, hashes) are
// objects up to a number, then gathered into one.
type candidate struct {
	w    *walk
	n    *node
	word string
	// contentType is the label of what is found.
	contentType string
	everyOne    bool // each value of minPiece bytes is an object, whatever it is
	minimum     int64
	found       int
	tokens      int

	head   []byte // the first bytes of the value
	length int64
	text   sink
	keep   bool // the text is gathered

	out     []byte // decoded, not yet in the sink
	decoded sink
	batch   sink
	start   []byte // the first decoded bytes
	quad    quad
	judged  bool
	given   bool // up: it is no base64
	foreign bool // it is not well-formed base64
	strange bool // other foreign characters than dots
	blanks  bool
	aliens  int64 // foreign characters
	signs   int64 // digits of kindSign
	kinds   byte  // of all digits

	prefixed bool // the part of a data URI before its data was left out
	percent  []byte
	escaped  byte        // the character that an escape stands for
	others   [2]*reading // set once decoders part ways
	spare    []*reading  // that are over
	hex      hexValue

	apart   int64 // where the last character that is no digit stands
	longRun bool  // as many digits as a literal has stand in one piece
	runs    bool  // some value has them, and is no base64 itself
}

func newCandidate(w *walk, n *node, word string) *candidate {
	c := &candidate{w: w, n: n, word: word, minimum: minPiece}
	c.text, c.decoded, c.batch = sink{w: w, n: n}, sink{w: w, n: n}, sink{w: w, n: n}
	c.hex = hexValue{c: c, out: sink{w: w, n: n}}
	c.apart = -1
	return c
}

// feed adds the next bytes of the value.
func (c *candidate) feed(p []byte) error {
	if room := keptHead - len(c.head); room > 0 {
		c.head = append(c.head, p[:min(room, len(p))]...)
	}
	c.length += int64(len(p))
	if err := c.hex.feed(p); err != nil {
		return err
	}
	if c.keep {
		if err := c.text.write(p); err != nil {
			return err
		}
	} else if c.length >= minPiece && c.length-int64(len(p)) < minPiece {
		if err := c.decideText(p); err != nil {
			return err
		}
	}
	if c.done() {
		c.measure(p)
		return nil
	}
	return c.decode(p)
}

// measure looks for long runs of digits in what is not decoded any more.
func (c *candidate) measure(p []byte) {
	if c.longRun || c.length < minLiteral {
		return
	}
	from := c.length - int64(len(p))
	for i, b := range p {
		if c.w.u.tables.base64[b] >= digitSpace {
			c.interrupted(from + int64(i))
		}
	}
}

// interrupted notes that the character at pos is no digit.
func (c *candidate) interrupted(pos int64) {
	c.longRun = c.longRun || pos-c.apart > minLiteral
	c.apart = pos
}

// decideText begins to gather the text if it looks like a file. Everything fed
// before p is in head, since it was less than minPiece.
func (c *candidate) decideText(p []byte) error {
	if !c.everyOne && !c.w.u.tables.hasMagic(c.head) {
		return nil
	}
	c.keep = true
	before := c.head[:c.length-int64(len(p))]
	if err := c.text.write(before); err != nil {
		return err
	}
	return c.text.write(p)
}

func (c *candidate) decode(p []byte) error {
	table := &c.w.u.tables.base64
	for i := 0; i < len(p); i++ {
		if len(c.percent) > 0 {
			if !c.unescape(&p[i]) {
				continue
			}
		} else if c.quad.n == 0 && c.quad.pads == 0 && !c.split() {
			i += c.fours(p[i:])
			if len(c.out) >= c.mark() {
				if err := c.spill(); err != nil || c.given {
					return err
				}
			}
			if i == len(p) {
				return nil
			}
		}
		b := p[i]
		if c.escaped != 0 {
			b, c.escaped = c.escaped, 0
		}
		v := table[b]
		if v >= digitSpace {
			if err := c.other(b, v, c.length-int64(len(p)-i)); err != nil || c.done() {
				return err
			}
			continue
		}
		kind := c.w.u.tables.kinds[b]
		c.signs += int64(kind & kindSign)
		c.saw(kind)
		if err := c.part(kind); err != nil || c.done() {
			return err
		}
		if c.quad.pads > 0 {
			c.foreign = true
			c.out = c.quad.flush(c.out)
		}
		c.out, _ = c.quad.push(c.out, v)
		if err := c.digit(v, kind); err != nil {
			return err
		}
	}
	return nil
}

// fours decodes whole groups of letters and figures, the bulk of every value,
// and returns how many characters that were.
func (c *candidate) fours(p []byte) int {
	table, kinds := &c.w.u.tables.base64, &c.w.u.tables.kinds
	room := c.mark() - len(c.out)
	k := 0
	var seen byte
	for ; k+4 <= len(p) && room > 0; k += 4 {
		q := p[k : k+4 : k+4]
		v0, v1, v2, v3 := table[q[0]], table[q[1]], table[q[2]], table[q[3]]
		if v0|v1|v2|v3 >= digitSpace {
			break
		}
		k0, k1, k2, k3 := kinds[q[0]], kinds[q[1]], kinds[q[2]], kinds[q[3]]
		if (k0|k1|k2|k3)&kindURLSafe != 0 {
			break // decoders part ways here
		}
		seen |= k0 | k1 | k2 | k3
		c.signs += int64(k0&kindSign + k1&kindSign + k2&kindSign + k3&kindSign)
		c.out = append(c.out, v0<<2|v1>>4, v1<<4|v2>>2, v2<<6|v3)
		room -= 3
	}
	c.saw(seen)
	return k
}

// saw takes the kinds of some digits. A value that mixes both alphabets is
// well-formed in none.
func (c *candidate) saw(kinds byte) {
	c.kinds |= kinds
	if c.kinds&(kindStandard|kindURLSafe) == kindStandard|kindURLSafe {
		c.foreign, c.strange = true, true
	}
}

// mark is how many decoded bytes are gathered before they are moved on.
func (c *candidate) mark() int {
	if c.foreign && !c.judged {
		return judgedHead
	}
	return 1 << 10
}

// other takes the character at pos, which is no digit.
func (c *candidate) other(b, class byte, pos int64) error {
	c.interrupted(pos)
	switch class {
	case digitSpace:
		c.blanks = c.blanks || b == ' ' || b == '\t'
		return nil
	case digitPad:
		if !c.quad.pad() {
			c.foreign = true
		}
		for _, r := range c.others {
			r.pad()
		}
		return nil
	}
	if b == ',' && c.isPrefix(pos) {
		err := errors.Join(c.dropOthers(), c.decoded.drop())
		c.restart()
		return err
	}
	if b == '%' && c.prefixed {
		c.percent = append(c.percent[:0], b)
		return nil
	}
	c.foreign = true
	c.aliens++
	c.strange = c.strange || b != '.'
	if len(c.out) < c.mark() {
		return nil
	}
	return c.spill()
}

// isPrefix reports whether the value up to pos is the part of a data URI (RFC
// 2397) before its data.
func (c *candidate) isPrefix(pos int64) bool {
	if !c.prefixed && isDataURI(c.head) {
		return true
	}
	return pos < int64(len(c.head)) && endsInBase64(c.head[:pos])
}

func endsInBase64(p []byte) bool {
	const word = "base64"
	return len(p) >= len(word) && bytes.EqualFold(p[len(p)-len(word):], []byte(word))
}

func isDataURI(p []byte) bool {
	return len(p) >= 5 && bytes.EqualFold(p[:5], []byte("data:"))
}

// restart begins decoding anew behind a prefix.
func (c *candidate) restart() {
	c.out, c.start, c.quad, c.signs, c.aliens = c.out[:0], c.start[:0], quad{}, 0, 0
	c.foreign, c.strange, c.blanks, c.kinds, c.prefixed = false, false, false, 0, true
	c.releaseOthers()
}

// spill moves decoded bytes on, and gives up on a value that is neither base64
// nor begins like a file.
func (c *candidate) spill() error {
	if c.given {
		c.out = c.out[:0]
		return nil
	}
	if room := judgedHead - len(c.start); room > 0 {
		c.start = append(c.start, c.out[:min(room, len(c.out))]...)
	}
	err := c.decoded.write(c.out)
	c.out = c.out[:0]
	if err != nil || !c.foreign || c.judged || len(c.start) < judgedHead {
		return err
	}
	if !c.prefixed && isDataURI(c.head) {
		return nil // before its comma
	}
	if c.w.u.tables.hasMagic(c.start) || textLike(c.start) {
		c.judged = true
		return nil
	}
	if c.dense() {
		return nil // so far
	}
	c.judged, c.given = true, true
	return c.decoded.drop()
}

// end ends the value.
func (c *candidate) end() error {
	defer c.reset()
	c.interrupted(c.length)
	c.runs = c.runs || c.longRun && (c.foreign || c.given)
	if err := c.hex.end(); err != nil {
		return err
	}
	if err := c.endOthers(); err != nil {
		return err
	}
	if c.keep {
		if err := c.report(&c.text); err != nil {
			return err
		}
	}
	if c.given || c.length < minPiece/2 {
		return c.decoded.drop()
	}
	if !c.quad.whole() && c.quad.n == 1 {
		c.foreign = true
	}
	c.out = c.quad.flush(c.out)
	if err := c.spill(); err != nil || c.given {
		return err
	}
	size := c.decoded.total()
	file := c.w.u.tables.hasMagic(c.start)
	noise := !file && !textLike(c.start)
	switch {
	case size < minPiece && (!file || size < 16), size < c.minimum && !file:
		return c.decoded.drop()
	case c.foreign && (noise && (size < bigPiece || !c.dense() || c.signs < c.length/16) || c.isJWT()):
		return c.decoded.drop()
	case c.blanks && noise && c.signs < c.length/32:
		return c.decoded.drop() // words
	case c.kinds&kindNonHex == 0 && noise && size < bigPiece:
		return c.decoded.drop() // a digest in hexadecimal
	case noise && size < bigPiece:
		return c.token()
	}
	return c.report(&c.decoded)
}

// dense reports whether the value may be base64 with a few foreign characters, as no
// text is.
func (c *candidate) dense() bool { return !c.blanks && c.aliens <= c.length/32+1 }

// isJWT recognises a JSON Web Token (RFC 7519): its header is JSON in base64.
func (c *candidate) isJWT() bool {
	return !c.strange && bytes.HasPrefix(c.head, []byte("eyJ")) && c.length < sinkBuffer
}

// dull reports whether a value that is shorter than minQuoted cannot be a
// piece, so that the many small values of ordinary text cost next to nothing.
func (c *candidate) dull(value []byte) bool {
	if len(value) < 22 { // 16 bytes decoded
		return true
	}
	if comma := bytes.IndexByte(value, ','); comma > 0 && (isDataURI(value) || endsInBase64(value[:comma])) {
		return false
	}
	table := &c.w.u.tables.base64
	var q quad
	var room [6]byte
	out := room[:0]
	for _, b := range value[:8] {
		v := table[b]
		if v >= digitSpace {
			return true
		}
		out, _ = q.push(out, v)
	}
	return !c.w.u.tables.hasMagic(out)
}

// token handles a short value that decodes to noise.
func (c *candidate) token() error {
	if c.tokens++; c.tokens <= maxTokens {
		return c.report(&c.decoded)
	}
	if err := c.batch.write(c.decoded.buf); err != nil { // shorter than the sink's buffer
		return err
	}
	return c.decoded.drop()
}

func (c *candidate) report(s *sink) error {
	if c.n.levels[byEmbedding] >= maxEmbedded {
		c.w.refuse(c.n, scan.CauseTooDeep, "embedded content nested beyond the limit")
		return s.drop()
	}
	p := piece{word: fmt.Sprintf("%s[%d]", c.word, c.found), contentType: c.contentType, kind: byEmbedding}
	c.found++
	return s.report(p)
}

// close reports the gathered rest. It must be called once, after the last end.
func (c *candidate) close() error {
	if c.batch.total() == 0 {
		return nil
	}
	return c.batch.report(piece{word: c.word + "[rest]", kind: byEmbedding})
}

// forget drops the value.
func (c *candidate) forget() error {
	c.reset()
	c.hex.off = true
	return errors.Join(c.text.drop(), c.decoded.drop(), c.dropOthers(), c.hex.end())
}

func (c *candidate) reset() {
	c.head, c.out, c.start = c.head[:0], c.out[:0], c.start[:0]
	c.length, c.signs, c.aliens, c.quad = 0, 0, 0, quad{}
	c.apart, c.longRun = -1, false
	c.percent, c.escaped = c.percent[:0], 0
	c.releaseOthers()
	c.keep, c.judged, c.given = false, false, false
	c.foreign, c.strange, c.blanks, c.kinds, c.prefixed = false, false, false, 0, false
}
