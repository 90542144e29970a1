package content_test

import (
	"bytes"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/content"
)

// form returns a form with one part, whose header lines and content are given.
func form(header, data string) string {
	return lines("--b", header, "", data, "--b--", "")
}

const disposition = `Content-Disposition: form-data; name="f"; filename="a"`

// TestAmbiguousContentTypesAreRefused covers the choice and form of boundaries
// and media types.
func TestAmbiguousContentTypesAreRefused(t *testing.T) {
	body := []byte(form(disposition, "data"))
	for _, value := range []string{
		"multipart/form-data", "multipart/form-data;", "multipart/form-data; boundary", "multipart/form-data; boundary=",
		`multipart/form-data; boundary=""`, "multipart/form-data; boundary=b;", "multipart/form-data; boundary=b; ", "multipart/form-data; boundary =b",
		"multipart/form-data; boundary= b", "multipart/form-data; boundary=b; boundary=c", "multipart/form-data; boundary=c; Boundary=b",
		"multipart/form-data; boundary=b; boundary*=utf-8''c", "multipart/form-data; boundary*0=b", "multipart/form-data; boundary*=b",
		`multipart/form-data; boundary="b`, `multipart/form-data; boundary=b"`, `multipart/form-data; boundary="b"c`, `multipart/form-data; boundary="\b"`,
		"multipart/form-data; boundary='b'x,", "multipart/form-data; boundary=b x", "multipart/form-data boundary=b", "multipart/form-data;; boundary=b",
		"multipart/form-data; boundary=b;charset=utf-16", "multipart/form-data; boundary=b\x00", "multipart/form-data; boundary=b@", `multipart/form-data; boundary="b "`,
		"multipart/form-data; boundary=" + strings.Repeat("b", 71), "multipart/x-mixed-replace; boundary=b", "multipart/*; boundary=b", "multipart; boundary=b",
		"form-data; boundary=b", "multipart/form-data/x; boundary=b", " multipart /form-data; boundary=b", "text/plain multipart/form-data; boundary=b",
		"multipart/form-data; x=y; x=z; boundary=b", "multipart/form-data; boundary=b; filename*=utf-8''x", "multipart/form-data; boundary=b; ch\u00e4rset=utf-8",
	} {
		u := unwrap(t, body, labelled(value), scan.ContentLimits{}, content.Config{})
		if u.verdict.Outcome != scan.OutcomeUnscannable || !strings.HasPrefix(u.verdict.Detail, "multipart: ") {
			t.Errorf("%q: %s/%s %q, want a refusal that names the rule", value, u.verdict.Outcome, u.verdict.Cause, u.verdict.Detail)
		}
		if !u.has([]byte("data")) {
			t.Errorf("%q: the part is no object; objects %q", value, u.paths)
		}
	}
}

func TestSeveralContentTypesAreRefused(t *testing.T) {
	body := []byte(form(disposition, string(eicar())))
	for _, labels := range []scan.Labels{
		{ContentType: []string{"multipart/form-data; boundary=b", "multipart/form-data; boundary=b"}},
		{ContentType: []string{"text/plain", "multipart/form-data; boundary=b"}},
		{ContentType: []string{"text/plain", "text/html"}},
		{ContentType: []string{"multipart/form-data; boundary=b, text/plain"}},
		{ContentType: []string{"text/plain, multipart/form-data; boundary=b"}},
	} {
		u := unwrap(t, body, labels, scan.ContentLimits{}, content.Config{})
		u.wantVerdict(t, scan.OutcomeUnscannable, scan.CauseAmbiguousHeaders)
	}
}

