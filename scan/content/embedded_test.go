package content_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/content"
)

// wrapped returns base64 in lines of n characters.
func wrapped(data []byte, n int, end string) string {
	s := b64(data)
	var b strings.Builder
	for len(s) > n {
		b.WriteString(s[:n] + end)
		s = s[n:]
	}
	return b.String() + s + end
}

// numbers writes bytes one by one; signed as Java has them.
func numbers(data []byte, first, between, last string, signed bool) string {
	words := make([]string, len(data))
	for i, c := range data {
		words[i] = fmt.Sprint(c)
		if signed {
			words[i] = fmt.Sprint(int8(c))
		}
	}
	return first + strings.Join(words, between) + last
}

// typed is what JSON.stringify makes of a Uint8Array.
func typed(data []byte) string {
	words := make([]string, len(data))
	for i, c := range data {
		words[i] = fmt.Sprintf(`"%d":%d`, i, c)
	}
	return "{" + strings.Join(words, ",") + "}"
}

// uneven is base64 in lines of 50 to 76 characters.
func uneven(data []byte) string {
	s := b64(data)
	var b strings.Builder
	for i := 0; len(s) > 76; i++ {
		k := 50 + i*7%27
		b.WriteString(s[:k] + "\n")
		s = s[k:]
	}
	return b.String() + s
}

// hexLines is what xxd -p writes.
func hexLines(data []byte) string {
	var b strings.Builder
	for ; len(data) > 0; data = data[min(30, len(data)):] {
		fmt.Fprintf(&b, "%x\n", data[:min(30, len(data))])
	}
	return b.String()
}

