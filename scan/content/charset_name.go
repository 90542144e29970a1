package content

import (
	"bufio"
	"slices"
	"strings"
)

// charsetsOf returns every charset that a reader may take from a Content-Type, as
// [plainName] has them: wherever the word stands, since readers differ on quotes,
// separators and on which of two parameters holds. An extended parameter (RFC
// 2231) is no name that anyone knows.
func charsetsOf(contentType string) []string {
	const word = "charset"
	lower := strings.ToLower(contentType)
	var all []string
	for len(all) < maxCharsets {
		_, rest, ok := strings.Cut(lower, word)
		if !ok {
			break
		}
		lower = rest
		name, value, ok := strings.Cut(rest, "=")
		switch {
		case !ok || strings.Trim(name, "*0123456789 \t") != "":
			continue
		case strings.Contains(name, "*"):
			all = append(all, word+"*")
			continue
		}
		if name := plainName(cutAt(strings.TrimLeft(value, " \t\"'"), ";, \t\"'")); name != "" && !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}

// maxCharsets is how many charsets of one Content-Type are tried.
const maxCharsets = 4

// plainName is a charset's name without what its spellings differ in (Unicode
// Technical Standard 22, section 1.4; Python's codecs): case, punctuation, and
// the prefixes of IANA's aliases and of names that are not registered.
func plainName(s string) string {
	plain := strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		}
		return -1
	}, s)
	return strings.TrimPrefix(strings.TrimPrefix(plain, "cs"), "x")
}

// knownCharset reports whether text of a part in this charset is looked into
// as UTF-8.
func knownCharset(name string) bool {
	switch name {
	case "utf8", "usascii", "ascii":
		return true
	}
	return wideCharset(name) != nil || byteCharset(name) != nil
}

// wideCharset returns the readers of a charset in which not even ASCII is
// readable as it is. Without a byte order mark some read a name that tells no
// order in one way, some in the other.
func wideCharset(name string) []unit {
	switch name {
	case "utf16", "utf16bom", "u16", "ucs2", "unicode", "iso10646", "iso10646ucs2", "iso10646unicode":
		return []unit{readUTF16(le16), readUTF16(be16)}
	case "utf16le", "utf16lebom", "ucs2le", "unicodelittle", "unicodelittleunmarked", "unicodefeff", "cp1200", "windows1200", "cp1202":
		return []unit{readUTF16(le16)}
	case "utf16be", "utf16bebom", "ucs2be", "unicodebig", "unicodebigunmarked", "unicodefffe", "cp1201", "windows1201":
		return []unit{readUTF16(be16)}
	case "utf32", "utf32bom", "u32", "ucs4", "iso10646ucs4":
		return []unit{readUTF32(le32), readUTF32(be32)}
	case "utf32le", "utf32lebom", "ucs4le", "cp12000":
		return []unit{readUTF32(le32)}
	case "utf32be", "utf32bebom", "ucs4be", "cp12001":
		return []unit{readUTF32(be32)}
	}
	if escapesCharsets(name) {
		return []unit{readISO2022}
	}
	return nil
}

// escapesCharsets reports whether text in this charset has escapes anywhere, also
// within what is ASCII.
func escapesCharsets(name string) bool { return strings.HasPrefix(name, "iso2022") }

// byteCharset returns the reader of a charset of single bytes, of which the
// lower half is ASCII.
func byteCharset(name string) unit {
	switch name {
	case "iso88591", "latin1", "l1", "cp819", "ibm819":
		return func(src *bufio.Reader) (rune, error) {
			c, err := src.ReadByte()
			return rune(c), err
		}
	case "windows1252", "cp1252":
		return func(src *bufio.Reader) (rune, error) {
			c, err := src.ReadByte()
			if c >= 0x80 && c < 0xa0 {
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
// that a receiver sees text which we do not. Python has charsets that are
// notations of text.
func opaqueCharset(name string) bool {
	switch name {
	case "charset*", "utf7", "u7", "utf7imap", "unicode11utf7", "unicode20utf7", "unicode7", "cp65000", "windows65000",
		"scsu", "bocu1", "utf1", "utf5", "hz", "hzgb", "hzgb2312", "utfebcdic",
		"unicodeescape", "rawunicodeescape", "punycode", "idna":
		return true
	}
	return strings.Contains(name, "ebcdic") || isEBCDIC(name)
}

// isEBCDIC recognises IBM's code pages that are no supersets of ASCII.
func isEBCDIC(name string) bool {
	for _, prefix := range []string{"ibm", "cp", "ccsid"} {
		number, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		switch strings.TrimLeft(number, "0") {
		case "37", "256", "259", "273", "274", "275", "277", "278", "280", "281", "284", "285", "290", "297", "420", "423", "424",
			"500", "803", "833", "836", "838", "thai", "870", "871", "875", "880", "905", "918", "924", "930", "931", "933", "935", "937", "939",
			"1025", "1026", "1027", "1047", "1069", "1097", "1112", "1122", "1123", "1130", "1132", "1137",
			"1140", "1141", "1142", "1143", "1144", "1145", "1146", "1147", "1148", "1149", "1153", "1154", "1155", "1156", "1157", "1158", "1160", "1164",
			"1364", "1371", "1388", "1390", "1399", "4971", "5123", "12712", "16684", "16804":
			return true
		}
	}
	return false
}
