package content

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/portcullis-av/portcullis/scan"
)

// looseFields is what any receiver may read from a header block.
type looseFields struct {
	contentType, transfer, filename string
	codings                         []string
	length                          int64 // Content-Length
	mime                            bool  // it has a field of MIME
}

// readLooseHeader reads fields whatever the line ends, folded or not. The first
// line of an HTTP message or of a mailbox is skipped like any line without a
// name.
func readLooseHeader(block []byte) looseFields {
	var h looseFields
	block = bytes.TrimPrefix(block, []byte(byteOrderMark))
	text := string(block) // a Replacer would cost more to make than it spares
	for _, r := range [][2]string{{"\r\n", "\n"}, {"\r", "\n"}} {
		text = strings.ReplaceAll(text, r[0], r[1])
	}
	for line := range strings.SplitSeq(text, "\n") { // Django takes folded lines for fields
		name, value, ok := strings.Cut(line, ":")
		if ok && isBlank(line[0]) && strings.EqualFold(strings.TrimSpace(name), "content-transfer-encoding") {
			h.transfer = looseTransfer(value)
		}
	}
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\n ", " "), "\n\t", " ")
	for line := range strings.SplitSeq(text, "\n") {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		value = strings.TrimSpace(value)
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "content-type":
			h.contentType, h.mime = value, true
		case "content-transfer-encoding":
			h.mime = true
			if v := looseTransfer(value); v != "" {
				h.transfer = v
			}
		case "content-encoding":
			h.codings = append(h.codings, value)
		case "content-disposition":
			h.filename = looseParameter(value, "filename")
		case "mime-version":
			h.mime = true
		case "content-length":
			h.length, _ = strconv.ParseInt(value, 10, 64) // 0: none to go by
		}
	}
	return h
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// looseTransfer finds the name of an encoding among comments, parameters and quotes.
func looseTransfer(value string) string {
	for _, v := range strings.FieldsFunc(strings.ToLower(value), func(r rune) bool { return strings.ContainsRune(" \t();,\"'", r) }) {
		switch v {
		case transferBase64, transferQuoted, transferUU, "uuencode", "x-uue", "uue":
			return v
		}
	}
	return ""
}

// isMail reports whether n may be a mail message (RFC 5322), a mailbox or a saved web
// page (MHTML), by its label or because it begins like a header.
func isMail(essence string, head []byte) bool {
	if isMessage(essence) || essence == "application/mbox" || bytes.HasPrefix(head, []byte(mailboxLine)) {
		return true
	}
	head = bytes.TrimPrefix(head, []byte(byteOrderMark))
	return hasFieldName(head[:min(len(head), 80)])
}

// mailboxLine begins the line in front of each message of a mailbox.
const mailboxLine = "From "

const byteOrderMark = "\xef\xbb\xbf"

func isMessage(essence string) bool { return strings.HasPrefix(essence, "message/") }

// isHTTP reports whether n is an HTTP message within another.
func isHTTP(essence string) bool { return essence == "application/http" || essence == "message/http" }

// maxHeaderBlock is more than any message's header has.
const maxHeaderBlock = 1 << 20

// headerBlock returns the beginning of n up to its first empty line at least, and
// whether that lies beyond the limit.
func (w *walk) headerBlock(n *node) (raw []byte, cut bool, err error) {
	for size := int64(64 << 10); ; size = maxHeaderBlock {
		raw = make([]byte, min(n.obj.Size, size))
		if err := readAt(n.obj.Content, raw, 0); err != nil {
			return nil, false, err
		}
		if emptyLine(raw) >= 0 || int64(len(raw)) == n.obj.Size {
			return raw, false, nil
		}
		if size == maxHeaderBlock {
			return raw, true, nil
		}
	}
}

// emptyLine returns what follows the first empty line of raw, or -1.
func emptyLine(raw []byte) int {
	end := -1
	for _, style := range []string{"\n\r\n", "\n\n"} {
		if k := bytes.Index(raw, []byte(style)); k >= 0 && (end < 0 || k+len(style) < end) {
			end = k + len(style)
		}
	}
	return end
}

// httpMessage reports the body of an HTTP message within a batch.
func (w *walk) httpMessage(n *node) error {
	raw, cut, err := w.headerBlock(n)
	if err != nil {
		return err
	}
	end := emptyLine(raw)
	if cut {
		w.refuse(n, scan.CauseMalformedBody, "http: a header longer than the limit")
	}
	if end < 0 {
		return nil
	}
	h := readLooseHeader(raw[:end])
	p := piece{
		word: "http", contentType: h.contentType, transfer: h.transfer, codings: w.codingsOf(n, h.codings),
		name: h.filename, kind: byEmbedding, lenient: true,
	}
	if err := w.window(n, p, int64(end), n.obj.Size); err != nil || h.length <= 0 || h.length >= n.obj.Size-int64(end) {
		return err
	}
	p.word += "[:length]" // for those who go by it
	return w.window(n, p, int64(end), int64(end)+h.length)
}

