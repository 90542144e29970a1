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
	for _, d := range transferDecoders(n.transfer, n.lenient) {
		res, err := w.decode(n, d)
		if err != nil {
			return err
		}
		if res.err != nil && !n.lenient {
			w.refuse(n, scan.CauseMalformedBody, fmt.Sprintf("multipart: %v", res.err))
		}
		if res.layer == nil {
			continue
		}
		p := piece{word: d.word, name: n.obj.Name, contentType: n.obj.ContentType, codings: n.codings, kind: byTransfer, lenient: n.lenient}
		if err := w.layer(n, p, res.layer); err != nil {
			return err
		}
	}
	return w.look(n)
}

// transferDecoders returns the readings of a transfer encoding. Tolerant
// readers of base64 differ on the two characters of the URL-safe alphabet, and some
// stop at the first foreign one; those of quoted-printable differ on blanks at the
// end of a line.
func transferDecoders(name string, lenient bool) []decoder {
	switch {
	case name == transferQuoted && lenient:
		return []decoder{{transferQuoted, openQuoted}, {"quoted-printable-trimmed", openTrimmedQuoted}}
	case name == transferQuoted:
		return []decoder{{transferQuoted, openQuoted}}
	case name != transferBase64:
		return []decoder{{"uuencode", openUU}}
	case lenient:
		return []decoder{{transferBase64, openLooseBase64}, {"base64url", openLooseBase64URL}, {"base64-strict", openBase64}}
	}
	return []decoder{{transferBase64, openBase64}}
}

func openBase64(src *bufio.Reader) (io.Reader, func(), error) {
	return &base64Reader{src: src}, func() {}, nil
}

func openLooseBase64(src *bufio.Reader) (io.Reader, func(), error) {
	return &base64Reader{src: src, loose: true}, func() {}, nil
}

func openLooseBase64URL(src *bufio.Reader) (io.Reader, func(), error) {
	return &base64Reader{src: src, loose: true, url: true}, func() {}, nil
}

// base64Reader decodes the standard alphabet with line breaks and blanks
// between; padding is required and nothing may follow it. A loose one skips
// foreign characters.
type base64Reader struct {
	src   *bufio.Reader
	loose bool
	url   bool // "-" and "_" are digits too
	quad  quad
	err   error
}

func (r *base64Reader) Read(p []byte) (int, error) {
	if len(p) < 6 {
		return 0, io.ErrShortBuffer
	}
	out := p[:0]
	for r.err == nil && cap(out)-len(out) >= 6 {
		c, err := r.src.ReadByte()
		if err != nil {
			r.err = r.end(err)
			break
		}
		if isSpace(c) {
			continue
		}
		v := base64Value(c)
		if v < 0 || !r.url && (c == '-' || c == '_') {
			if (c != '=' || !r.quad.pad()) && !r.loose {
				r.err = errBase64
			}
			continue
		}
		if r.loose && r.quad.pads > 0 {
			out = r.quad.flush(out)
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
	if errors.Is(err, io.EOF) && !r.quad.whole() {
		return errBase64
	}
	return err
}
