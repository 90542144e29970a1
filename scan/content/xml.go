package content

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/portcullis-av/portcullis/scan"
)

// isXML reports whether n may be read as XML, by its label or because its first
// characters that are no blanks, in head, begin an element. HTML is not: its text
// is no carrier of files, and it may not be well-formed.
func isXML(essence string, head []byte) bool {
	if strings.Contains(essence, "xml") && !strings.Contains(essence, "html") && !strings.Contains(essence, "openxml") {
		return true
	}
	if declaresXML(head) {
		return true
	}
	return len(head) > 1 && head[0] == '<' && (isAlnum(head[1]) || head[1] == '!') && !strings.Contains(essence, "html") && !beginsHTML(head)
}

func declaresXML(head []byte) bool { return bytes.HasPrefix(head, []byte("<?xml")) }

func beginsHTML(head []byte) bool {
	lower := bytes.ToLower(head[:min(len(head), 16)])
	for _, tag := range []string{"<!doctype html", "<html", "<head", "<body", "<script", "<div", "<p>", "<!--"} {
		if bytes.HasPrefix(lower, []byte(tag)) {
			return true
		}
	}
	return false
}

// declaredCharset returns the encoding that an XML declaration in head names, as
// plainName has it.
func declaredCharset(head []byte) string {
	if !declaresXML(head) {
		return ""
	}
	declaration, _, _ := bytes.Cut(head, []byte("?>"))
	_, value, ok := bytes.Cut(declaration, []byte("encoding"))
	value = bytes.TrimLeft(value, " \t\r\n=")
	if !ok || len(value) == 0 {
		return ""
	}
	name, _, _ := bytes.Cut(value[1:], value[:1])
	return plainName(string(name))
}

// xml looks into the text of elements, joined across comments, CDATA and
// character references, and into attribute values. Declarations of entities are
// refused, since what they expand to stands nowhere in one piece; save for
// those that abbreviate a URL, as drawing programs write them into SVG, and in
// archives, where a schema is a file like any other.
func (w *walk) xml(n *node) error {
	s := xmlScanner{c: newCandidate(w, n, "xml")}
	if err := w.blocks(n, s.scan); err != nil {
		return err
	}
	if s.subset { // defaults of attributes stand there
		if err := w.literals(n, minQuoted); err != nil {
			return err
		}
	}
	if s.entities && n.levels[byArchive] == 0 {
		w.refuse(n, scan.CauseMalformedBody, "xml: entity declarations")
	}
	if err := s.c.end(); err != nil {
		return err
	}
	return s.c.close()
}

type xmlState uint8

const (
	xmlText xmlState = iota
	xmlReference
	xmlOpen // after "<", what begins is not known yet
	xmlTag
	xmlQuoted
	xmlComment
	xmlCDATA
	xmlInstruction
	xmlDeclaration
)

// xmlScanner goes through XML that arrives in blocks.
type xmlScanner struct {
	c        *candidate
	state    xmlState
	back     xmlState // where a reference stands
	quote    byte
	held     []byte // a reference or the beginning of markup
	told     []byte // what a reference stands for
	entities bool
	subset   bool // a declaration has a part in brackets
	depth    int  // brackets within a declaration
}

func (s *xmlScanner) scan(p []byte) error {
	for len(p) > 0 {
		var k int
		var err error
		switch s.state {
		case xmlText:
			k, err = s.text(p)
		case xmlQuoted:
			k, err = s.quoted(p)
		case xmlCDATA:
			k, err = s.cdata(p)
		case xmlReference:
			k, err = 1, s.reference(p[0])
		case xmlOpen:
			k, err = 1, s.open(p[0])
		case xmlTag:
			k = s.tag(p)
		case xmlComment:
			k = s.until(p, "-->")
		case xmlInstruction:
			k = s.until(p, "?>")
		case xmlDeclaration:
			k = 1
			s.declaration(p[0])
		}
		if err != nil {
			return err
		}
		p = p[k:]
	}
	return nil
}

// upTo feeds p up to the first of the characters in set and returns where it
// stands.
func (s *xmlScanner) upTo(p []byte, set string) (int, error) {
	k := bytes.IndexAny(p, set)
	if k < 0 {
		k = len(p)
	}
	if k == 0 {
		return 0, nil
	}
	return k, s.c.feed(p[:k])
}

func (s *xmlScanner) text(p []byte) (int, error) {
	k, err := s.upTo(p, "<&")
	if err != nil || k == len(p) {
		return k, err
	}
	s.held = s.held[:0]
	if p[k] == '<' {
		s.state = xmlOpen
	} else {
		s.back, s.state = xmlText, xmlReference
	}
	return k + 1, nil
}

func (s *xmlScanner) quoted(p []byte) (int, error) {
	k, err := s.upTo(p, string([]byte{s.quote, '&'}))
	if err != nil || k == len(p) {
		return k, err
	}
	s.held = s.held[:0]
	if p[k] == '&' {
		s.back, s.state = xmlQuoted, xmlReference
		return k + 1, nil
	}
	s.state = xmlTag
	return k + 1, s.c.end()
}

