package content_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/content"
)

// uu encodes data as uuencode does.
func uu(data []byte) string {
	var b strings.Builder
	b.WriteString("begin 644 a.com\n")
	for len(data) > 0 {
		line := data[:min(45, len(data))]
		data = data[len(line):]
		b.WriteByte(byte(len(line)) + ' ')
		for len(line) > 0 {
			var g [3]byte
			line = line[copy(g[:], line):]
			for _, v := range []byte{g[0] >> 2, g[0]<<4 | g[1]>>4, g[1]<<2 | g[2]>>6, g[2]} {
				b.WriteByte(v&0x3f + ' ')
			}
		}
		b.WriteByte('\n')
	}
	return b.String() + " \nend\n"
}

func TestEveryReadingOfABoundaryIsTried(t *testing.T) {
	for value, boundary := range map[string]string{
		`multipart/form-data; boundary=x; boundary=y`:          "y",
		`multipart/form-data; boundary="x y"; a=b`:             "x",
		`multipart/form-data; boundary=x,y`:                    "x",
		`multipart/form-data; boundary*=utf-8''x%79`:           "xy",
		`multipart/form-data; boundary*0=x; boundary*1=y`:      "xy",
		`multipart/form-data; boundary="x\y"`:                  "xy",
		`multipart/form-data; boundary='x'`:                    "x",
		`multipart/form-data; boundary=x=y`:                    "x",
		"multipart/form-data; b\toundary=xy":                   "xy",
		`multipart/form-data; boundary = x`:                    "x",
		`text/plain; boundary=z, multipart/mixed; BOUNDARY=xy`: "xy",
	} {
		body := "leading text\r\n" + lines("--"+boundary, disposition, "", string(eicar()), "--"+boundary+"--", "")
		u := unwrap(t, []byte(body), labelled(value), scan.ContentLimits{}, content.Config{})
		if u.verdict.Outcome != scan.OutcomeUnscannable || !u.has(eicar()) {
			t.Errorf("%s: %+v, objects %q", value, u.verdict, u.paths)
		}
	}
}

func TestLenientReadingFindsOddEncodings(t *testing.T) {
	e := eicar()
	wide := "\xff\xfe" + strings.Join(strings.Split(string(e), ""), "\x00") + "\x00"
	for name, body := range map[string]string{
		"base64 in odd spelling":       form(disposition+"\r\ncontent-transfer-ENCODING :\t BASE64 ", b64(e)),
		"base64 with foreign bytes":    form(disposition+"\r\nContent-Transfer-Encoding: base64", strings.ReplaceAll(b64(e), "V", "!*V")),
		"a folded encoding":            form(disposition+"\r\n Content-Transfer-Encoding: quoted-printable", "=58"+string(e[1:])),
		"a line end more":              "--b\r\n\r\n" + disposition + "\r\nX: y\r\r\n" + string(e) + "\r\n--b--\r\n",
		"base64 with text behind it":   form(disposition+"\r\nContent-Transfer-Encoding: base64", wrapped(e[:66], 20, "\r\n")+"\r\n------We\r\nContent-Type: x"),
		"quoted-printable":             form(disposition+"\r\nContent-Transfer-Encoding: quoted-printable", "=58"+strings.ReplaceAll(string(e[1:]), "=", "=3D")),
		"uuencode":                     form(disposition+"\r\nContent-Transfer-Encoding: x-uuencode", uu(e)),
		"compressed part":              form(disposition+"\r\nContent-Encoding: gzip\r\nX: \x01", string(gz(t, e))),
		"UTF-16":                       strings.ReplaceAll(form(disposition, wide), "\r\n--b", "\n--b"),
		"nested, both malformed":       form("Content-Type: multipart/mixed; boundary=c", "--c\n"+disposition+"\n\n"+string(e)+"\n--c--"),
		"payload with a pseudo border": form(disposition, string(e)) + "--b\r\n" + disposition + "\r\n\r\nx --b y\r\n--b--",
	} {
		u := unwrap(t, []byte(body), labelled("multipart/form-data; boundary=b"), scan.ContentLimits{LenientMultipart: true}, content.Config{})
		u.wantClean(t)
		if !u.has(e) && !u.has(e[:66]) { // in base64 without padding
			t.Errorf("%s: the payload is no object; objects %q", name, u.paths)
		}
	}
}