// mail reports what follows the header block of a mail message, wherever a reader
// may see its end. Mail is read in many ways already, so that its parts are cut in
// all of them instead of being refused. What only begins like a header is no mail
// as long as it has no field of MIME.
func (w *walk) mail(n *node, essence string) error {
	raw, cut, err := w.headerBlock(n)
	if err != nil {
		return err
	}
	mentioned := mentionsMIME(raw)
	if cut && (isMessage(essence) || mentioned && readLooseHeader(raw).mime) {
		w.refuse(n, scan.CauseMalformedBody, "mail: a header longer than the limit")
	}
	if !mentioned {
		return nil
	}
	word := "mail"
	for _, start := range mailStarts(raw) {
		h := readLooseHeader(raw[:start])
		if !h.mime {
			continue
		}
		p := piece{word: word, contentType: h.contentType, transfer: h.transfer, name: h.filename, kind: byEmbedding, lenient: true}
		if err := w.window(n, p, int64(start), n.obj.Size); err != nil {
			return err
		}
		word = fmt.Sprintf("mail[%d]", start)
	}
	return nil
}

// mentionsMIME reports whether the name of a field of MIME may stand in raw: most
// text that only begins like a header has none, and need not be read line by line.
func mentionsMIME(raw []byte) bool {
	for at := 0; ; at++ {
		k := bytes.IndexByte(raw[at:], '-')
		if k < 0 {
			return false
		}
		at += k
		if endsFold(raw[:at], "mime") || endsFold(raw[:at], "content") {
			return true
		}
	}
}

func endsFold(p []byte, word string) bool {
	from := len(p) - len(word)
	return from >= 0 && p[len(p)-1]|0x20 == word[len(word)-1] && strings.EqualFold(string(p[from:]), word)
}

// mailStarts returns where the content of a mail may begin: behind the empty line,
// and at the first line that is no field, where Python's reader ends the header.
// The line that a mailbox puts in front is no part of it.
func mailStarts(raw []byte) []int {
	skip := 0
	if bytes.HasPrefix(raw, []byte(mailboxLine)) {
		_, skip = cutLine(raw, true)
	} else if bytes.HasPrefix(raw, []byte(byteOrderMark)) {
		skip = len(byteOrderMark)
	}
	var starts []int
	for _, bareCR := range []bool{false, true} {
		odd := false
		for at := skip; at < len(raw); {
			line, next := cutLine(raw[at:], bareCR)
			if len(line) == 0 {
				starts = append(starts, at+next)
				break
			}
			if !odd && at > skip && !isBlank(line[0]) && !hasFieldName(line) {
				starts, odd = append(starts, at), true
			}
			at += next
		}
	}
	slices.Sort(starts)
	return slices.Compact(starts)
}

// hasFieldName reports whether a line begins with the name of a field (RFC 5322
// section 2.2).
func hasFieldName(line []byte) bool {
	name, _, ok := bytes.Cut(line, []byte(":"))
	name = bytes.TrimRight(name, " \t")
	return ok && len(name) > 0 && bytes.IndexFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

// mailbox reports the messages of a mailbox (RFC 4155) but the first, which n is read
// as. Readers differ on whether a blank line must stand in front; what has no header
// of MIME holds no file.
func (w *walk) mailbox(n *node) error {
	var starts []int64
	line := []byte("\n" + mailboxLine)
	err := w.each(n, line, len(line), func(h hit) bool {
		starts = append(starts, h.pos+1)
		return len(starts) <= w.limits.MaxObjects*16
	})
	if err != nil {
		return err
	}
	if len(starts) > w.limits.MaxObjects*16 {
		w.refuse(n, scan.CauseTooManyObjects, "mail: more messages in a mailbox than the limit")
		return nil
	}
	raw := make([]byte, 8<<10)
	for i, from := range starts {
		end := n.obj.Size
		if i+1 < len(starts) {
			end = starts[i+1]
		}
		p := raw[:min(end-from, int64(len(raw)))]
		if err := readAt(n.obj.Content, p, from); err != nil {
			return err
		}
		if !hasFiles(p, len(p) < len(raw)) {
			continue
		}
		if err := w.window(n, piece{word: fmt.Sprintf("message[%d]", i+1), kind: byArchive}, from, end); err != nil {
			return err
		}
	}
	return nil
}

// hasFiles reports whether a message, of which p is the beginning, may have a header
// of MIME for any reader.
func hasFiles(p []byte, whole bool) bool {
	if !whole && emptyLine(p) < 0 {
		return true // the header goes on
	}
	if !mentionsMIME(p) {
		return false
	}
	ends := mailStarts(p)
	return len(ends) > 0 && readLooseHeader(p[:ends[len(ends)-1]]).mime
}