// TestMalformedMultipartIsRefused has one row a class of difference between
// readers; every one carries the payload.
func TestMalformedMultipartIsRefused(t *testing.T) {
	e := string(eicar())
	good := form(disposition, e)
	rows := []struct{ name, body string }{
		// start and end
		{"preamble", "preamble\r\n" + good},
		{"two empty lines first", "\r\n\r\n" + good},
		{"bare LF first", "\n" + good},
		{"blank first", " " + good},
		{"epilogue", good + "epilogue"},
		{"two line ends after the end", good + "\r\n"},
		{"a form after the form", good + good},
		{"closing delimiter first", "--b--\r\n" + good},
		{"only a closing delimiter and text", "--b--\r\ntext"},
		{"no closing delimiter", strings.TrimSuffix(good, "--b--\r\n")},
		{"closing delimiter cut", strings.TrimSuffix(good, "-\r\n")},
		{"line end after the closing delimiter cut", strings.TrimSuffix(good, "\n")},
		{"no delimiter at all", e},
		// line ends
		{"bare LF everywhere", strings.ReplaceAll(good, "\r\n", "\n")},
		{"bare CR everywhere", strings.ReplaceAll(good, "\r\n", "\r")},
		{"bare LF before a delimiter", strings.Replace(good, "\r\n--b--", "\n--b--", 1)},
		{"bare LF after a delimiter", strings.Replace(good, "--b\r\n", "--b\n", 1)},
		{"CR CR LF after a delimiter", strings.Replace(good, "--b\r\n", "--b\r\r\n", 1)},
		{"bare LF in the header", strings.Replace(good, disposition, "X: y\n"+disposition, 1)},
		{"bare CR in the header", strings.Replace(good, disposition, "X: y\r"+disposition, 1)},
		{"header ended by bare LF", strings.Replace(good, disposition+"\r\n\r\n", disposition+"\n\n", 1)},
		// near-delimiters
		{"delimiter in the middle of a line", form(disposition, "x--b\r\n"+e)},
		{"delimiter with trailing letters", form(disposition, "x\r\n--bc\r\n"+e)},
		{"delimiter with trailing blanks", strings.Replace(good, "--b\r\n", "--b  \r\n", 1)},
		{"delimiter with extra dashes", form(disposition, "x\r\n----b\r\n"+e)},
		{"delimiter with one dash after", form(disposition, "x\r\n--b-\r\n"+e)},
		{"closing delimiter with trailing blanks", strings.Replace(good, "--b--\r\n", "--b-- \r\n", 1)},
		{"delimiter within a header", strings.Replace(good, disposition, disposition+"\r\nX: --b", 1)},
		{"two delimiters in a row", strings.Replace(good, "--b\r\n", "--b\r\n--b\r\n", 1)},
		// disposition
		{"no disposition", form("Content-Type: text/plain", e)},
		{"two dispositions", form(disposition+"\r\n"+disposition, e)},
		{"other disposition", form(`Content-Disposition: attachment; name="f"`, e)},
		{"disposition without a name", form(`Content-Disposition: form-data; filename="f"`, e)},
		{"two names", form(`Content-Disposition: form-data; name="f"; name="g"`, e)},
		{"two file names", form(`Content-Disposition: form-data; name="f"; filename="g"; filename="h"`, e)},
		{"two extended file names", form(`Content-Disposition: form-data; name="f"; filename*=utf-8''a; filename*=utf-8''b`, e)},
		{"file name in parts", form(`Content-Disposition: form-data; name="f"; filename*0="a"`, e)},
		{"extended name", form(`Content-Disposition: form-data; name*=utf-8''f`, e)},
		{"extended file name in latin1", form(`Content-Disposition: form-data; name="f"; filename*=iso-8859-1''a`, e)},
		{"empty name", form(`Content-Disposition: form-data; name=""`, e)},
		{"single quotes", form(`Content-Disposition: form-data; name='f'`, e)},
		{"unclosed quote", form(`Content-Disposition: form-data; name="f`, e)},
		{"backslash in a name", form(`Content-Disposition: form-data; name="a\b"`, e)},
		{"escaped closing quote", form(`Content-Disposition: form-data; name="a\"; filename="b"`, e)},
		{"NUL in a name", form("Content-Disposition: form-data; name=\"a\x00b\"", e)},
		{"tab in a name", form("Content-Disposition: form-data; name=\"a\tb\"", e)},
		{"comma after the name", form(`Content-Disposition: form-data; name="f", filename="g"`, e)},
		{"semicolon at the end", form(`Content-Disposition: form-data; name="f";`, e)},
		{"folded disposition", form("Content-Disposition: form-data;\r\n name=\"f\"", e)},
		{"_charset_ field", form(`Content-Disposition: form-data; name="_charset_"`, "utf-16")},
		// header syntax
		{"blank before the colon", form(`Content-Disposition : form-data; name="f"`, e)},
		{"no colon", form(disposition+"\r\nnonsense", e)},
		{"no name", form(disposition+"\r\n: x", e)},
		{"no empty line", "--b\r\n" + disposition + "\r\n--b--\r\n"},
		{"17 lines", form(disposition+strings.Repeat("\r\nX: y", 16), e)},
		{"many lines", form(disposition+manyLines(16), e)},
		{"header of 9 KiB", form(disposition+"\r\nX: "+strings.Repeat("y", 9<<10), e)},
		{"length beyond the part", form(disposition+"\r\nContent-Length: 600", e)},
		{"length that is none", form(disposition+"\r\nContent-Length: 6x", e)},
		{"duplicate header", form(disposition+"\r\nX: a\r\nx: b", e)},
		// transfer and content coding, charset
		{"unknown transfer encoding", form(disposition+"\r\nContent-Transfer-Encoding: uuencode", e)},
		{"transfer encoding with a comment", form(disposition+"\r\nContent-Transfer-Encoding: base64 (x)", e)},
		{"broken base64", form(disposition+"\r\nContent-Transfer-Encoding: base64", "WDVP*IVAl")},
		{"base64 without padding", form(disposition+"\r\nContent-Transfer-Encoding: base64", "WDVPIQ")},
		{"base64 after padding", form(disposition+"\r\nContent-Transfer-Encoding: base64", "WDVPIQ==WDVP")},
		{"broken quoted-printable", form(disposition+"\r\nContent-Transfer-Encoding: quoted-printable", "a=Zb")},
		{"quoted-printable with trailing blanks", form(disposition+"\r\nContent-Transfer-Encoding: quoted-printable", "a \r\nb")},
		{"unknown charset", form(disposition+"\r\nContent-Type: text/plain; charset=koi8-r", e)},
		// nesting
		{"nested form is malformed", form(disposition+"\r\nContent-Type: multipart/mixed; boundary=c", "--c\n\n"+e+"\n--c--")},
		{"nested form in base64", form(disposition+"\r\nContent-Type: multipart/mixed; boundary=c\r\nContent-Transfer-Encoding: base64", "WDVP")},
		{"nested form without a boundary", form(disposition+"\r\nContent-Type: multipart/mixed", e)},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			u := unwrap(t, []byte(row.body), labelled("multipart/form-data; boundary=b"), scan.ContentLimits{}, content.Config{})
			u.wantVerdict(t, scan.OutcomeUnscannable, scan.CauseMalformedBody)
			if !strings.HasPrefix(u.verdict.Detail, "multipart: ") {
				t.Errorf("detail %q does not name the rule", u.verdict.Detail)
			}
			u.wantPayload(t, row.body)
			u = unwrap(t, []byte(row.body), labelled("multipart/form-data; boundary=b"), scan.ContentLimits{LenientMultipart: true}, content.Config{})
			u.wantClean(t)
			u.wantPayload(t, row.body)
		})
	}
}

