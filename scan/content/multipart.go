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
	if n.levels[byMultipart] >= maxMultiparts {
		w.refuse(n, scan.CauseTooDeep, "multipart: nested too deep")
		return nil
	}
	if t.fault == "" && !validBoundary(t.boundary) {
		t.fault, t.cause = "boundary form", scan.CauseMalformedBody
	}
	if t.fault != "" {
		w.refuse(n, t.cause, "multipart: "+t.fault)
		return nil
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
	if fault != "" {
		w.refuse(n, scan.CauseMalformedBody, "multipart: "+fault)
	}
	w.parts += len(parts)
	for i, s := range parts {
		if err := w.part(n, t, i, s); err != nil {
			return err
		}
	}
	return nil
}

// part reports the content of one part.
func (w *walk) part(n *node, t mediaType, i int, s span) error {
	word := fmt.Sprintf("part[%d]", i)
	at := &node{obj: scan.Object{Path: n.obj.Path + "/" + word}}
	raw := make([]byte, min(s.end-s.off, maxPartHeader))
	if err := readAt(n.obj.Content, raw, s.off); err != nil {
		return err
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
	if h.fault != "" {
		w.refuse(at, scan.CauseMalformedBody, "multipart: "+h.fault)
	}
	if h.size == 0 {
		return nil // no empty line: no one can tell header from content
	}
	p := piece{
		word: word, name: h.filename, contentType: h.contentType,
		codings: w.codingsOf(at, h.codings), transfer: h.transfer, kind: byMultipart,
	}
	return w.window(n, p, s.off+h.size, s.end)
}