func TestLenientReadingIsReported(t *testing.T) {
	u := unwrap(t, []byte("x\r\n"+form(disposition, "data")), labelled("multipart/form-data; boundary=b"), scan.ContentLimits{LenientMultipart: true}, content.Config{})
	u.wantClean(t)
	if !strings.Contains(u.verdict.Detail, "ambiguous") || u.verdict.Object != "body" {
		t.Errorf("detail %q of %q", u.verdict.Detail, u.verdict.Object)
	}
	u = unwrap(t, []byte(form(disposition, "data")), labelled("multipart/form-data; boundary=b"), scan.ContentLimits{LenientMultipart: true}, content.Config{})
	if u.verdict.Detail != "" || len(u.paths) != 1 {
		t.Errorf("a well-formed body: detail %q, objects %q", u.verdict.Detail, u.paths)
	}
}

func TestLenientReadingHasBounds(t *testing.T) {
	var many, types bytes.Buffer
	for i := range 3000 {
		fmt.Fprintf(&many, "--b\n\nx%d\n", i)
		if i < 50 {
			fmt.Fprintf(&types, "; boundary=b%d", i)
		}
	}
	for label, body := range map[string][]byte{"multipart/form-data; boundary=b": many.Bytes(), "multipart/form-data" + types.String(): []byte(form(disposition, "x"))} {
		u := unwrap(t, body, labelled(label), scan.ContentLimits{LenientMultipart: true}, content.Config{})
		if u.verdict.Outcome != scan.OutcomeUnscannable {
			t.Errorf("%.60s: %+v with %d objects", label, u.verdict, len(u.paths))
		}
	}
}

// TestOverlappingReadingsAreBounded nests lenient readings, of which each has
// several of the same bytes.
func TestOverlappingReadingsAreBounded(t *testing.T) {
	body := string(noise(50_000, 1))
	for i := range 9 {
		body = fmt.Sprintf("Content-Type: multipart/mixed; boundary=n%d\n\n--n%d\r\nX: y\n\n\r\n\r\n--n%d\n%s\n--n%d--\n\r", i, i, i, body, i)
	}
	start := time.Now()
	u := unwrap(t, []byte("MIME-Version: 1.0\n"+body), labelled("message/rfc822"), scan.ContentLimits{}, content.Config{})
	var total int
	for _, o := range u.objects {
		total += len(o)
	}
	if total > 64*(len(body)+20) {
		t.Errorf("%d bytes in %d objects of a body of %d", total, len(u.paths), len(body))
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("took %v", d)
	}
}

func TestMailIsTakenApart(t *testing.T) {
	e := eicar()
	mixed := "This is a multi-part message in MIME format.\n\n--b\nContent-Type: text/plain\n\nHello\n--b\nContent-Type: application/octet-stream;\n name=\"a.com\"\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment; filename=\"a.com\"\n\n" + wrapped(e, 20, "\n") + "\n--b--\n"
	rows := map[string]string{
		"attachment":         "Received: from x\nFrom: a@example.net\nMIME-Version: 1.0\nContent-Type: multipart/mixed;\n\tboundary=\"b\"\n\n" + mixed,
		"with CRLF":          strings.ReplaceAll("From: a@example.net\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n"+mixed, "\n", "\r\n"),
		"in a mailbox":       "From a@example.net Sun Nov 22 14:00:00 2026\nSubject: x\nContent-Type: multipart/mixed; boundary=b\n\n" + mixed,
		"without parts":      "Subject: x\nMIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\n" + wrapped(e, 20, "\n"),
		"quoted-printable":   "Subject: x\nContent-Transfer-Encoding: quoted-printable\n\n=58" + string(e[1:]),
		"mail inside a mail": "Subject: x\nContent-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: message/rfc822\n\nSubject: y\nContent-Type: multipart/mixed; boundary=b\n\n" + mixed + "\n--o--\n",
		"a draft":            "X-Unsent: 1\nSubject: x\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n" + mixed,
		"with CR":            strings.ReplaceAll("Subject: x\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n"+mixed, "\n", "\r"),
		"a long header":      "Subject: x\nX-Long:" + strings.Repeat(" word\n", 20_000) + "MIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\n\n=58" + string(e[1:]),
		"encoding, comment":  "Subject: x\nContent-Transfer-Encoding: (as said) Quoted-Printable\n\n=58" + string(e[1:]),
		"encoding, more":     "Subject: x\nContent-Transfer-Encoding: quoted-printable; x=y\n\n=58" + string(e[1:]),
		"blanks in lines":    "Subject: x\nContent-Transfer-Encoding: quoted-printable\n\n=58" + string(e[1:20]) + "= \t\n" + string(e[20:]),
		"no empty line":      "Subject: x\nContent-Transfer-Encoding: base64\n" + wrapped(e, 20, "\n"),
		"continued boundary": "Subject: x\nContent-Type: multipart/mixed; boundary*1*=us-ascii''%63d; boundary*0=ab\n\n" + strings.ReplaceAll(mixed, "--b", "--abcd"),
		"encoded boundary":   "Subject: x\nContent-Type: multipart/mixed; boundary=\"=?utf-8?q?ab?=\"\n\n" + strings.ReplaceAll(mixed, "--b", "--ab"),
		"boundary, comment":  "Subject: x\nContent-Type: multipart/mixed (in parts); boundary=(c (d))\"b\"\n\n" + mixed,
		"uuencode":           "Subject: x\nContent-Type: text/plain\nContent-Transfer-Encoding: x-uuencode\n\n" + uu(e),
	}
	for name, body := range rows {
		for _, label := range []string{"message/rfc822", ""} {
			u := unwrap(t, []byte(body), labelled(label), scan.ContentLimits{}, content.Config{})
			u.wantClean(t)
			if !u.has(e) {
				t.Errorf("%s, label %q: the attachment is no object; objects %q", name, label, u.paths)
			}
		}
	}
}