// TestReaderWhoSearchesForTheBoundary has types of which a reader that searches for
// the word, or that cuts at every semicolon, takes another boundary: PHP, Rack,
// formidable, aiohttp, Tornado, Commons FileUpload.
func TestReaderWhoSearchesForTheBoundary(t *testing.T) {
	e := string(eicar())
	for value, boundary := range map[string]string{
		`xboundary=c; boundary=b`:          "c",
		`boundary=b; xboundary=c`:          "c",
		`x="boundary=c"; boundary=b`:       "c",
		`boundary=b; x="boundary=c"`:       "c",
		`x="; boundary=c;"; boundary=b`:    "c",
		`x="boundary*0=c"; boundary=b`:     "c",
		`x="boundary =c"; boundary=b`:      "c",
		`Boundary=b; x=boundary; y=c`:      "c",
		`BOUNDARY=b; xboundary; charset=c`: "c",
		`boundary="=?utf-8?q?c?="`:         "c",
	} {
		outer := "b"
		if strings.Contains(value, "?q?") {
			outer = "=?utf-8?q?c?="
		}
		inner := lines("text", "--"+boundary, disposition, "", e, "--"+boundary+"--", "")
		body := lines("--"+outer, disposition, "", inner, "--"+outer+"--", "")
		for _, lenient := range []bool{false, true} {
			u := unwrap(t, []byte(body), labelled("multipart/form-data; "+value), scan.ContentLimits{LenientMultipart: lenient}, content.Config{})
			if !lenient && u.verdict.Outcome != scan.OutcomeUnscannable || !u.has(eicar()) {
				t.Errorf("%s, lenient %v: %+v, objects %q", value, lenient, u.verdict, u.paths)
			}
		}
	}
	for _, value := range []string{
		"boundary=----WebKitFormBoundaryx; charset=utf-8", "boundary=alamofire.boundary.1f2e; charset=utf-8", "Boundary=Boundary+AB12",
		`type="text/boundary"; boundary=boundary`, `boundary="=?x"`,
	} {
		b := strings.Trim(strings.Split(value[strings.Index(strings.ToLower(value), "boundary=")+9:], ";")[0], `"`)
		body := lines("--"+b, disposition, "", e, "--"+b+"--", "")
		u := unwrap(t, []byte(body), labelled("multipart/form-data; "+value), scan.ContentLimits{}, content.Config{})
		u.wantClean(t)
		u.wantObject(t, "body/part[0]", eicar())
	}
}

