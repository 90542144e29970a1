package content

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// isJSON reports whether n may be read as JSON, by its label or its first
// character that is no blank.
func isJSON(essence string, head []byte) bool {
	if strings.Contains(essence, "json") {
		return true
	}
	return len(head) > 0 && (head[0] == '{' || head[0] == '[' || head[0] == '"')
}

// json looks into every string of n, keys included, wherever it stands: no
// structure is parsed, so that duplicate keys, several documents and trailing
// data make no difference, and there is nothing to nest too deep.
func (w *walk) json(n *node) error {
	s := jsonScanner{c: newCandidate(w, n, "json")}
	s.bytes = byteArray{c: s.c, out: sink{w: w, n: n}}
	if err := w.blocks(n, s.scan); err != nil {
		return err
	}
	if s.inside { // cut: what is there is looked into
		s.odd = true
		if err := s.c.end(); err != nil {
			return err
		}
	}
	if err := errors.Join(s.bytes.end(), s.c.close()); err != nil {
		return err
	}
	switch {
	case s.odd:
		// Not quite JSON: comments, single or no quotes, line ends in strings. A lenient
		// reader sees other strings there than we do, so we look at all quotes.
		return w.literals(n, minQuoted)
	case s.c.runs: // in a string that is a page or a script
		return w.literalsOf(n, minLiteral, false)
	}
	return nil
}

// blocks hands all of n to each, block by block.
func (w *walk) blocks(n *node, each func(p []byte) error) error {
	block := w.u.pools.block()
	defer w.u.pools.giveBlock(block)
	for off := int64(0); off < n.obj.Size; off += int64(len(*block)) {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		p := (*block)[:min(n.obj.Size-off, int64(len(*block)))]
		if err := readAt(n.obj.Content, p, off); err != nil {
			return err
		}
		if err := each(p); err != nil {
			return err
		}
	}
	return nil
}

// jsonScanner finds strings in JSON text that arrives in blocks.
type jsonScanner struct {
	c      *candidate
	inside bool
	escape []byte // an escape that has begun, from its backslash on
	high   rune   // the first half of a surrogate pair
	odd    bool   // something that is no JSON was seen
	bytes  byteArray
}

func (s *jsonScanner) scan(p []byte) error {
	for len(p) > 0 {
		var err error
		switch {
		case !s.inside:
			p, err = s.outside(p)
		case len(s.escape) > 0:
			p, err = s.unescape(p)
		default:
			p, err = s.string(p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// outside goes to the next string. Short ones without escapes, as most are, are
// stepped over at once: nothing of interest fits into them.
func (s *jsonScanner) outside(p []byte) ([]byte, error) {
	for {
		k, odd := 0, false
		for ; k < len(p) && p[k] != '"'; k++ {
			// Names and numbers have no other large letter than an E.
			if c := p[k]; c == '\'' || c == '/' || c == '`' || c-'A' < 26 && c != 'E' {
				odd = true
			}
		}
		s.odd = s.odd || odd
		if k == len(p) {
			return nil, s.bytes.scan(p)
		}
		if k != 1 || p[0] != ':' { // as which it says nothing, and stands before most
			if err := s.bytes.scan(p[:k]); err != nil {
				return nil, err
			}
		}
		p = p[k+1:]
		end := 0
		for end < len(p) && end < minQuoted && p[end] != '"' && p[end] != '\\' {
			end++
		}
		if end == len(p) || end == minQuoted || p[end] != '"' || !s.c.dull(p[:end]) {
			s.inside = true
			s.bytes.dead = s.bytes.dead || end != len(p) // a number may go on in the next block
			return p, nil
		}
		s.bytes.key(p[:end])
		p = p[end+1:]
	}
}

// string feeds up to the next quote or backslash.
func (s *jsonScanner) string(p []byte) ([]byte, error) {
	k := 0 // a search for each alone would go over the same bytes again and again
	for k < len(p) && p[k] != '"' && p[k] != '\\' {
		k++
	}
	if err := s.feed(p[:k]); err != nil || k == len(p) {
		return nil, err
	}
	if p[k] == '\\' {
		s.escape = append(s.escape, '\\')
		return p[k+1:], nil
	}
	s.inside = false
	return p[k+1:], s.c.end()
}

func (s *jsonScanner) feed(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	s.odd = s.odd || bytes.IndexByte(p, '\n') >= 0
	if err := s.loneSurrogate(); err != nil {
		return err
	}
	return s.c.feed(p)
}

// unescape goes on with an escape (RFC 8259 section 7).
func (s *jsonScanner) unescape(p []byte) ([]byte, error) {
	if len(s.escape) == 1 {
		c := p[0]
		if c == 'u' {
			s.escape = append(s.escape, c)
			return p[1:], nil
		}
		s.escape = s.escape[:0]
		return p[1:], s.feed([]byte{simpleEscape(c)})
	}
	if unhex(p[0]) >= 0 {
		if s.escape = append(s.escape, p[0]); len(s.escape) < 6 {
			return p[1:], nil
		}
		p = p[1:]
	}
	var r rune
	for _, c := range s.escape[2:] {
		r = r<<4 | rune(unhex(c))
	}
	s.escape = s.escape[:0]
	return p, s.rune(r)
}

func simpleEscape(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c
}

// rune feeds an escaped character; two surrogates make one.
func (s *jsonScanner) rune(r rune) error {
	if s.high != 0 {
		if pair := utf16.DecodeRune(s.high, r); pair != utf8.RuneError {
			s.high = 0
			return s.c.feed(utf8.AppendRune(nil, pair))
		}
	}
	if err := s.loneSurrogate(); err != nil {
		return err
	}
	if utf16.IsSurrogate(r) && r < 0xdc00 {
		s.high = r
		return nil
	}
	return s.c.feed(utf8.AppendRune(nil, r))
}

func (s *jsonScanner) loneSurrogate() error {
	if s.high == 0 {
		return nil
	}
	s.high = 0
	return s.c.feed(utf8.AppendRune(nil, utf8.RuneError))
}