// TestMailWithAHugeHeaderIsRefused has more header than is read; a text that only
// begins like a header is none.
func TestMailWithAHugeHeaderIsRefused(t *testing.T) {
	long := "Subject: x\n" + strings.Repeat("X-Long: words and words\n", 50_000)
	body := []byte(long + "Content-Transfer-Encoding: quoted-printable\n\n=58" + string(eicar()[1:]))
	u := unwrap(t, body, labelled("message/rfc822"), scan.ContentLimits{}, content.Config{})
	u.wantVerdict(t, scan.OutcomeUnscannable, scan.CauseMalformedBody)
	u = unwrap(t, append([]byte("MIME-Version: 1.0\n"), body...), labelled("text/plain"), scan.ContentLimits{}, content.Config{})
	u.wantVerdict(t, scan.OutcomeUnscannable, scan.CauseMalformedBody)
	unwrap(t, []byte(long), labelled("text/plain"), scan.ContentLimits{}, content.Config{}).wantClean(t)
	unwrap(t, []byte("key: value\nother: value\n\nText.\n"), labelled("text/yaml"), scan.ContentLimits{}, content.Config{}).wantClean(t)
}

func TestBatchedRequestsAreTakenApart(t *testing.T) {
	message := lines("POST /Files HTTP/1.1", "X: "+strings.Repeat("y", 70_000), "Content-Encoding: gzip", "", string(gz(t, eicar())))
	for _, kind := range []string{"application/http; msgtype=request", "message/http"} {
		u := unwrap(t, []byte(lines("--batch_1", "Content-Type: "+kind, "", message, "--batch_1--", "")), labelled("multipart/mixed; boundary=batch_1"), scan.ContentLimits{}, content.Config{})
		u.wantClean(t)
		u.wantObject(t, "body/part[0]/http/gzip", eicar())
	}
	u := unwrap(t, []byte(lines("PUT / HTTP/1.1", "Content-Length: 68", "", string(eicar())+"and more")), labelled("application/http"), scan.ContentLimits{}, content.Config{})
	u.wantClean(t)
	u.wantObject(t, "body/http[:length]", eicar())
	body := lines("--batch_1", "Content-Type: application/http", "Content-Transfer-Encoding: binary", "", "POST /Files HTTP/1.1", "Content-Type: application/zip", "",
		string(zipOf(t, member{name: "a", data: eicar(), method: 8})), "--batch_1--", "")
	u = unwrap(t, []byte(body), labelled("multipart/mixed; boundary=batch_1"), scan.ContentLimits{}, content.Config{})
	u.wantClean(t)
	u.wantObject(t, "body/part[0]/http/zip[0]", eicar())
}
