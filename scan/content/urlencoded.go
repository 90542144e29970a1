package content

import (
	"bytes"
	"errors"
	"strings"
)

// isURLEncoded reports whether a receiver may read n as a form: by its label, as
// a reader that searches it for the word does, or because it has none, when Rack
// and CGI programs take every body for one.
func isURLEncoded(n *node, head []byte) bool {
	if labelledURLEncoded(n) {
		return true
	}
	inside := n.levels[byMultipart] + n.levels[byEmbedding] + n.levels[byArchive]
	return n.obj.ContentType == "" && inside == 0 && isText("", head, nil) && bytes.IndexByte(head, '=') >= 0
}

func labelledURLEncoded(n *node) bool {
	return strings.Contains(strings.ToLower(n.obj.ContentType), "urlencoded")
}

// looksLikeForm reports whether text begins as programs write forms: without
// blanks and controls, which they escape.
func looksLikeForm(head []byte) bool {
	return bytes.IndexFunc(head, func(r rune) bool { return r <= ' ' || strings.ContainsRune(`<>"{}`, r) }) < 0
}

// urlencoded looks into the values of a form: each one of some length is an
// object, save where other text may have been taken for a form. They are decoded
// once (WHATWG URL standard, section 5.1).
//
// Senders forget to escape the plus sign of base64, and receivers mend it, so
// the value with its plus signs kept is looked into as well.
func (w *walk) urlencoded(n *node) error {
	head, err := w.head(n)
	if err != nil {
		return err
	}
	f := formScanner{decoded: newCandidate(w, n, "form"), plus: newCandidate(w, n, "form-plus"), short: newCandidate(w, n, "form-short")}
	f.decoded.everyOne = labelledURLEncoded(n) || looksLikeForm(head)
	f.short.everyOne = f.decoded.everyOne
	for _, c := range []*candidate{f.decoded, f.plus, f.short} {
		c.contentType = textIn(readMediaType(n.obj.ContentType).charsets)
		if f.decoded.everyOne {
			c.hex.c = nil // values are objects, which are looked into
		}
	}
	if err := w.blocks(n, f.scan); err != nil {
		return err
	}
	if err := f.end(); err != nil {
		return err
	}
	for _, c := range []*candidate{f.decoded, f.short} {
		if err := c.close(); err != nil {
			return err
		}
	}
	return f.plus.close()
}

// textIn is a label for what a form holds: its charset is that of the values, once
// they are decoded.
func textIn(charsets []string) string {
	var label strings.Builder
	for _, name := range charsets {
		if wideCharset(name) != nil {
			label.WriteString("; charset=" + name)
		}
	}
	if label.Len() == 0 {
		return ""
	}
	return "text/plain" + label.String()
}

type formScanner struct {
	decoded, plus *candidate
	short         *candidate // values end at a semicolon too
	semicolons    bool
	escape        []byte // an escape that has begun
	one           [1]byte
	pluses        bool
	value         bool // the name of the pair is over
}

func (f *formScanner) scan(p []byte) error {
	for len(p) > 0 {
		if len(f.escape) > 0 {
			if err := f.unescape(p[0]); err != nil {
				return err
			}
			p = p[1:]
			continue
		}
		k := bytes.IndexAny(p, "&=+%;")
		if k < 0 {
			return f.feed(p)
		}
		if err := f.feed(p[:k]); err != nil {
			return err
		}
		if err := f.special(p[k]); err != nil {
			return err
		}
		p = p[k+1:]
	}
	return nil
}

func (f *formScanner) special(c byte) error {
	switch c {
	case '%':
		f.escape = append(f.escape, c)
		return nil
	case '+':
		f.pluses = true
		for _, c := range []*candidate{f.decoded, f.short} {
			if err := c.feed(f.byte(' ')); err != nil {
				return err
			}
		}
		return f.plus.feed(f.byte('+'))
	case ';':
		return f.semicolon()
	case '=':
		if f.value && f.semicolons {
			return f.equals()
		}
		if f.value {
			return f.feed(f.byte(c)) // padding that was not escaped
		}
		f.value = true
		if !f.decoded.everyOne {
			return f.forget() // what stands before the first value of other text
		}
		return f.end()
	}
	f.value = false
	return f.end()
}

// forget drops a name.
func (f *formScanner) forget() error {
	f.escape, f.pluses, f.semicolons = nil, false, false
	return errors.Join(f.decoded.forget(), f.plus.forget(), f.short.forget())
}

// byte is a slice of one byte that costs no memory; it holds until the next one.
func (f *formScanner) byte(c byte) []byte {
	f.one[0] = c
	return f.one[:]
}

func (f *formScanner) unescape(c byte) error {
	f.escape = append(f.escape, c)
	if unhex(c) >= 0 && len(f.escape) < 3 {
		return nil
	}
	held := f.escape
	if len(held) == 3 && unhex(c) >= 0 {
		f.escape = f.escape[:0]
		return f.feed(f.byte(byte(unhex(held[1])<<4 | unhex(held[2]))))
	}
	// Not an escape: it stands for itself.
	f.escape = nil
	if err := f.feed(held[:len(held)-1]); err != nil {
		return err
	}
	return f.scan([]byte{c})
}

func (f *formScanner) feed(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	for _, c := range []*candidate{f.decoded, f.short} {
		if err := c.feed(p); err != nil {
			return err
		}
	}
	return f.plus.feed(p)
}

// semicolon takes a divider of old (HTML 4.01 appendix B.2.2), which is part of
// the value to most receivers of today. What stands before "=" in what follows is
// the name of a pair.
func (f *formScanner) semicolon() error {
	f.semicolons = true
	if err := f.short.end(); err != nil {
		return err
	}
	if err := f.decoded.feed(f.byte(';')); err != nil {
		return err
	}
	return f.plus.feed(f.byte(';'))
}

func (f *formScanner) end() error {
	if len(f.escape) > 0 {
		held := f.escape
		f.escape = nil
		if err := f.feed(held); err != nil {
			return err
		}
	}
	if err := f.endShort(); err != nil {
		return err
	}
	if !f.pluses { // both would find the same
		if err := f.plus.forget(); err != nil {
			return err
		}
		return f.decoded.end()
	}
	f.pluses = false
	if err := f.decoded.end(); err != nil {
		return err
	}
	return f.plus.end()
}

// equals takes "=" behind a semicolon: it begins a value to those who divide
// there.
func (f *formScanner) equals() error {
	if err := f.short.end(); err != nil {
		return err
	}
	if err := f.decoded.feed(f.byte('=')); err != nil {
		return err
	}
	return f.plus.feed(f.byte('='))
}

// endShort ends the shorter value; without semicolons it is the longer one.
func (f *formScanner) endShort() error {
	if !f.semicolons {
		return f.short.forget()
	}
	f.semicolons = false
	return f.short.end()
}
