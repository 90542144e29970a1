package content

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/portcullis-av/portcullis/scan"
)

// Content-Transfer-Encodings that are undone (RFC 2045 section 6).
const (
	transferBase64 = "base64"
	transferQuoted = "quoted-printable"
)

var (
	errBase64 = errors.New("not well-formed base64")
	errQuoted = errors.New("not well-formed quoted-printable")
)

// undoTransfer decodes the transfer encoding of a part. Form readers differ on
// whether they decode it at all, so the bytes as they are are looked into too.
func (w *walk) undoTransfer(n *node) error {
	d := decoder{transferBase64, openBase64}
	if n.transfer == transferQuoted {
		d = decoder{transferQuoted, openQuoted}
	}
	res, err := w.decode(n, d)
	if err != nil {
		return err
	}
	if res.err != nil {
		w.refuse(n, scan.CauseMalformedBody, fmt.Sprintf("multipart: %v", res.err))
	}
	if res.layer != nil {
		p := piece{word: d.word, name: n.obj.Name, contentType: n.obj.ContentType, codings: n.codings, kind: byTransfer}
		if err := w.layer(n, p, res.layer); err != nil {
			return err
		}
	}
	return w.look(n)
}

func openBase64(src *bufio.Reader) (io.Reader, func(), error) {
	return &base64Reader{src: src}, func() {}, nil
}

// base64Reader decodes the standard alphabet with line breaks and blanks
// between; padding is required and nothing may follow it.
type base64Reader struct {
	src  *bufio.Reader
	quad quad
	err  error
}

func (r *base64Reader) Read(p []byte) (int, error) {
	if len(p) < 3 {
		return 0, io.ErrShortBuffer
	}
	out := p[:0]
	for r.err == nil && cap(out)-len(out) >= 3 {
		c, err := r.src.ReadByte()
		if err != nil {
			r.err = r.end(err)
			break
		}
		if isSpace(c) {
			continue
		}
		v := base64Value(c)
		if v < 0 || c == '-' || c == '_' {
			if c != '=' || !r.quad.pad() {
				r.err = errBase64
			}
			continue
		}
		var ok bool
		if out, ok = r.quad.push(out, byte(v)); !ok {
			r.err = errBase64
		}
	}
	if r.err != nil {
		out = r.quad.flush(out)
	}
	if len(out) > 0 {
		return len(out), nil
	}
	return 0, r.err
}

func (r *base64Reader) end(err error) error {
	if err == io.EOF && !r.quad.whole() {
		return errBase64
	}
	return err
}

// quad gathers base64 digits to bytes.
type quad struct {
	bits uint32
	n    int // digits gathered, 0 to 3
	pads int
}

// push adds a digit and appends the bytes that became complete. It reports
// false after padding.
func (q *quad) push(out []byte, v byte) ([]byte, bool) {
	if q.pads > 0 {
		return out, false
	}
	q.bits = q.bits<<6 | uint32(v)
	if q.n++; q.n < 4 {
		return out, true
	}
	out = append(out, byte(q.bits>>16), byte(q.bits>>8), byte(q.bits))
	q.bits, q.n = 0, 0
	return out, true
}

// pad takes one "=".
func (q *quad) pad() bool {
	q.pads++
	return q.n+q.pads <= 4 && q.n >= 2
}

// whole reports whether the digits so far need no more.
func (q *quad) whole() bool { return q.n == 0 && q.pads == 0 || q.n+q.pads == 4 }

// flush appends the bytes of an incomplete group.
func (q *quad) flush(out []byte) []byte {
	switch q.n {
	case 2:
		out = append(out, byte(q.bits>>4))
	case 3:
		out = append(out, byte(q.bits>>10), byte(q.bits>>2))
	}
	q.n, q.bits, q.pads = 0, 0, 0
	return out
}

// base64Value returns the value of a digit of the standard or the URL-safe
// alphabet, or -1.
func base64Value(c byte) int {
	switch {
	case c >= 'A' && c <= 'Z':
		return int(c - 'A')
	case c >= 'a' && c <= 'z':
		return int(c-'a') + 26
	case c >= '0' && c <= '9':
		return int(c-'0') + 52
	case c == '+' || c == '-':
		return 62
	case c == '/' || c == '_':
		return 63
	}
	return -1
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }
