package content

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/portcullis-av/portcullis/scan"
)

// unit reads one character of a charset.
type unit func(src *bufio.Reader) (rune, error)

// xmlInEBCDIC is "<?xm" in all of its code pages (XML 1.0, appendix F).
const xmlInEBCDIC = "\x4c\x6f\xa7\x94"

// lookInText finds the text of n in UTF-8 when it is written in something else,
// by its byte order mark or its label.
func (w *walk) lookInText(n *node, t mediaType, head []byte) error {
	reads, skip := marked(head)
	if reads == nil {
		declared := declaredCharset(head)
		if slices.ContainsFunc(t.charsets, opaqueCharset) || opaqueCharset(declared) || bytes.HasPrefix(head, []byte(xmlInEBCDIC)) {
			w.refuse(n, scan.CauseMalformedBody, "a charset that is not transcoded")
			return nil
		}
		for _, name := range t.charsets {
			reads = append(reads, wideCharset(name)...)
			if read := byteCharset(name); read != nil && n.levels[byMultipart] > 0 {
				reads = append(reads, read)
			}
		}
		if escapesCharsets(declared) {
			reads = append(reads, readISO2022)
		}
	}
	if reads == nil {
		if read := unmarked(head); read != nil {
			reads = []unit{read}
		}
	}
	for i, read := range reads {
		d := decoder{word: "utf-8", open: func(src *bufio.Reader) (io.Reader, func(), error) {
			_, err := src.Discard(skip)
			return &transcoder{src: src, read: read}, func() {}, err
		}}
		if i > 0 {
			d.word = fmt.Sprintf("utf-8[%d]", i)
		}
		res, err := w.decode(n, d)
		if err != nil {
			return err
		}
		if res.layer == nil {
			continue
		}
		p := piece{word: d.word, name: n.obj.Name, contentType: t.essence, kind: byTransfer, lenient: n.lenient}
		if err := w.layer(n, p, res.layer); err != nil {
			return err
		}
	}
	return nil
}

// marked recognises a byte order mark and tells its size.
func marked(head []byte) (reads []unit, size int) {
	switch {
	case bytes.HasPrefix(head, []byte("\xff\xfe\x00\x00")):
		return []unit{readUTF32(le32)}, 4
	case bytes.HasPrefix(head, []byte("\x00\x00\xfe\xff")):
		return []unit{readUTF32(be32)}, 4
	case bytes.HasPrefix(head, []byte("\xff\xfe")):
		return []unit{readUTF16(le16)}, 2
	case bytes.HasPrefix(head, []byte("\xfe\xff")):
		return []unit{readUTF16(be16)}, 2
	}
	return nil, 0
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

// readISO2022 reads ASCII from between the escapes with which ISO 2022 (RFC 1468
// and its kin) changes charsets. The characters of the other charsets come out as
// the ASCII that they are written with: no receiver sees them so.
func readISO2022(src *bufio.Reader) (rune, error) {
	for {
		c, err := src.ReadByte()
		switch {
		case err != nil:
			return 0, err
		case c == 0x0e || c == 0x0f: // shifts
			continue
		case c != 0x1b:
			return rune(c), nil
		}
		for c = ' '; c >= ' ' && c < '0'; {
			if c, err = src.ReadByte(); err != nil {
				return 0, err
			}
		}
	}
}