func TestFilesInTextAreFound(t *testing.T) {
	e := eicar()
	big := noise(5000, 7)
	references := strings.NewReplacer("W", "&#x57;", "V", "&#86;", "=", "&#061;").Replace(b64(e))
	form := url.Values{"name": {"x"}, "file": {b64(big)}}.Encode()
	small := append([]byte("MZ"), noise(90, 9)...)
	rows := []struct {
		name, label, body string
		want              []byte
	}{
		{"XML element", "application/xml", `<a><f>` + b64(e) + `</f></a>`, e},
		{"XML without a label", "", `<?xml version="1.0"?><a><f>` + b64(e) + `</f></a>`, e},
		{"XML with character references", "text/xml", `<f>` + references + `</f>`, e},
		{"XML in CDATA", "text/xml", `<f><![CDATA[` + b64(e) + `]]></f>`, e},
		{"XML joined over comments and CDATA", "text/xml", `<f>` + b64(e)[:10] + `<!-- a > b -->` + b64(e)[10:30] + `<![CDATA[` + b64(e)[30:50] + `]]>` + b64(e)[50:] + `</f>`, e},
		{"XML with an instruction inside", "text/xml", `<f>` + b64(e)[:10] + `<?p x>y?>` + b64(e)[10:] + `</f>`, e},
		{"XML attribute", "image/svg+xml", `<svg><image href="data:image/png;base64,` + b64(e) + `"/></svg>`, e},
		{"XML attribute in single quotes", "image/svg+xml", `<svg><image href='data:image/png;base64,` + b64(e) + `' x=">"/></svg>`, e},
		{"XML with a DOCTYPE", "image/svg+xml", `<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd"><svg>` + b64(e) + `</svg>`, e},
		{"SOAP with line breaks", `application/soap+xml; charset=utf-8`, "<s:Envelope><s:Body><f>\n" + wrapped(e, 20, "\n") + "</f></s:Body></s:Envelope>", e},
		{"XML text that is a file", "text/xml", `<f><![CDATA[<?xml version="1.0"?><job>` + strings.Repeat("x", 60) + `</job>]]></f>`, []byte(`<?xml version="1.0"?><job>` + strings.Repeat("x", 60) + `</job>`)},
		{"XML larger than a block", "text/xml", `<f>` + strings.Repeat("<g>text, </g>", 20_000) + b64(big) + `</f>`, big},
		{"form, base64", "application/x-www-form-urlencoded", form, big},
		{"form, plus signs not escaped", "application/x-www-form-urlencoded; charset=UTF-8", "a=b&f=" + b64(big), big},
		{"form, clear text", "application/x-www-form-urlencoded", "f=" + url.QueryEscape(string(e)) + "&g=1", e},
		{"form, an odd label", ";application/X-WWW-Form-URLEncoded", "f=" + url.QueryEscape(string(e)) + "&g=1", e},
		{"form, no label", "", "f=" + url.QueryEscape(string(e)) + "&g=1", e},
		{"form, no label, odd text", "", "a b\n=c&f=" + url.QueryEscape(string(e)) + "&g=1", e},
		{"form, as a name", "application/x-www-form-urlencoded", url.QueryEscape(b64(e)), e},
		{"form, broken escapes", "application/x-www-form-urlencoded", "x=%zz%4&f=" + b64(e) + "&y=%", e},
		{"a field of base64", "text/plain", b64(e), e},
		{"a file of base64 in lines", "", wrapped(e, 60, "\r\n"), e},
		{"data URI in HTML", "text/html", `<!DOCTYPE html><img src="data:image/png;base64,` + b64(big) + `">`, big},
		{"literal in a script", "text/javascript", "var s = atob('" + strings.ReplaceAll(b64(big), "/", `\/`) + "');", big},
		{"literal in a script of one line", "text/javascript", strings.Repeat("function f(){return 1};", 100) + "x='" + b64(big) + "'", big},
		{"PEM", "application/x-pem-file", "-----BEGIN X-----\n" + wrapped(big, 64, "\n") + "-----END X-----\n", big},
		{"PEM after text", "", "Here it is, as you wished:\n\n" + wrapped(big, 76, "\r\n") + "\r\nBest regards,\r\n", big},
		{"hexadecimal", "text/plain", "x = " + hex.EncodeToString(big), big},
		{"HTML in Latin-1", "text/html", "<!doctype html><title>Stra\xdfe</title><a href=\"data:;base64," + b64(big) + "\">", big},
		{"HTML in Latin-1 without a label", "", "<!doctype html><title>Stra\xdfe</title><a href=\"data:;base64," + b64(big) + "\">", big},
		{"HTML with NUL", "", "\f<!doctype html><title>\x00</title><a href=\"data:;base64," + b64(big) + "\">", big},
		{"script with a control character", "text/javascript", "// \x01\natob('" + b64(big) + "')", big},
		{"base64 in lines of 20", "text/plain", "hello,\n\n" + wrapped(big, 20, "\n") + "\nregards\n", big},
		{"PEM in uneven lines", "", "-----BEGIN CERTIFICATE-----\n" + uneven(big) + "\n-----END CERTIFICATE-----\n", big},
		{"LDIF", "text/plain", "dn: x\njpegPhoto:: " + strings.TrimSuffix(wrapped(big, 70, "\n "), " ") + "\ncn: y\n", big},
		{"vCard", "text/vcard", "BEGIN:VCARD\r\nPHOTO;ENCODING=b;TYPE=JPEG:" + wrapped(big, 74, "\r\n ") + "\r\nEND:VCARD\r\n", big},
		{"data URI over lines", "text/html", "<!doctype html>" + strings.Repeat("<p>some words</p>\n", 50) + "<a href=\"data:;base64," + strings.TrimSuffix(wrapped(big, 76, "\n\t"), "\n\t") + "\">x</a>", big},
		{"PEM after text in Shift JIS", "", "\x83e\x83X\n" + wrapped(big, 64, "\n"), big},
		{"PEM labelled XML", "text/xml", "hello\n" + wrapped(big, 64, "\n"), big},
		{"PEM labelled JSON", "application/json", "hello\n" + wrapped(big, 64, "\n"), big},
		{"page labelled a form", "application/x-www-form-urlencoded", "<!doctype html>\n<a href=\"data:;base64," + b64(big) + "\">", big},
		{"script in SVG", "image/svg+xml", "<svg xmlns='x'><script>atob('" + b64(big) + "')</script></svg>", big},
		{"page in JSON", "application/json", `{"html":"<p><a href=\"data:;base64,` + b64(big) + `\">x</a>"}`, big},
		{"script in JSON", "application/json", `{"js":"x=atob('` + b64(big) + `')"}`, big},
		{"JSON without quotes", "application/json", `{f:` + base64.RawURLEncoding.EncodeToString(big) + `}`, big},
		{"XML with references of many zeros", "text/xml", "<f>&#x" + strings.Repeat("0", 300) + "57;&#" + strings.Repeat("0", 30) + "68;" + b64(e)[2:] + "</f>", e},
		{"XML, hexBinary", "text/xml", "<f>" + strings.ToUpper(hex.EncodeToString(big)) + "</f>", big},
		{"XML, hexBinary of a small program", "text/xml", "<f>" + hex.EncodeToString(small) + "</f>", small},
		{"JSON, hexadecimal", "application/json", `{"f":"` + hex.EncodeToString(big) + `"}`, big},
		{"JSON, bytea", "application/json", `{"f":"\\x` + hex.EncodeToString(big) + `"}`, big},
		{"JSON, hexadecimal with dashes", "application/json", `{"f":"0X` + strings.TrimSuffix(strings.ReplaceAll(fmt.Sprintf("% X ", big), " ", "-"), "-") + `"}`, big},
		{"hexadecimal in lines", "text/plain", hexLines(big), big},
		{"hexadecimal in lines among others", "text/plain", "Dear all,\n\n" + hexLines(big) + "\nregards\n", big},
		{"JSON, bytes", "application/json", `{"type":"Buffer","data":` + numbers(e, "[", ",", "]", false) + `}`, e},
		{"JSON, bytes in lines", "application/json", numbers(big, "[\n", ",\n  ", "\n]", false), big},
		{"JSON, signed bytes", "application/json", `{"n":[1,2,3],"f":` + numbers(small, "[ ", " , ", " ]", true) + `,"g":[256]}`, small},
		{"JSON, typed array", "application/json", `{"f":` + typed(big) + `}`, big},
		{"JSON with single quotes", "application/json", `{'f':'` + b64(e) + `'}`, e},
		{"JSON with comments", "application/json", "{ // don\"t\n \"f\":\"" + b64(e) + "\"}", e},
		{"UTF-16 XML without a mark", "application/xml", strings.Join(strings.Split(`<?xml version="1.0"?><f>`+b64(e)+`</f>`, ""), "\x00") + "\x00", e},
		{"UTF-32 JSON without a mark", "application/json", "\x00\x00\x00" + strings.Join(strings.Split(`{"f":"`+b64(e)+`"}`, ""), "\x00\x00\x00"), e},
		{"UTF-16 XML", "application/xml", "\xfe\xff\x00" + strings.Join(strings.Split(`<?xml version="1.0"?><f>`+b64(e)+`</f>`, ""), "\x00"), e},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			u := unwrap(t, []byte(row.body), labelled(row.label), scan.ContentLimits{}, content.Config{})
			u.wantClean(t)
			if !u.has(row.want) {
				t.Errorf("the file is no object; objects %q", u.paths)
			}
		})
	}
}

