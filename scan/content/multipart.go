package content

import (
	"fmt"

	"github.com/portcullis-av/portcullis/scan"
)

// sniffedMultipart marks a body that nobody declared to be multipart.
const sniffedMultipart = "multipart/x-sniffed"

// multipart splits n by the strict grammar: each part is an object of exactly
// the bytes that a receiver extracts. Whatever breaks a rule is refused, and
// what could be cut is reported nevertheless.
func (w *walk) multipart(n *node, t mediaType) error {
	levels := uint8(maxMultiparts)
	if n.lenient {
		levels = maxMailMultiparts
	}
	if n.levels[byMultipart] >= levels {
		w.refuse(n, scan.CauseTooDeep, "multipart: nested too deep")
		return nil
	}
	if t.fault == "" && !validBoundary(t.boundary) {
		t.fault, t.cause = "boundary form", scan.CauseMalformedBody
	}
	if t.cause == "" {
		t.cause = scan.CauseMalformedBody
	}
	lenient := w.lenient(n, t)
	if t.fault != "" {
		if !lenient {
			w.refuse(n, t.cause, "multipart: "+t.fault)
		}
		return w.salvage(n, t, t.fault)
	}
	if t.essence == "multipart/byteranges" {
		w.refuse(n, scan.CausePartialContent, "multipart: byte ranges of a body that is not here")
	}
	parts, fault, err := w.frame(n, t.boundary)
	if err != nil {
		return err
	}
	if fault == faultTooManyParts {
		w.refuse(n, scan.CauseTooManyObjects, "multipart: "+fault)
		return nil
	}
	if fault != "" && !lenient {
		w.refuse(n, t.cause, "multipart: "+fault)
	}
	w.parts += len(parts)
	for i, s := range parts {
		partFault, err := w.part(n, t, i, s)
		if err != nil {
			return err
		}
		if fault == "" {
			fault = partFault
		}
	}
	if fault != "" {
		return w.salvage(n, t, fault)
	}
	return nil
}

// lenient reports whether n is read in every way instead of being refused. What
// nobody declared to be multipart is: it may be text that begins alike.
func (w *walk) lenient(n *node, t mediaType) bool {
	return n.lenient || w.limits.LenientMultipart || t.essence == sniffedMultipart
}

// part reports the content of one part, and the rule that it breaks.
func (w *walk) part(n *node, t mediaType, i int, s span) (fault string, err error) {
	word := fmt.Sprintf("part[%d]", i)
	at := &node{obj: scan.Object{Path: n.obj.Path + "/" + word}}
	raw := make([]byte, min(s.end-s.off, maxPartHeader))
	if err := readAt(n.obj.Content, raw, s.off); err != nil {
		return "", err
	}
	h := readPartHeader(raw)
	if h.fault == "" && t.essence == "multipart/form-data" {
		h.fault = h.readDisposition()
	} else if h.fault == "" {
		h.filename = looseParameter(h.disposition, "filename")
	}
	if h.fault == "" {
		h.fault = h.check()
	}
	lenient := w.lenient(n, t)
	length, shorter := h.shorter(s.end - s.off - h.size)
	if h.fault != "" && !lenient {
		w.refuse(at, scan.CauseMalformedBody, "multipart: "+h.fault)
	}
	if h.size == 0 {
		return h.fault, nil // no empty line: no one can tell header from content
	}
	p := piece{
		word: word, name: h.filename, contentType: h.contentType,
		codings: w.codingsOf(at, h.codings), transfer: h.transfer, kind: byMultipart, lenient: lenient,
	}
	if err := w.window(n, p, s.off+h.size, s.end); err != nil || !shorter {
		return h.fault, err
	}
	p.word += "[:length]"
	return h.fault, w.window(n, p, s.off+h.size, s.off+h.size+length)
}
