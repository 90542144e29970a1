package content

import (
	"bytes"
	"strconv"
	"strings"
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
	text := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(block))
	text = strings.NewReplacer("\n ", " ", "\n\t", " ").Replace(text)
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
			switch v := strings.ToLower(strings.Trim(value, " \t\"';")); v {
			case transferBase64, transferQuoted, transferUU, "uuencode", "x-uue", "uue":
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

// isMail reports whether n may be a mail message (RFC 5322) or a saved web page
// (MHTML), by its label or its first lines.
func isMail(essence string, head []byte) bool {
	if essence == "message/rfc822" || essence == "message/global" {
		return true
	}
	if bytes.HasPrefix(head, []byte("From ")) {
		return bytes.Contains(head, []byte("\n")) && bytes.Contains(head, []byte(":"))
	}
	name, _, ok := bytes.Cut(head[:min(len(head), 64)], []byte(":"))
	if !ok {
		return false
	}
	switch strings.ToLower(string(name)) {
	case "received", "return-path", "delivered-to", "from", "to", "date", "subject", "message-id", "mime-version", "content-type",
		"reply-to", "x-received", "dkim-signature", "arc-seal", "authentication-results", "sender", "cc", "x-mailer", "content-transfer-encoding":
		return true
	}
	return false
}

// headed reports what follows the header block of a mail message or of an HTTP
// message within a batch. Mail is read in many ways already, so that its parts
// are cut in all of them instead of being refused.
func (w *walk) headed(n *node, word string) error {
	block := w.u.pools.block()
	defer w.u.pools.giveBlock(block)
	raw := (*block)[:min(n.obj.Size, 64<<10)]
	if err := readAt(n.obj.Content, raw, 0); err != nil {
		return err
	}
	end := -1
	for _, style := range []string{"\r\n\r\n", "\n\n", "\n\r\n"} {
		if k := bytes.Index(raw, []byte(style)); k >= 0 && (end < 0 || k+len(style) < end) {
			end = k + len(style)
		}
	}
	if end < 0 {
		return nil
	}
	h := readLooseHeader(raw[:end])
	if word == "mail" && !h.mime {
		return nil
	}
	p := piece{
		word: word, contentType: h.contentType, transfer: h.transfer, codings: w.codingsOf(n, h.codings),
		name: h.filename, kind: byEmbedding, lenient: true,
	}
	return w.window(n, p, int64(end), n.obj.Size)
}