func TestEntityDeclarationsAreRefused(t *testing.T) {
	for _, body := range []string{
		`<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "` + b64(eicar()) + `">]><a>&b;</a>`,
		`<!DOCTYPE a [ <!ELEMENT a ANY> <!entity % b SYSTEM "x"> ]><a/>`,
		`<!DOCTYPE a [<!ENTITY u "http://x"><!ENTITY b "WDVP">]><a>&b;</a>`,
	} {
		u := unwrap(t, []byte(body), labelled("application/xml"), scan.ContentLimits{}, content.Config{})
		u.wantVerdict(t, scan.OutcomeUnscannable, scan.CauseMalformedBody)
	}
}

func TestHarmlessDeclarationsAreAccepted(t *testing.T) {
	svg := `<?xml version="1.0"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd" [
	<!ENTITY ns_svg "http://www.w3.org/2000/svg">
	<!ENTITY ns_xlink "http://www.w3.org/1999/xlink">]><svg xmlns="&ns_svg;">` + b64(eicar()) + `</svg>`
	u := unwrap(t, []byte(svg), labelled("image/svg+xml"), scan.ContentLimits{}, content.Config{})
	u.wantClean(t)
	if !u.has(eicar()) {
		t.Errorf("objects %q", u.paths)
	}
	schema := `<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><a/>`
	unwrap(t, plainZip(member{name: "a.xml", data: []byte(schema)}), labelled(""), scan.ContentLimits{}, content.Config{}).wantClean(t)
}

