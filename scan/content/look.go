package content

import (
	"bytes"
	"errors"

	"github.com/portcullis-av/portcullis/scan"
)

// look finds the objects in n by its label and by its content. Both count: a
// label may be false, and content may be readable in two ways.
func (w *walk) look(n *node) error {
	t := readMediaType(n.obj.ContentType)
	head, err := w.head(n)
	if err != nil {
		return err
	}
	form := t
	if b, ok := sniffBoundary(head); ok && !t.multipart {
		form = mediaType{multipart: true, essence: sniffedMultipart, boundary: b}
	}
	if form.multipart {
		if err := w.multipart(n, form); err != nil {
			return err
		}
	}
	if t.essence == "message/partial" {
		w.refuse(n, scan.CausePartialContent, "a piece of a mail message")
	}
	if isHTTP(t.essence) {
		if err := w.httpMessage(n); err != nil {
			return err
		}
	} else if !form.multipart && isMail(t.essence, head) {
		if err := w.mail(n, t.essence); err != nil {
			return err
		}
		if bytes.HasPrefix(head, []byte(mailboxLine)) {
			if err := w.mailbox(n); err != nil {
				return err
			}
		}
	}
	if err := w.lookInFiles(n, head, form.multipart || isHTTP(t.essence)); err != nil {
		return err
	}
	if err := w.lookInText(n, t, head); err != nil || t.multipart {
		return err
	}
	if isGRPC(t.essence) {
		return w.grpc(n, t.essence)
	}
	return w.embedded(n, t, head)
}

// embedded looks for files written out in text. A label and the content may
// each name a notation; both are tried.
func (w *walk) embedded(n *node, t mediaType, head []byte) error {
	first, err := w.lead(n, head)
	if err != nil {
		return err
	}
	plain := true
	for _, e := range []struct {
		is, alone bool
		look      func(*node) error
	}{
		{isJSON(t.essence, first), isJSON("", first), w.json},
		{isXML(t.essence, first), false, w.xml}, // scripts stand in it too
		{isURLEncoded(n, first), labelledURLEncoded(n) && looksLikeForm(head), w.urlencoded},
	} {
		if !e.is {
			continue
		}
		plain = plain && !e.alone
		if err := e.look(n); err != nil {
			return err
		}
	}
	if !plain || !isText(t.essence, head, first) {
		return nil
	}
	if isXML(t.essence, first) && bytes.HasPrefix(first, []byte("<")) {
		if err := w.uuencoded(n); err != nil {
			return err
		}
		return w.literalsOf(n, minLiteral, false)
	}
	if err := w.whole(n); err != nil {
		return err
	}
	if err := w.uuencoded(n); err != nil {
		return err
	}
	return w.literals(n, minLiteral)
}

// lead returns the first bytes of text behind any blanks and the byte order mark,
// however many there are: receivers of JSON and XML skip them.
func (w *walk) lead(n *node, head []byte) ([]byte, error) {
	const blanks = " \t\f\r\n"
	head = bytes.TrimLeft(bytes.TrimPrefix(head, []byte(byteOrderMark)), blanks)
	if len(head) > 0 || n.obj.Size <= headSize {
		return head, nil
	}
	err := w.blocks(n, func(p []byte) error {
		p = bytes.TrimLeft(bytes.TrimPrefix(p, []byte(byteOrderMark)), blanks)
		if len(p) == 0 {
			return nil
		}
		head = bytes.Clone(p[:min(len(p), headSize)])
		return errFound
	})
	if err != nil && !errors.Is(err, errFound) {
		return nil, err
	}
	return head, nil
}

// errFound ends a search.
var errFound = errors.New("found")

// lookInFiles opens archives and compressed files, recognised by their content.
// framed says that n is a multipart body, whose end is the end of no file.
func (w *walk) lookInFiles(n *node, head []byte, framed bool) error {
	if err := w.compressedFile(n, head); err != nil {
		return err
	}
	if err := w.protected(n, head); err != nil {
		return err
	}
	if isTar(head) {
		return w.tar(n)
	}
	if len(head) == tarBlock && len(bytes.Trim(head, "\x00")) == 0 {
		if err := w.tarBehindZeros(n); err != nil {
			return err
		}
	}
	if !framed && len(head) == tarBlock {
		if err := w.strayMembers(n); err != nil {
			return err
		}
	}
	return w.zip(n, head, !framed)
}

// headSize is enough for every magic number, a tar header, and a delimiter line
// of 70 characters with the header line after it.
const headSize = 512

// head returns the first bytes of n.
func (w *walk) head(n *node) ([]byte, error) {
	p := make([]byte, min(headSize, n.obj.Size))
	return p, readAt(n.obj.Content, p, 0)
}
