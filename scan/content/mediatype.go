package content

import (
	"strings"

	"github.com/portcullis-av/portcullis/scan"
)

// mediaType is a Content-Type value as the strict grammar reads it.
type mediaType struct {
	// essence is "type/subtype" in lower case, "" when the value begins with
	// none.
	essence string
	// charsets are those that some receiver may go by, as plainName has them.
	charsets []string
	// boundary is set for multipart types that obey the grammar.
	boundary string
	// multipart says that some receiver may take the body for multipart.
	multipart bool
	// fault names the rule of the grammar that a multipart type breaks, and
	// cause is its cause.
	fault string
	cause scan.Cause
}

// typeOf returns the Content-Type line to go by. More than one value is refused,
// since receivers differ on which one holds: several lines, or those that a proxy
// has joined with a comma, as Envoy does.
func (w *walk) typeOf(n *node, lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	chosen := lines[0]
	if len(lines) > 1 || commaOutsideQuotes(chosen) && !claimsMultipart(chosen) {
		w.refuse(n, scan.CauseAmbiguousHeaders, "more than one Content-Type")
		for _, line := range lines {
			if claimsMultipart(line) {
				chosen = line
				break
			}
		}
	}
	return chosen
}

// claimsMultipart is deliberately wide: a reader that searches for the word
// finds it anywhere.
func claimsMultipart(value string) bool {
	lower := strings.ToLower(value)
	return strings.Contains(lower, "multipart") || strings.Contains(lower, "form-data")
}

// readMediaType reads a value. Only multipart types must obey the grammar; an
// odd label of anything else changes nothing, since the content is looked into
// whatever its label says.
func readMediaType(value string) mediaType {
	value = strings.Trim(value, " \t")
	t := mediaType{multipart: claimsMultipart(value)}
	c := cursor{rest: value}
	kind := c.token()
	if kind != "" && c.take('/') {
		if sub := c.token(); sub != "" {
			t.essence = strings.ToLower(kind + "/" + sub)
		}
	}
	if !t.multipart {
		t.charsets = charsetsOf(value)
		return t
	}
	t.cause = scan.CauseMalformedBody
	if commaOutsideQuotes(value) {
		t.fault, t.cause = "more than one Content-Type value", scan.CauseAmbiguousHeaders
		return t
	}
	if !multipartTypes(t.essence) {
		t.fault = "media type"
		return t
	}
	if t.fault = t.readParameters(&c); t.fault == "" && otherBoundary(value) {
		t.fault = "the word boundary occurs twice"
	}
	return t
}

func multipartTypes(essence string) bool {
	switch essence {
	case "multipart/form-data", "multipart/mixed", "multipart/related", "multipart/alternative", "multipart/byteranges":
		return true
	}
	return false
}

// readParameters reads *( OWS ";" OWS token "=" ( token / quoted ) ) and names
// the rule that is broken, if any.
func (t *mediaType) readParameters(c *cursor) string {
	seen := make(map[string]bool)
	for c.rest != "" {
		c.blanks()
		if !c.take(';') {
			return "characters after the media type or a parameter"
		}
		c.blanks()
		name := strings.ToLower(c.token())
		switch {
		case name == "":
			return "empty parameter"
		case strings.Contains(name, "*"):
			return "extended parameter"
		case !c.take('='):
			return "parameter without value"
		case seen[name]:
			return "duplicate parameter"
		}
		seen[name] = true
		value, ok := c.value()
		if !ok {
			return "parameter value"
		}
		switch {
		case name == "boundary" && !validBoundary(value):
			return "boundary form"
		case name == "boundary":
			t.boundary = value
		case name == "charset" && !plainCharset(value):
			return "charset"
		}
	}
	if t.boundary == "" {
		return "no boundary"
	}
	return ""
}