func TestOrdinaryTextHasNoObjects(t *testing.T) {
	long := strings.Repeat("Some sentences, as they stand in every log file. INFO 2026-11-22T10:00:00Z request done\n", 500)
	rows := map[string]string{
		"text/plain":                        long,
		"text/html":                         "<html><p>" + long + "</p></html>",
		"text/x-words":                      "Words, one a line:\n\n" + strings.Repeat("extraordinarily\nincomprehensibilities\ncounterrevolutionaries\n", 100),
		"text/css":                          strings.Repeat("a.b-c{color:#fff;margin:0 auto}", 300),
		"application/xml":                   "<a>" + strings.Repeat("<b c='d'>some words, and more</b>", 300) + "</a>",
		"application/x-www-form-urlencoded": "name=Some+One&address=" + url.QueryEscape("1, Some Street") + "&token=" + strings.Repeat("a1", 20),
		"application/json":                  `{"n":[` + strings.Repeat("1,2,300,", 200) + `0],"m":[` + strings.Repeat("1,2.5,", 200) + `0],"k":{"a":1,"b":2},"s":"` + strings.Repeat("0123456789abcdef", 60) + `"}`,
		"text/csv":                          strings.Repeat("1,2026-11-22,some text,3.14\n", 500),
	}
	for label, body := range rows {
		u := unwrap(t, []byte(body), labelled(label), scan.ContentLimits{}, content.Config{})
		u.wantClean(t)
		if len(u.paths) != 0 {
			t.Errorf("%s: objects %q", label, u.paths)
		}
	}
}

func TestOpaqueCharsetsAreRefused(t *testing.T) {
	for _, c := range []string{"utf-7", "UTF-7", "IBM037", "cp037", "ebcdic-us"} {
		u := unwrap(t, eicar(), labelled("text/plain; charset="+c), scan.ContentLimits{}, content.Config{})
		u.wantVerdict(t, scan.OutcomeUnscannable, scan.CauseMalformedBody)
	}
	for _, c := range []string{"iso-8859-1", "windows-1252", "shift_jis", "utf-8"} {
		unwrap(t, eicar(), labelled("text/plain; charset="+c), scan.ContentLimits{}, content.Config{}).wantClean(t)
	}
}

// FuzzText asserts that no text leads to an error, and that what the standard
// library reads in the elements of XML is found.
func FuzzText(f *testing.F) {
	f.Add("text/xml", []byte(`<f>`+b64(noise(1200, 3))+`</f>`))
	f.Add("application/xml", []byte(`<f a="&#x41;">&lt;<![CDATA[]]]]><!-- --><?x?></f>`))
	f.Add("application/x-www-form-urlencoded", []byte("a=%41+b&c="+b64(eicar())))
	f.Add("text/plain", []byte(wrapped(noise(1200, 3), 64, "\n")))
	f.Fuzz(func(t *testing.T, label string, body []byte) {
		u := unwrap(t, body, labelled(label), scan.ContentLimits{MaxExpandedBytes: 16 << 20}, content.Config{})
		if u.verdict.Outcome == scan.OutcomeError {
			t.Fatalf("content led to an ERROR: %+v", u.verdict)
		}
		if label != "text/xml" || u.verdict.Outcome != scan.OutcomeClean || bytes.IndexByte(body, '\r') >= 0 {
			return
		}
		var v struct {
			Text string `xml:",chardata"`
		}
		if xml.Unmarshal(body, &v) != nil || bytes.Count(body, []byte("<")) != 2 {
			return
		}
		raw, err := base64.StdEncoding.DecodeString(v.Text)
		if err == nil && len(raw) >= 1<<10 && !u.has(raw) {
			t.Fatalf("base64 text of %d bytes is no object; objects %q", len(raw), u.paths)
		}
	})
}
