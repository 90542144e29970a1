package content

import (
	"bytes"
	"strings"
)

// span is a range of an object.
type span struct{ off, end int64 }

// frame cuts n at its delimiters: the bytes of each part, header and all. A
// fault names the rule of the strict grammar that n breaks; the parts before it
// are returned all the same.
//
// Every occurrence of "--boundary" anywhere must be a delimiter in the one form
// that all readers agree on. This alone removes most differences between
// readers: none of them can cut elsewhere.
func (w *walk) frame(n *node, boundary string) (parts []span, fault string, err error) {
	f := framer{size: n.obj.Size, full: []byte("--" + boundary), room: maxParts - w.parts}
	needle := f.full
	// Some readers end even a quoted boundary at a space or a comma, so the
	// part before it must not occur by itself either.
	if cut := strings.IndexAny(boundary, " ,"); cut >= 0 {
		needle = needle[:2+cut]
	}
	if err := w.each(n, needle, len(f.full)+4, f.visit); err != nil {
		return nil, "", err
	}
	f.finish()
	if f.fault == "" {
		f.fault, err = w.shorterDelimiter(n, boundary)
	}
	return f.parts, f.fault, err
}

// framer checks delimiters in their order.
type framer struct {
	size  int64
	full  []byte
	room  int // parts that may still be found
	parts []span
	open  bool  // a part has begun
	start int64 // where it began
	done  bool  // the closing delimiter was seen
	tail  int64 // where it ended
	fault string
}

const faultTooManyParts = "too many parts"

func (f *framer) visit(h hit) bool {
	f.fault = f.delimiter(h)
	return f.fault == ""
}

func (f *framer) delimiter(h hit) string {
	if !bytes.HasPrefix(h.after, f.full) {
		return "part of the boundary occurs in the content"
	}
	if h.pos != 0 && string(h.before) != "\r\n" {
		return "boundary in the middle of a line or after a bare line end"
	}
	if f.done {
		return "delimiter after the closing one"
	}
	if f.open {
		if h.pos-2 < f.start {
			return "part without an empty line"
		}
		f.parts = append(f.parts, span{f.start, h.pos - 2})
	} else if h.pos > 2 {
		return "content before the first delimiter"
	}
	rest := h.after[len(f.full):]
	next := h.pos + int64(len(f.full))
	if bytes.HasPrefix(rest, []byte("\r\n")) {
		if len(f.parts) >= f.room {
			return faultTooManyParts
		}
		f.open, f.start = true, next+2
		return ""
	}
	if !bytes.HasPrefix(rest, []byte("--")) {
		return "delimiter followed by something else than a line end"
	}
	// Browsers send a form without fields so: nothing else is in the body.
	if !f.open && next+2 != f.size && next+4 != f.size {
		return "no part"
	}
	f.open, f.done, f.tail = false, true, next+2
	if f.tail == f.size || bytes.HasPrefix(rest[2:], []byte("\r\n")) {
		return ""
	}
	return "closing delimiter followed by something else than a line end"
}

// finish checks what can be told only at the end.
func (f *framer) finish() {
	switch {
	case f.fault != "":
	case f.done:
		if f.tail != f.size && f.tail+2 != f.size {
			f.fault = "content after the closing delimiter"
		}
	case f.open:
		f.fault = "no closing delimiter"
		f.parts = append(f.parts, span{f.start, f.size})
	default:
		f.fault = "no delimiter"
	}
}

// shorterDelimiter looks for lines that are delimiters to a reader who ends the
// boundary at another character that needs quotes, such as "=" or ":". Only
// whole lines count: a boundary such as "----=_Part_1" is common, and dashes in
// text are too.
func (w *walk) shorterDelimiter(n *node, boundary string) (fault string, err error) {
	cut := strings.IndexAny(boundary, "()/:=?")
	if cut < 0 {
		return "", nil
	}
	needle := []byte("\n--" + boundary[:cut])
	err = w.each(n, needle, len(needle)+4, func(h hit) bool {
		rest := h.after[len(needle):]
		closing := bytes.TrimPrefix(rest, []byte("--"))
		if endsLine(rest, h.end) || len(closing) < len(rest) && endsLine(closing, h.end) {
			fault = "part of the boundary occurs as a delimiter line"
		}
		return fault == ""
	})
	return fault, err
}

func endsLine(p []byte, end bool) bool {
	return len(p) == 0 && end || bytes.HasPrefix(p, []byte("\r\n"))
}

// sniffBoundary returns the boundary of content that begins like a multipart
// body, whatever its label: a delimiter line and a Content-… header line.
func sniffBoundary(head []byte) (string, bool) {
	head = bytes.TrimLeft(head, "\r\n")
	if !bytes.HasPrefix(head, []byte("--")) {
		return "", false
	}
	end := bytes.IndexAny(head, "\r\n")
	if end < 0 {
		return "", false
	}
	next := bytes.TrimLeft(head[end:], "\r\n")
	const header = "content-"
	if len(next) < len(header) || !strings.EqualFold(string(next[:len(header)]), header) {
		return "", false
	}
	return string(bytes.TrimRight(head[2:end], " \t")), true
}
