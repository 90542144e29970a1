package content

import (
	"bufio"
	"errors"
	"io"
)

func openQuoted(src *bufio.Reader) (io.Reader, func(), error) {
	return &quotedReader{src: src}, func() {}, nil
}

// openTrimmedQuoted leaves out blanks at the ends of lines first (RFC 2045 section
// 6.7 rule 3).
func openTrimmedQuoted(src *bufio.Reader) (io.Reader, func(), error) {
	return &quotedReader{src: bufio.NewReader(&trimmer{src: src})}, func() {}, nil
}

// maxBlanks is how many blanks in a row are held back: no sender writes more.
const maxBlanks = 1 << 10

// trimmer leaves out blanks at the ends of lines.
type trimmer struct {
	src  *bufio.Reader
	held []byte // blanks, and the byte behind them
}

func (t *trimmer) Read(p []byte) (int, error) {
	for len(t.held) == 0 {
		if err := t.next(); err != nil {
			return 0, err
		}
	}
	k := copy(p, t.held)
	t.held = append(t.held[:0], t.held[k:]...)
	return k, nil
}

// next takes bytes up to one that is no blank.
func (t *trimmer) next() error {
	for {
		c, err := t.src.ReadByte()
		if err != nil {
			t.held = t.held[:0]
			return err
		}
		switch c {
		case ' ', '\t':
			if t.held = append(t.held, c); len(t.held) < maxBlanks {
				continue
			}
			return nil
		case '\r', '\n':
			t.held = t.held[:0]
		}
		t.held = append(t.held, c)
		return nil
	}
}

// quotedReader decodes quoted-printable. Escapes that are not two hexadecimal
// digits and blanks at the end of a line are errors, since readers keep or drop
// them; after an error the rest is passed on as it is, then the error returned.
type quotedReader struct {
	src   *bufio.Reader
	fault error
	blank bool // the last byte was a blank
	cr    bool // the last byte was a CR
	err   error
}

func (r *quotedReader) Read(p []byte) (int, error) {
	k := 0
	for r.err == nil && k < len(p) {
		c, err := r.src.ReadByte()
		if err != nil {
			if errors.Is(err, io.EOF) && (r.blank || r.cr) {
				r.fault = errQuoted
			}
			if r.err = err; errors.Is(err, io.EOF) && r.fault != nil {
				r.err = r.fault
			}
			break
		}
		// Readers drop or keep a line end that is half.
		if r.blank && (c == '\r' || c == '\n') || r.cr != (c == '\n') {
			r.fault = errQuoted
		}
		r.cr = c == '\r'
		r.blank = c == ' ' || c == '\t'
		if c == '=' {
			var ok bool
			if c, ok = r.escape(); !ok {
				continue
			}
		}
		p[k] = c
		k++
	}
	if k > 0 {
		return k, nil
	}
	return 0, r.err
}

// escape reads what follows "=": a byte, or a soft line break (ok is false).
func (r *quotedReader) escape() (c byte, ok bool) {
	two, err := r.src.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
		return 0, false
	}
	switch {
	case len(two) == 2 && two[0] == '\r' && two[1] == '\n':
		_, _ = r.src.Discard(2)
		return 0, false
	case len(two) >= 1 && two[0] == '\n': // in text whose line ends were changed
		r.fault = errQuoted
		_, _ = r.src.Discard(1)
		return 0, false
	case len(two) == 2 && unhex(two[0]) >= 0 && unhex(two[1]) >= 0:
		c = byte(unhex(two[0])<<4 | unhex(two[1]))
		_, _ = r.src.Discard(2)
		return c, true
	}
	r.fault = errQuoted
	return '=', true
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