// TestReaderWhoGoesByTheLengthOfAPart has parts that are longer than their headers
// say: Firefox and aiohttp leave the rest out.
func TestReaderWhoGoesByTheLengthOfAPart(t *testing.T) {
	body := form("X: y\r\nContent-Length: 68", string(eicar())+"\r\ntail")
	u := unwrap(t, []byte(body), labelled("multipart/mixed; boundary=b"), scan.ContentLimits{}, content.Config{})
	u.wantClean(t)
	u.wantObject(t, "body/part[0]", append(eicar(), "\r\ntail"...))
	u.wantObject(t, "body/part[0][:length]", eicar())
	u = unwrap(t, []byte("x\n"+body), labelled("multipart/mixed; boundary=b"), scan.ContentLimits{LenientMultipart: true}, content.Config{})
	if !u.has(eicar()) {
		t.Errorf("read leniently: objects %q", u.paths)
	}
}

// wantPayload asserts that the payload is an object of its own if it stands in
// the body in one piece.
func (u unwrapped) wantPayload(t *testing.T, body string) {
	t.Helper()
	if body != string(eicar()) && strings.Contains(body, string(eicar())) && !u.has(eicar()) {
		t.Errorf("the payload is no object; objects %q", u.paths)
	}
}

func manyLines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "\r\nX-%d: y", i)
	}
	return b.String()
}

func TestRulesHoldForEveryPart(t *testing.T) {
	bad := lines("--b", "Content-Disposition: form-data", "", string(eicar()))
	good := lines("--b", disposition, "", "good")
	for _, body := range []string{
		lines(bad, good, good, "--b--"), lines(good, bad, good, "--b--"), lines(good, good, bad, "--b--"),
	} {
		u := unwrap(t, []byte(body), labelled("multipart/form-data; boundary=b"), scan.ContentLimits{}, content.Config{})
		u.wantVerdict(t, scan.OutcomeUnscannable, scan.CauseMalformedBody)
		if !u.has(eicar()) {
			t.Errorf("the part that broke the rule was not reported")
		}
	}
}

// TestReaderWhoEndsTheBoundaryEarly has boundaries of which a lax reader takes
// a part only.
func TestReaderWhoEndsTheBoundaryEarly(t *testing.T) {
	for boundary, inner := range map[string]string{"x y": "--x", "x,y": "--x", "x=y": "\r\n--x", "x:y": "\r\n--x--"} {
		body := lines("--"+boundary, disposition, "", "a\r\n"+inner, string(eicar()), "--"+boundary+"--")
		u := unwrap(t, []byte(body), labelled(`multipart/form-data; boundary="`+boundary+`"`), scan.ContentLimits{}, content.Config{})
		if u.verdict.Outcome != scan.OutcomeUnscannable {
			t.Errorf("boundary %q: %+v", boundary, u.verdict)
		}
	}
}

func TestUndeclaredMultipartIsSplit(t *testing.T) {
	for _, label := range []string{"", "application/json", "text/plain; charset=utf-8", "nonsense"} {
		u := unwrap(t, []byte(form(disposition, string(eicar()))), labelled(label), scan.ContentLimits{}, content.Config{})
		u.wantClean(t)
		u.wantObject(t, "body/part[0]", eicar())
	}
}

// TestUndeclaredMultipartIsNoReasonToRefuse has text that begins like a form.
func TestUndeclaredMultipartIsNoReasonToRefuse(t *testing.T) {
	unwrap(t, []byte("---\ncontent-type: page\ntitle: x\n---\n\nText.\n"), labelled("text/markdown"), scan.ContentLimits{}, content.Config{}).wantClean(t)
	u := unwrap(t, []byte(strings.ReplaceAll(form(disposition, string(eicar())), "\r\n", "\n")), labelled("text/plain"), scan.ContentLimits{}, content.Config{})
	u.wantClean(t)
	if !u.has(eicar()) {
		t.Errorf("the part is no object; objects %q", u.paths)
	}
}

// TestLabelCountsBesideWhatLooksLikeAForm has a body that begins like a form and is
// something else to those who go by its label.
func TestLabelCountsBesideWhatLooksLikeAForm(t *testing.T) {
	body := form(`Content-Disposition: form-data; name="x"`, "a&f="+url.QueryEscape(string(eicar()))+"&z=1")
	u := unwrap(t, []byte(body), labelled("application/x-www-form-urlencoded"), scan.ContentLimits{}, content.Config{})
	u.wantClean(t)
	if !u.has(eicar()) {
		t.Errorf("the value is no object; objects %q", u.paths)
	}
	unwrap(t, []byte(body), labelled("text/plain; charset=utf-7"), scan.ContentLimits{}, content.Config{}).
		wantVerdict(t, scan.OutcomeUnscannable, scan.CauseMalformedBody)
}

