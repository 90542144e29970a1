package content

import (
	"bytes"
	"errors"
	"fmt"
)

const (
	minLiteral  = 1366 // base64 characters of bigPiece bytes
	minQuoted   = 86   // base64 characters of minPiece bytes
	minHex      = 2 * bigPiece
	minLine     = 40   // characters of a line of a base64 block
	maxTextLine = 1024 // longer lines belong to no block
)

var errGiven = errors.New("the text is no base64")

// whole looks at n as one value: a field or a file may hold nothing but base64.
func (w *walk) whole(n *node) error {
	c := newCandidate(w, n, "base64")
	err := w.blocks(n, func(p []byte) error {
		if err := c.feed(p); err != nil || !c.done() {
			return err
		}
		return errGiven
	})
	if err != nil && !errors.Is(err, errGiven) {
		return err
	}
	c.keep = false // the text is n itself
	if err := c.text.drop(); err != nil {
		return err
	}
	return c.end()
}

// literals looks for base64 and hexadecimal text anywhere in n: data URIs and
// script literals of at least minimum characters within a line, and blocks of
// lines as in PEM. Only long ones count, since every word is base64 to someone.
func (w *walk) literals(n *node, minimum int) error { return w.literalsOf(n, minimum, true) }

// literalsOf is literals with blocks of lines or without them: within XML and JSON
// values are looked into as a whole, and a block would be one without its first line.
func (w *walk) literalsOf(n *node, minimum int, blocks bool) error {
	s := literalScanner{run: newCandidate(w, n, "run"), block: newCandidate(w, n, "lines"), minimum: minimum, hex: sink{w: w, n: n}, blocks: blocks}
	s.run.minimum, s.block.minimum = int64(minimum*3/4), int64(minimum*3/4)
	s.run.hex.c = nil // it has one of its own
	s.loose.c = newCandidate(w, n, "uneven")
	s.loose.c.minimum = int64(minimum * 3 / 4)
	if err := w.blocks(n, s.scan); err != nil {
		return err
	}
	for _, last := range []func() error{s.endLine, s.block.end, s.loose.end, s.run.close, s.block.close, s.loose.c.close} {
		if err := last(); err != nil {
			return err
		}
	}
	return nil
}

// literalScanner goes through text that arrives in blocks.
type literalScanner struct {
	minimum int
	blocks  bool
	line    []byte // the line so far, unless it is long
	long    bool   // the line is longer than any of a block

	run     *candidate
	held    []byte // the run of base64 characters so far, as long as it is short
	feeding bool   // the run is long and goes to the candidate as it comes
	slash   bool   // the last byte was a backslash within the run
	percent []byte // an escape of a URI that has begun

	hex    sink
	hexing bool
	nibble int // a digit without its pair, or -1
	hexes  int

	block  *candidate
	loose  looseLines
	length int // of the lines of the block, 0 outside
}

func (s *literalScanner) scan(p []byte) error {
	for {
		k := bytes.IndexByte(p, '\n')
		if k < 0 {
			return s.segment(p)
		}
		if len(s.line) == 0 && !s.long && k <= maxTextLine {
			if err := s.shortLine(p[:k]); err != nil {
				return err
			}
		} else {
			if err := s.segment(p[:k]); err != nil {
				return err
			}
			if err := s.endLine(); err != nil {
				return err
			}
		}
		p = p[k+1:]
	}
}

// segment adds a part of a line.
func (s *literalScanner) segment(p []byte) error {
	if s.long {
		return s.runs(p)
	}
	s.line = append(s.line, p...)
	if len(s.line) <= maxTextLine {
		return nil
	}
	s.long = true
	line := s.line
	s.line = s.line[:0]
	return s.runs(line)
}

func (s *literalScanner) endLine() error {
	if !s.long {
		line := s.line
		s.line = s.line[:0]
		return s.shortLine(line)
	}
	s.long = false
	if err := errors.Join(s.endRun(), s.loose.end()); err != nil {
		return err
	}
	return s.endBlock()
}

// shortLine takes a whole line. Lines of equal length that hold nothing but
// base64 make a block; a shorter one is its last.
func (s *literalScanner) shortLine(line []byte) error {
	if len(line) >= s.minimum {
		if err := s.runs(line); err != nil {
			return err
		}
		if err := s.endRun(); err != nil {
			return err
		}
	}
	if !s.blocks {
		return nil
	}
	line = bytes.Trim(line, " \t\r")
	pure := len(line) > 0 && s.pure(line)
	if err := s.loose.line(line, pure); err != nil || s.length == 0 && len(line) < minLine {
		return err
	}
	if s.length > 0 && pure && len(line) <= s.length {
		if err := s.block.feed(line); err != nil || len(line) == s.length {
			return err
		}
		return s.endBlock()
	}
	if err := s.endBlock(); err != nil {
		return err
	}
	if !pure || len(line) < minLine {
		return nil
	}
	s.length = len(line)
	return s.block.feed(line)
}