// cdata feeds up to "]]>".
func (s *xmlScanner) cdata(p []byte) (int, error) {
	if len(s.held) == 0 {
		k, err := s.upTo(p, "]")
		if err != nil || k == len(p) {
			return k, err
		}
		s.held = append(s.held, ']')
		return k + 1, nil
	}
	c := p[0]
	switch {
	case c == ']' && len(s.held) == 1:
		s.held = append(s.held, c)
		return 1, nil
	case c == ']':
		return 1, s.c.feed([]byte{c})
	case c == '>' && len(s.held) == 2:
		s.held, s.state = s.held[:0], xmlText
		return 1, nil
	}
	held := bytes.Clone(s.held)
	s.held = s.held[:0]
	return 0, s.c.feed(held)
}

// maxReference is longer than any character reference without leading zeros.
const maxReference = 12

func (s *xmlScanner) reference(c byte) error {
	if h := string(s.held); c == '0' && (h == "#0" || h == "#x0") {
		return nil // any number of zeros may lead
	}
	if c != ';' && len(s.held) < maxReference && c > ' ' && c != '<' && c != '&' {
		s.held = append(s.held, c)
		return nil
	}
	s.state = s.back
	if c == ';' {
		if r, ok := xmlCharacter(string(s.held)); ok {
			s.told = utf8.AppendRune(s.told[:0], r)
			return s.c.feed(s.told)
		}
	}
	// No reference that we know: its text stands for itself.
	s.told = append(append(append(s.told[:0], '&'), s.held...), ';')
	if err := s.c.feed(s.told); err != nil || c == ';' {
		return err
	}
	return s.scan([]byte{c})
}

func xmlCharacter(name string) (rune, bool) {
	switch name {
	case "amp":
		return '&', true
	case "lt":
		return '<', true
	case "gt":
		return '>', true
	case "quot":
		return '"', true
	case "apos":
		return '\'', true
	}
	digits, base := strings.TrimPrefix(name, "#"), 10
	if digits == name {
		return 0, false
	}
	if hex := strings.TrimPrefix(digits, "x"); hex != digits {
		digits, base = hex, 16
	}
	v, err := strconv.ParseUint(digits, base, 31)
	return rune(v), err == nil && utf8.ValidRune(rune(v))
}

// open decides what "<" begins. Text ends at a tag only.
func (s *xmlScanner) open(c byte) error {
	const cdata = "![CDATA["
	s.held = append(s.held, c)
	h := string(s.held)
	switch {
	case h == "?":
		s.state = xmlInstruction
	case h == "!--":
		s.state = xmlComment
	case h == cdata:
		s.state = xmlCDATA
	case h == "!" || h == "!-" || strings.HasPrefix(cdata, h): //nolint:gocritic // h is what there is of it
		return nil
	case h[0] == '!':
		s.state, s.depth = xmlDeclaration, 0
		begun := append([]byte{'<'}, s.held...)
		s.held = s.held[:0]
		for _, b := range begun {
			s.declaration(b)
		}
		return nil
	default:
		s.state = xmlTag
		if c == '>' {
			s.state = xmlText
		}
		s.held = s.held[:0]
		return s.c.end()
	}
	s.held = s.held[:0]
	return nil
}

func (s *xmlScanner) tag(p []byte) int {
	k := bytes.IndexAny(p, `>"'`)
	if k < 0 {
		return len(p)
	}
	if s.state = xmlText; p[k] != '>' {
		s.state, s.quote = xmlQuoted, p[k]
	}
	return k + 1
}

// until skips to the end mark, which may be split over blocks.
func (s *xmlScanner) until(p []byte, mark string) int {
	for i, c := range p {
		s.held = append(s.held, c)
		if len(s.held) > len(mark) {
			s.held = append(s.held[:0], s.held[1:]...)
		}
		if c == '>' && string(s.held) == mark {
			s.held, s.state = s.held[:0], xmlText
			return i + 1
		}
	}
	return len(p)
}

// declaration skips a DOCTYPE and remembers whether it declares entities.
func (s *xmlScanner) declaration(c byte) {
	const mark, enough = "<!ENTITY", 256
	s.held = append(s.held, c)
	declaring := len(s.held) >= len(mark) && bytes.EqualFold(s.held[:len(mark)], []byte(mark))
	switch {
	case declaring && (c == '>' || len(s.held) > enough):
		s.entities = s.entities || !declaresURL(s.held[len(mark):])
		s.held = s.held[:0]
		return
	case declaring:
		return
	case len(s.held) > len(mark) || len(s.held) > 0 && s.held[0] != '<':
		s.held = append(s.held[:0], s.held[1:]...)
	}
	switch {
	case c == '[':
		s.depth++
		s.subset = true
	case c == ']':
		s.depth--
	case c == '>' && s.depth <= 0:
		s.held, s.state = s.held[:0], xmlText
	}
}

// declaresURL reports whether the declaration of an entity gives a URL a name:
// name "http…">.
func declaresURL(declaration []byte) bool {
	fields := bytes.Fields(declaration)
	if len(fields) != 2 {
		return false
	}
	value := bytes.TrimLeft(fields[1], `"'`)
	return bytes.HasPrefix(value, []byte("http://")) || bytes.HasPrefix(value, []byte("https://"))
}