func TestByteRangesArePartialContent(t *testing.T) {
	body := lines("--b", "Content-Range: bytes 0-67/100", "", string(eicar()), "--b--")
	u := unwrap(t, []byte(body), labelled("multipart/byteranges; boundary=b"), scan.ContentLimits{}, content.Config{})
	u.wantVerdict(t, scan.OutcomeUnscannable, scan.CausePartialContent)
	u.wantObject(t, "body/part[0]", eicar())
}

func TestNestingOfMultipart(t *testing.T) {
	nest := func(levels int) []byte {
		body := string(eicar())
		for i := levels; i > 0; i-- {
			h := "X: y"
			if i < levels {
				h = fmt.Sprintf("Content-Type: multipart/mixed; boundary=n%d", i+1)
			}
			body = lines(fmt.Sprintf("--n%d", i), h, "", body, fmt.Sprintf("--n%d--", i))
		}
		return []byte(body)
	}
	u := unwrap(t, nest(3), labelled("multipart/mixed; boundary=n1"), scan.ContentLimits{}, content.Config{})
	u.wantClean(t)
	u.wantObject(t, "body/part[0]/part[0]/part[0]", eicar())
	unwrap(t, nest(4), labelled("multipart/mixed; boundary=n1"), scan.ContentLimits{}, content.Config{}).
		wantVerdict(t, scan.OutcomeUnscannable, scan.CauseTooDeep)
}

func TestVolume(t *testing.T) {
	parts := func(n int) []byte {
		var b bytes.Buffer
		for i := range n {
			fmt.Fprintf(&b, "--b\r\n%s\r\n\r\npart %d\r\n", disposition, i)
		}
		b.WriteString("--b--\r\n")
		return b.Bytes()
	}
	u := unwrap(t, parts(1000), labelled("multipart/form-data; boundary=b"), scan.ContentLimits{}, content.Config{})
	u.wantClean(t)
	if len(u.paths) != 1000 {
		t.Errorf("%d objects of 1000", len(u.paths))
	}
	unwrap(t, parts(1000), labelled("multipart/form-data; boundary=b"), scan.ContentLimits{MaxObjects: 1001}, content.Config{}).wantClean(t)
	unwrap(t, parts(1000), labelled("multipart/form-data; boundary=b"), scan.ContentLimits{MaxObjects: 1000}, content.Config{}).
		wantVerdict(t, scan.OutcomeUnscannable, scan.CauseTooManyObjects)
	for _, n := range []int{1001, 100000} {
		start := time.Now()
		u = unwrap(t, parts(n), labelled("multipart/form-data; boundary=b"), scan.ContentLimits{}, content.Config{})
		u.wantVerdict(t, scan.OutcomeUnscannable, scan.CauseTooManyObjects)
		if d := time.Since(start); d > 20*time.Second {
			t.Errorf("%d parts took %v", n, d)
		}
	}
}

// TestLinearTime feeds what makes naive searches quadratic. The aim is 200 ms a
// MiB, which a benchmark measures; here the race detector, which takes twelve times
// as long, and a busy machine get 10 s, while anything quadratic takes hours.
func TestLinearTime(t *testing.T) {
	const size = 2 << 20
	long := strings.Repeat("-", 69) + "x"
	rows := []struct{ name, contentType, fill string }{
		{"dashes", "multipart/form-data; boundary=" + long, "-"},
		{"near-boundaries", "multipart/form-data; boundary=" + long, strings.Repeat("-", 70) + "y"},
		{"line ends", "multipart/form-data; boundary=" + long, "\r\n--"},
		{"near lines", `multipart/form-data; boundary="` + strings.Repeat("-", 60) + `=x"`, "\r\n" + strings.Repeat("-", 63)},
		{"header lines", "multipart/form-data; boundary=b", "X: y\r\n"},
		{"parameters", "multipart/form-data; boundary=b", `; a="b"`},
	}
	for _, row := range rows {
		body := lines("--"+strings.Trim(strings.TrimPrefix(row.contentType, "multipart/form-data; boundary="), `"`), disposition, "", strings.Repeat(row.fill, size/len(row.fill)))
		start := time.Now()
		unwrap(t, []byte(body), labelled(row.contentType), scan.ContentLimits{}, content.Config{})
		if d := time.Since(start); d > size>>20*10*time.Second {
			t.Errorf("%s: %v for %d MiB", row.name, d, size>>20)
		}
	}
}
