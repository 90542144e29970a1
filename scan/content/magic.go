package content

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// hasMagic reports whether p begins like a file that can do harm or hold
// another one. It only ever adds an object.
func (t *tables) hasMagic(p []byte) bool {
	if len(p) < 4 {
		return false
	}
	for _, m := range t.magics[p[0]] {
		if len(p) >= len(m) && string(p[:len(m)]) == m {
			return true
		}
	}
	return false
}

func magicNumbers() []string {
	return []string{
		"MZ", "\x7fELF", "\xca\xfe\xba\xbe", "\xce\xfa\xed\xfe", "\xcf\xfa\xed\xfe", "\xfe\xed\xfa", "dex\n", // programs
		"#!", "X5O!P%", "L\x00\x00\x00", "ITSF", // scripts, the test file, shortcuts, help
		"PK\x03\x04", "PK\x05\x06", "PK\x07\x08", "Rar!", "7z\xbc\xaf", "MSCF", // archives
		"\x1f\x8b", "BZh", "\xfd7zXZ", "\x28\xb5\x2f\xfd",
		"%PDF", "%!PS", "\xd0\xcf\x11\xe0", "{\\rtf", // documents
		"GIF8", "\x89PNG", "\xff\xd8\xff", "RIFF", "ID3", // media
		"<?", "<!", "<html", "<HTML", "<script", "<SCRIPT", "<svg", "<job", "<package", // markup
		"{\"", "{\r", "{\n", "{ ", "[{", "[\"", "[\n", "[\r", "[ ", // JSON
		"\xef\xbb\xbf", "\xfe\xff", "\xff\xfe", // text with a byte order mark
	}
}

// textLike reports whether p is readable text, as random bytes never are.
func textLike(p []byte) bool {
	for len(p) > 0 {
		c := p[0]
		if c < utf8.RuneSelf {
			if c < ' ' && c != '\t' && c != '\r' && c != '\n' || c == 0x7f {
				return false
			}
			p = p[1:]
			continue
		}
		r, k := utf8.DecodeRune(p)
		if r == utf8.RuneError && len(p) >= utf8.UTFMax {
			return false
		}
		p = p[k:]
	}
	return true
}

// isText reports whether n may be read as text: by its label, by the first
// characters of HTML, or because none of its first bytes is one that text in no
// charset has (WHATWG MIME sniffing standard, section 3).
func isText(essence string, head, first []byte) bool {
	for _, word := range []string{"text/", "html", "xml", "json", "script", "yaml", "urlencoded", "x-pem"} {
		if strings.Contains(essence, word) {
			return true
		}
	}
	return beginsHTML(first) || !bytes.ContainsFunc(head, isBinary)
}

func isBinary(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' && r != '\f' && r != '\r' && r != 0x1b
}