func (s *literalScanner) endBlock() error {
	if s.length == 0 {
		return nil
	}
	s.length = 0
	return s.block.end()
}

func (s *literalScanner) pure(line []byte) bool {
	for _, c := range bytes.TrimRight(line, "=") {
		if s.run.w.u.tables.base64[c] >= digitSpace {
			return false
		}
	}
	return true
}

// runs looks for long runs of base64 characters.
func (s *literalScanner) runs(p []byte) error {
	table := &s.run.w.u.tables.base64
	for i := 0; i < len(p); {
		if len(s.percent) > 0 {
			if err := s.unescape(p[i]); err != nil {
				return err
			}
			i++
			continue
		}
		k := i
		for k < len(p) && table[p[k]] < digitSpace {
			k++
		}
		if k > i {
			if err := s.digits(p[i:k]); err != nil {
				return err
			}
		}
		if k < len(p) {
			if err := s.other(p[k]); err != nil {
				return err
			}
			k++
		}
		i = k
	}
	return nil
}

// digits takes characters of the alphabet.
func (s *literalScanner) digits(p []byte) error {
	if s.slash {
		s.slash = false
		switch p[0] {
		case '/':
		case 'n', 'r': // an escaped line end
			p = p[1:]
		default:
			if err := s.endRun(); err != nil {
				return err
			}
		}
	}
	if !s.feeding {
		if s.held = append(s.held, p...); len(s.held) < s.minimum {
			return nil
		}
		p, s.feeding = s.held, true
		s.hexing, s.nibble, s.hexes = true, -1, 0
	}
	if err := s.toHex(p); err != nil {
		return err
	}
	return s.run.feed(p)
}

// other takes a character that is no digit of base64.
func (s *literalScanner) other(c byte) error {
	switch {
	case c == '%' && (s.feeding || len(s.held) > 0):
		s.percent = append(s.percent[:0], c)
		return nil
	case c == '\\' && (s.feeding || len(s.held) > 0):
		s.slash = true
		return nil
	case c == '=' && s.feeding:
		return s.run.feed([]byte{c})
	}
	return s.endRun()
}

// unescape goes on with an escape of a URI (RFC 3986 section 2.1), as data URIs
// may have them for any character.
func (s *literalScanner) unescape(c byte) error {
	if unhex(c) < 0 {
		s.percent = s.percent[:0]
		if err := s.endRun(); err != nil {
			return err
		}
		return s.runs([]byte{c})
	}
	if s.percent = append(s.percent, c); len(s.percent) < 3 {
		return nil
	}
	c = byte(unhex(s.percent[1])<<4 | unhex(s.percent[2]))
	s.percent = s.percent[:0]
	if s.run.w.u.tables.base64[c] < digitSpace {
		return s.digits([]byte{c})
	}
	return s.other(c)
}

func (s *literalScanner) endRun() error {
	feeding := s.feeding
	s.held, s.percent, s.feeding, s.slash = s.held[:0], s.percent[:0], false, false
	if !feeding {
		return nil
	}
	hexes, hexing := s.hexes, s.hexing && s.nibble < 0
	s.hexing, s.hexes = false, 0
	if hexing && hexes >= minHex {
		p := piece{word: fmt.Sprintf("hex[%d]", s.run.found), kind: byEmbedding}
		if err := s.hex.report(p); err != nil {
			return err
		}
	} else if err := s.hex.drop(); err != nil {
		return err
	}
	return s.run.end()
}

// toHex decodes the run as hexadecimal as long as it is.
func (s *literalScanner) toHex(p []byte) error {
	if !s.hexing {
		return nil
	}
	var out [512]byte
	k := 0
	for _, c := range p {
		v := unhex(c)
		if (c == 'x' || c == 'X') && s.hexes == 1 && s.nibble == 0 {
			s.hexes, s.nibble = 0, -1 // behind "0x"
			continue
		}
		if v < 0 {
			s.hexing = false
			return s.hex.drop()
		}
		s.hexes++
		if s.nibble < 0 {
			s.nibble = v
			continue
		}
		out[k] = byte(s.nibble<<4 | v)
		s.nibble = -1
		if k++; k == len(out) {
			if err := s.hex.write(out[:]); err != nil {
				return err
			}
			k = 0
		}
	}
	return s.hex.write(out[:k])
}
