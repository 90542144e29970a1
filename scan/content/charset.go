package content

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/portcullis-av/portcullis/scan"
)

// unit reads one character of a charset.
type unit func(src *bufio.Reader) (rune, error)

// knownCharset reports whether text of a part in this charset is looked into
// as UTF-8.
func knownCharset(name string) bool {
	switch name {
	case "utf-8", "utf8", "us-ascii", "ascii":
		return true
	}
	return wideCharset(name) != nil || byteCharset(name) != nil
}

// wideCharset returns the reader of a charset in which not even ASCII is
// readable as it is.
func wideCharset(name string) unit {
	switch name {
	case "utf-16", "utf-16le", "ucs-2", "unicode", "iso-10646-ucs-2":
		return readUTF16(le16)
	case "utf-16be":
		return readUTF16(be16)
	case "utf-32", "utf-32le", "ucs-4":
		return readUTF32(le32)
	case "utf-32be":
		return readUTF32(be32)
	}
	return nil
}

// byteCharset returns the reader of a charset of single bytes, of which the
// lower half is ASCII.
func byteCharset(name string) unit {
	switch name {
	case "iso-8859-1", "iso8859-1", "iso_8859-1", "latin1", "windows-1252", "cp1252":
		return func(src *bufio.Reader) (rune, error) {
			c, err := src.ReadByte()
			if name[0] != 'i' && name[0] != 'l' && c >= 0x80 && c < 0xa0 {
				return []rune(windows1252)[c-0x80], err
			}
			return rune(c), err
		}
	}
	return nil
}

// windows1252 are the characters 0x80 to 0x9f (WHATWG encoding standard).
const windows1252 = "€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ"

// opaqueCharset reports whether ASCII means something else in this charset, so
// that a receiver sees text which we do not.
func opaqueCharset(name string) bool {
	switch name {
	case "utf-7", "unicode-1-1-utf-7", "utf-7-imap", "scsu", "bocu-1", "hz-gb-2312", "utf-ebcdic":
		return true
	}
	for _, p := range []string{"ebcdic", "ibm03", "ibm-03", "cp03", "ibm500", "cp500", "ibm1047", "ibm-1047", "cp1047", "ibm1140", "cp1140", "x-ibm", "cs-ebcdic", "csebcdic", "csibm"} {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// xmlInEBCDIC is "<?xm" in all of its code pages (XML 1.0, appendix F).
const xmlInEBCDIC = "\x4c\x6f\xa7\x94"

// lookInText finds the text of n in UTF-8 when it is written in something else,
// by its byte order mark or its label.
func (w *walk) lookInText(n *node, t mediaType, head []byte) error {
	read, skip := unit(nil), 0
	switch {
	case bytes.HasPrefix(head, []byte("\xff\xfe\x00\x00")):
		read, skip = readUTF32(le32), 4
	case bytes.HasPrefix(head, []byte("\x00\x00\xfe\xff")):
		read, skip = readUTF32(be32), 4
	case bytes.HasPrefix(head, []byte("\xff\xfe")):
		read, skip = readUTF16(le16), 2
	case bytes.HasPrefix(head, []byte("\xfe\xff")):
		read, skip = readUTF16(be16), 2
	case wideCharset(t.charset) != nil:
		read = wideCharset(t.charset)
	case n.levels[byMultipart] > 0 && byteCharset(t.charset) != nil:
		read = byteCharset(t.charset)
	case opaqueCharset(t.charset), opaqueCharset(declaredCharset(head)), bytes.HasPrefix(head, []byte(xmlInEBCDIC)):
		w.refuse(n, scan.CauseMalformedBody, "a charset that is not transcoded")
		return nil
	default:
		if read = unmarked(head); read == nil {
			return nil
		}
	}
	d := decoder{word: "utf-8", open: func(src *bufio.Reader) (io.Reader, func(), error) {
		_, err := src.Discard(skip)
		return &transcoder{src: src, read: read}, func() {}, err
	}}
	res, err := w.decode(n, d)
	if err != nil || res.layer == nil {
		return err
	}
	return w.layer(n, piece{word: d.word, name: n.obj.Name, contentType: t.essence, kind: byTransfer, lenient: n.lenient}, res.layer)
}

// unmarked recognises JSON and XML in UTF-16 and UTF-32 without a mark, by the
// zeros around their first characters (RFC 4627 section 3).
func unmarked(head []byte) unit {
	if len(head) < 8 || bytes.IndexByte(head[:8], 0) < 0 {
		return nil
	}
	for _, e := range []struct {
		order func([]byte) rune
		width int
		read  unit
	}{{le32, 4, readUTF32(le32)}, {be32, 4, readUTF32(be32)}, {le16, 2, readUTF16(le16)}, {be16, 2, readUTF16(be16)}} {
		first, second := e.order(head), e.order(head[e.width:])
		if strings.ContainsRune("{[\"< \t\r\n", first) && second > 0 && second < utf8.RuneSelf {
			return e.read
		}
	}
	return nil
}

// transcoder turns text into UTF-8. What is no character becomes U+FFFD, as in
// every receiver.
type transcoder struct {
	src  *bufio.Reader
	read unit
	err  error
}

func (t *transcoder) Read(p []byte) (int, error) {
	k := 0
	for t.err == nil && len(p)-k >= utf8.UTFMax {
		var c rune
		if c, t.err = t.read(t.src); t.err == nil {
			k += utf8.EncodeRune(p[k:], c)
		}
	}
	if k > 0 {
		return k, nil
	}
	return 0, t.err
}

func le16(b []byte) rune { return rune(b[0]) | rune(b[1])<<8 }
func be16(b []byte) rune { return rune(b[1]) | rune(b[0])<<8 }
func le32(b []byte) rune { return le16(b) | le16(b[2:])<<16 }
func be32(b []byte) rune { return be16(b)<<16 | be16(b[2:]) }

func readUTF16(order func([]byte) rune) unit {
	return func(src *bufio.Reader) (rune, error) {
		b, err := take(src, 2)
		if err != nil {
			return 0, err
		}
		c := order(b)
		if !utf16.IsSurrogate(c) {
			return c, nil
		}
		if b, err = src.Peek(2); err == nil {
			if pair := utf16.DecodeRune(c, order(b)); pair != utf8.RuneError {
				_, _ = src.Discard(2)
				return pair, nil
			}
		}
		return utf8.RuneError, nil
	}
}

func readUTF32(order func([]byte) rune) unit {
	return func(src *bufio.Reader) (rune, error) {
		b, err := take(src, 4)
		if err != nil {
			return 0, err
		}
		if c := order(b); utf8.ValidRune(c) {
			return c, nil
		}
		return utf8.RuneError, nil
	}
}

// take reads exactly k bytes; an odd rest at the end is dropped.
func take(src *bufio.Reader, k int) ([]byte, error) {
	b, err := src.Peek(k)
	if err != nil {
		_, _ = src.Discard(len(b))
		return nil, err
	}
	_, _ = src.Discard(k)
	return b, nil
}
