package content_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/content"
)

// in16 writes text in UTF-16 without a mark.
func in16(text string, big bool) string {
	var b strings.Builder
	for _, c := range utf16.Encode([]rune(text)) {
		if big {
			c = c>>8 | c<<8
		}
		b.WriteByte(byte(c))
		b.WriteByte(byte(c >> 8))
	}
	return b.String()
}

// TestCharsetsInEverySpelling has the names by which browsers, Python, Java and ICU
// know charsets in which ASCII is not readable as it is.
func TestCharsetsInEverySpelling(t *testing.T) {
	e := string(eicar())
	for wire, names := range map[string][]string{
		in16(e, false): {"utf-16", "utf16", "UTF_16", "utf-16le", "UTF16LE", "utf_16_le", "csUTF16", "csUnicode", "unicodeFEFF", "u16", "UnicodeLittle", "x-UTF-16LE-BOM", "ucs2", "ISO-10646-UCS-2", "cp1200"},
		in16(e, true):  {"utf-16", "Unicode", "utf-16be", "utf16-be", "unicodeFFFE", "UnicodeBig", "ucs-2be", "cp1201"},
		"X5O!P\x1b(B" + e[5:20] + "\x1b$B\x1b(B" + e[20:]: {"iso-2022-jp", "csISO2022JP", "ISO2022KR", "iso_2022_cn"},
	} {
		for _, name := range names {
			u := unwrap(t, []byte(wire), labelled("text/plain; charset="+name), scan.ContentLimits{}, content.Config{})
			u.wantClean(t)
			if !u.has(eicar()) {
				t.Errorf("%s: the text is no object; objects %q", name, u.paths)
			}
		}
	}
	for _, name := range []string{
		"utf-7", "utf7", "UTF_7", "csUTF7", "u7", "x-utf-7", "unicode-1-1-utf-7", "cp65000", "IBM037", "cp037", "csIBM037", "ibm1140", "IBM01140", "CCSID1026", "cp273",
		"x-EBCDIC-KoreanExtended", "ebcdic-cp-us", "hz-gb-2312", "hz", "scsu", "unicode_escape", "raw-unicode-escape", "punycode",
	} {
		u := unwrap(t, []byte("text"), labelled("text/plain; charset="+name), scan.ContentLimits{}, content.Config{})
		u.wantVerdict(t, scan.OutcomeUnscannable, scan.CauseMalformedBody)
	}
	for _, name := range []string{"utf-8", "UTF8", "us-ascii", "iso-8859-15", "windows-1251", "koi8-r", "shift_jis", "gb18030", "euc-kr", "cp437", "ibm866", "binary", ""} {
		unwrap(t, []byte("text"), labelled("text/plain; charset="+name), scan.ContentLimits{}, content.Config{}).wantClean(t)
	}
}

// TestCharsetThatReadersFindElsewhere has labels of which readers take one charset
// or another.
func TestCharsetThatReadersFindElsewhere(t *testing.T) {
	e := in16(string(eicar()), false)
	for _, parameters := range []string{
		"; charset=utf-8; charset=utf-16le", "; charset=utf-16le; charset=utf-8", `; x="; charset=utf-8"; charset=utf-16le`, " charset=utf-16le",
		`; charset = "utf-16le"`, "; charset='utf-16le'", "; CharSet=utf-16le",
	} {
		u := unwrap(t, []byte(e), labelled("text/plain"+parameters), scan.ContentLimits{}, content.Config{})
		if !u.has(eicar()) {
			t.Errorf("%s: the text is no object; objects %q", parameters, u.paths)
		}
		u = unwrap(t, []byte(form(disposition+"\r\nContent-Type: text/plain"+parameters, e)), labelled("multipart/form-data; boundary=b"), scan.ContentLimits{}, content.Config{})
		if !u.has(eicar()) {
			t.Errorf("%s in a part: the text is no object; objects %q", parameters, u.paths)
		}
	}
	for _, parameters := range []string{"; charset*=utf-8''utf-16le", "; charset*0=utf-16; charset*1=le"} {
		for label, body := range map[string]string{
			"text/plain" + parameters: e, "multipart/form-data; boundary=b": form(disposition+"\r\nContent-Type: text/plain"+parameters, e),
		} {
			u := unwrap(t, []byte(body), labelled(label), scan.ContentLimits{}, content.Config{})
			u.wantVerdict(t, scan.OutcomeUnscannable, scan.CauseMalformedBody)
		}
	}
}

// TestFormInAWideCharset has values that are in the charset of the label once they
// are decoded.
func TestFormInAWideCharset(t *testing.T) {
	for name, wide := range map[string]string{"UTF-16LE": in16(string(eicar()), false), "utf-16be": in16(string(eicar()), true)} {
		var value strings.Builder
		for i := range len(wide) {
			fmt.Fprintf(&value, "%%%02x", wide[i])
		}
		u := unwrap(t, []byte("a=b&f="+value.String()), labelled("application/x-www-form-urlencoded; charset="+name), scan.ContentLimits{}, content.Config{})
		u.wantClean(t)
		if !u.has(eicar()) {
			t.Errorf("%s: the value is no object; objects %q", name, u.paths)
		}
	}
}
