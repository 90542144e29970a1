package content

import (
	"bytes"
	"strconv"
	"strings"
)

// partHeader is the header block of one part.
type partHeader struct {
	size        int64 // with the empty line; 0 when there is none
	contentType string
	codings     []string
	transfer    string // "base64" or "quoted-printable", else ""
	disposition string
	filename    string
	length      string // Content-Length
	fault       string // the rule that is broken
}

// readPartHeader reads the header block at the start of raw, which holds the
// first maxPartHeader bytes of the part. It goes on after a fault, so that the
// content can still be found.
func readPartHeader(raw []byte) partHeader {
	var h partHeader
	if bytes.HasPrefix(raw, []byte("\r\n")) {
		h.size = 2
		return h
	}
	end := bytes.Index(raw, []byte("\r\n\r\n"))
	if end < 0 {
		h.fault = "part without an empty line"
		if len(raw) == maxPartHeader {
			h.fault = "part header too long"
		}
		return h
	}
	block := raw[:end]
	h.size = int64(end + 4)
	lines := bytes.Split(block, []byte("\r\n"))
	if len(lines) > maxHeaderLines {
		h.fault = "too many lines in a part header"
	}
	seen := make(map[string]bool, len(lines))
	for _, line := range lines {
		name, value, fault := readHeaderLine(line)
		if fault == "" && seen[name] {
			fault = "duplicate part header"
		}
		if fault != "" {
			h.fault = fault
			continue
		}
		seen[name] = true
		h.set(name, value)
	}
	return h
}

// readHeaderLine reads "name: value"; the name is returned in lower case.
func readHeaderLine(line []byte) (name, value, fault string) {
	for _, c := range line {
		switch {
		case c == '\n':
			return "", "", "bare LF in part header"
		case c == '\r':
			return "", "", "bare CR in part header"
		case c < ' ' || c == 0x7f:
			return "", "", "control character in part header"
		}
	}
	if len(line) == 0 || line[0] == ' ' {
		return "", "", "folded line in part header"
	}
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 {
		return "", "", "part header line without a name"
	}
	for _, c := range line[:colon] {
		if c <= ' ' || c > '~' {
			return "", "", "part header name"
		}
	}
	return strings.ToLower(string(line[:colon])), strings.Trim(string(line[colon+1:]), " "), ""
}

func (h *partHeader) set(name, value string) {
	switch name {
	case "content-type":
		h.contentType = value
	case "content-encoding":
		h.codings = []string{value}
	case "content-transfer-encoding":
		h.transfer = strings.ToLower(value)
	case "content-disposition":
		h.disposition = value
	case "content-length":
		h.length = value
	}
}

// shorter returns the length that the header gives, for readers who go by it
// (Firefox, aiohttp): ok when it ends before the content, which has size bytes.
// One that goes beyond is a fault: it reaches over the delimiter.
func (h *partHeader) shorter(size int64) (length int64, ok bool) {
	if h.length == "" {
		return 0, false
	}
	length, err := strconv.ParseInt(h.length, 10, 64)
	if err != nil || length < 0 || length > size {
		if h.fault == "" {
			h.fault = "content length of a part"
		}
		return 0, false
	}
	return length, length < size
}

// check applies the rules on transfer encoding and charset.
func (h *partHeader) check() string {
	switch h.transfer {
	case "", "7bit", "8bit", "binary":
		h.transfer = ""
	case transferBase64, transferQuoted:
		if claimsMultipart(h.contentType) {
			return "transfer encoding of a nested multipart body"
		}
	default:
		h.transfer = ""
		return "unknown transfer encoding"
	}
	for _, name := range readMediaType(h.contentType).charsets {
		if !knownCharset(name) {
			return "unknown charset of a part"
		}
	}
	return ""
}

// readDisposition applies the rules for parts of a form (RFC 7578): the name
// once, the file name at most once in each form, no other extended parameter.
func (h *partHeader) readDisposition() string {
	c := cursor{rest: h.disposition}
	if !strings.EqualFold(c.token(), "form-data") {
		return "content disposition"
	}
	seen := make(map[string]bool)
	for c.rest != "" {
		c.blanks()
		if !c.take(';') {
			return "characters after a disposition parameter"
		}
		c.blanks()
		name := strings.ToLower(c.token())
		if name == "" || !c.take('=') {
			return "disposition parameter"
		}
		if seen[name] {
			return "duplicate disposition parameter"
		}
		seen[name] = true
		if fault := h.dispositionValue(&c, name); fault != "" {
			return fault
		}
	}
	if !seen["name"] {
		return "form part without a name"
	}
	return ""
}

func (h *partHeader) dispositionValue(c *cursor, name string) string {
	if name == "filename*" {
		value, ok := extendedUTF8(c.token())
		if !ok {
			return "extended file name"
		}
		if h.filename == "" {
			h.filename = value
		}
		return ""
	}
	if strings.Contains(name, "*") {
		return "extended disposition parameter"
	}
	value, ok := c.quotedOrToken()
	switch {
	case !ok:
		return "disposition parameter value"
	case name == "name" && value == "":
		return "empty name"
	case name == "name" && strings.EqualFold(value, "_charset_"):
		return "a _charset_ field"
	case name == "filename":
		h.filename = value
	}
	return ""
}

// quotedOrToken reads a quoted string in which a backslash stands only before a
// quote, or a token. Tokens are needed for .NET's MultipartFormDataContent,
// which quotes names only where it must; no reader cuts differently there.
func (c *cursor) quotedOrToken() (string, bool) {
	if !c.take('"') {
		t := c.token()
		return t, t != "" && !strings.ContainsAny(t, "'`")
	}
	var v strings.Builder
	for i := 0; i < len(c.rest); i++ {
		switch b := c.rest[i]; {
		case b == '"':
			c.rest = c.rest[i+1:]
			return v.String(), true
		case b == '\\' && i+1 < len(c.rest) && c.rest[i+1] == '"':
			v.WriteByte('"')
			i++
		case b == '\\':
			return "", false
		default:
			v.WriteByte(b)
		}
	}
	return "", false
}

// extendedUTF8 reads utf-8'[language]'value of RFC 8187.
func extendedUTF8(s string) (string, bool) {
	charset, rest, ok := strings.Cut(s, "'")
	if !ok || !strings.EqualFold(charset, "utf-8") {
		return "", false
	}
	_, value, ok := strings.Cut(rest, "'")
	return unescapePercent(value), ok && value != "" && !strings.ContainsAny(value, "'*")
}