// otherBoundary reports whether a reader that searches a value for the word
// "boundary", as PHP, Rack and formidable do, or that cuts it at every semicolon,
// as Tornado does, finds another one than the parameter. The value obeys the
// grammar, hence the parameter is there and all of it is ASCII.
func otherBoundary(value string) bool {
	const word = "boundary"
	lower := lowerASCII(value)
	named := -1 // where the value of what is called a boundary begins
	for at := 0; ; {
		k := strings.Index(lower[at:], word)
		if k < 0 {
			break
		}
		at += k + len(word)
		// An extended or continued name, or one with a blank behind it.
		rest := strings.TrimLeft(lower[at:], "*0123456789 \t")
		if !strings.HasPrefix(rest, "=") {
			continue
		}
		if named >= 0 {
			return true
		}
		named = len(value) - len(rest)
	}
	first := strings.Index(value, word) // PHP prefers it in lower case,
	if first < 0 {
		first = strings.Index(lower, word)
	}
	return first+strings.IndexByte(value[first:], '=') != named // and takes the next "="
}

// lowerASCII is s in small letters, byte for byte: [strings.ToLower] makes three
// bytes of each that is no UTF-8, so that places in one are not places in the other.
func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// plainCharset reports whether text in this charset is cut alike by those who
// heed it and those who do not. Apache's HttpClient 5 names Latin-1.
func plainCharset(name string) bool {
	switch strings.ToLower(name) {
	case "utf-8", "iso-8859-1", "us-ascii":
		return true
	}
	return false
}

// validBoundary checks RFC 2046 section 5.1.1: 1 to 70 characters, the last one
// no space. Two more are let in, since much copied samples have them (Android's
// "*****", a recipe of Python's that ends in "$") and no reader cuts there. What looks like an encoded word (RFC 2047) is none either: Apache's
// Commons FileUpload decodes it.
func validBoundary(b string) bool {
	if b == "" || len(b) > 70 || b[len(b)-1] == ' ' {
		return false
	}
	if _, word, ok := strings.Cut(b, "=?"); ok && strings.Contains(word, "?=") {
		return false
	}
	for i := range len(b) {
		c := b[i]
		if !isAlnum(c) && strings.IndexByte("'()+_,-./:=? *$", c) < 0 {
			return false
		}
	}
	return true
}

func commaOutsideQuotes(s string) bool {
	quoted := false
	for i := range len(s) {
		switch s[i] {
		case '"':
			quoted = !quoted
		case ',':
			if !quoted {
				return true
			}
		}
	}
	return false
}

// looseParameter finds a parameter in a value that need not be well-formed.
func looseParameter(value, name string) string {
	for field := range strings.SplitSeq(value, ";") {
		k, v, ok := strings.Cut(field, "=")
		if ok && strings.EqualFold(strings.TrimSpace(k), name) {
			return strings.Trim(v, " \t\"'")
		}
	}
	return ""
}

// cursor reads a header value from front to back.
type cursor struct{ rest string }

func (c *cursor) take(b byte) bool {
	if c.rest == "" || c.rest[0] != b {
		return false
	}
	c.rest = c.rest[1:]
	return true
}

func (c *cursor) blanks() { c.rest = strings.TrimLeft(c.rest, " \t") }

// token reads the longest token (RFC 9110 section 5.6.2), perhaps "".
func (c *cursor) token() string {
	i := 0
	for i < len(c.rest) && isToken(c.rest[i]) {
		i++
	}
	t := c.rest[:i]
	c.rest = c.rest[i:]
	return t
}

// value reads a token or a quoted string without quotes, backslashes and
// control characters inside.
func (c *cursor) value() (string, bool) {
	if !c.take('"') {
		t := c.token()
		return t, t != ""
	}
	for i := range len(c.rest) {
		switch b := c.rest[i]; {
		case b == '"':
			v := c.rest[:i]
			c.rest = c.rest[i+1:]
			return v, true
		case b == '\\' || b < ' ' || b > '~':
			return "", false
		}
	}
	return "", false
}

func isAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func isToken(c byte) bool {
	return isAlnum(c) || c > ' ' && c < 0x7f && strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
