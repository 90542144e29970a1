package icap

import (
	"strings"
	"unicode"
)

// maxFileName is in bytes, before escaping.
const maxFileName = 128

// objectName is the last element of the name, without what is not printable,
// cut to its last 128 bytes so that an extension stays. A name of which nothing
// is left is "object".
func objectName(name string) string {
	if i := strings.LastIndexAny(name, `/\`); i >= 0 {
		name = name[i+1:]
	}
	if len(name) > maxFileName {
		name = strings.ToValidUTF8(name[len(name)-maxFileName:], "")
	}
	name = strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, name)
	if strings.Trim(name, ". ") == "" {
		return "object"
	}
	return name
}

// percentEncoded leaves the unreserved characters of RFC 3986 section 2.3 as
// they are, which are also allowed in RFC 8187's ext-value.
func percentEncoded(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; isPlain(c) {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}

// quotable replaces everything that could end or bend a quoted string.
func quotable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x80 && (isPlain(byte(r)) || r == ' ') {
			return r
		}
		return '_'
	}, s)
}

func isPlain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~'
}
