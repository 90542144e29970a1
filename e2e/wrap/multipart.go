package wrap

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/http"
	"strings"
)

const fileHeader = `Content-Disposition: form-data; name="f"; filename="a.exe"` + "\r\nContent-Type: application/octet-stream\r\n"

// form is a form of one field and one file, in the strictest form.
func form(boundary string, file []byte) []byte { return formOf(boundary, fileHeader, file) }

// formOf has the header lines of the file's part given.
func formOf(boundary, header string, file []byte) []byte {
	return join("--", boundary, "\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhello\r\n",
		"--", boundary, "\r\n", header, "\r\n", file, "\r\n--", boundary, "--\r\n")
}

// boundary is a fresh one, as clients make them.
func (g *generator) boundary() string {
	const letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	p := []byte("----Wrap")
	for range 8 + g.random.IntN(30) {
		p = append(p, letters[g.random.IntN(len(letters))])
	}
	return string(p)
}

func formType(boundary string) string { return "multipart/form-data; boundary=" + boundary }

// refusedForm adds a form that the strict grammar refuses.
func (g *generator) refusedForm(name, why string, h http.Header, body func([]byte) []byte) {
	g.add(Vector{Class: "MP", Name: name, Header: h, Body: body, Refused: "malformed-body", Setting: SettingLenient, Why: why})
}

// contentTypes are the choice and form of boundaries and media types.
func (g *generator) contentTypes() {
	b := g.boundary()
	body := func(p []byte) []byte { return form(b, p) }
	for name, value := range map[string]string{
		"boundary twice, last true":          "multipart/form-data; boundary=other; boundary=" + b,
		"boundary twice, first true":         "multipart/form-data; boundary=" + b + "; boundary=other",
		"boundary twice in two cases":        "multipart/form-data; BOUNDARY=" + b + "; boundary=other",
		"extended boundary beside plain":     "multipart/form-data; boundary=other; boundary*=utf-8''" + b,
		"extended boundary alone":            "multipart/form-data; boundary*=utf-8''" + b,
		"extended boundary, percent":         "multipart/form-data; boundary*=us-ascii'en'%2D" + b[1:],
		"continued boundary":                 "multipart/form-data; boundary*0=" + b[:9] + "; boundary*1=" + b[9:],
		"single quotes":                      "multipart/form-data; boundary='" + b + "'",
		"unclosed quote":                     `multipart/form-data; boundary="` + b,
		"backslash in quotes":                `multipart/form-data; boundary="` + b[:5] + `\` + b[5:] + `"`,
		"blank before equals":                "multipart/form-data; boundary =" + b,
		"blank after equals":                 "multipart/form-data; boundary= " + b,
		"tab after equals":                   "multipart/form-data; boundary=\t" + b,
		"semicolon at the end":               formType(b) + ";",
		"comma instead of semicolon":         "multipart/form-data, boundary=" + b,
		"blank instead of semicolon":         "multipart/form-data boundary=" + b,
		"two semicolons":                     "multipart/form-data;; boundary=" + b,
		"boundary with junk after quotes":    `multipart/form-data; boundary="` + b + `"junk`,
		"boundary cut at a comma":            "multipart/form-data; boundary=" + b + ",x",
		"no boundary":                        "multipart/form-data",
		"empty boundary":                     "multipart/form-data; boundary=",
		"unknown subtype":                    "multipart/x-unknown; boundary=" + b,
		"signed subtype":                     "multipart/signed; micalg=sha-256; boundary=" + b,
		"form-data without multipart":        "form-data; boundary=" + b,
		"charset parameter utf-16":           formType(b) + "; charset=utf-16",
		"charset parameter utf-7":            formType(b) + "; charset=utf-7",
		"parameter before, in quotes":        `multipart/form-data; x="; boundary=other"; boundary=` + b + "; x=1",
		"parameter without value":            "multipart/form-data; charset; boundary=" + b,
		"boundary within another parameter":  "multipart/form-data; xboundary=other; boundary =" + b,
		"vertical tab in the media type":     "multipart/form-data\t;\tboundary=" + b + "\t;",
		"media type with a slash more":       "multipart/form-data/x; boundary=" + b,
		"boundary in parentheses (comment)":  "multipart/form-data; boundary=(x)" + b,
		"word multipart behind another type": "text/plain multipart/form-data; boundary=" + b,
	} {
		v := Vector{
			Class: "MP", Name: "type: " + name, Header: typed(value), Body: body, Setting: SettingLenient,
			Refused: "malformed-body", Why: "readers choose different boundaries",
		}
		if strings.Contains(value, ",") {
			v.Refused = "ambiguous-headers"
		}
		g.add(v)
	}
	long := strings.Repeat("b", 71)
	g.refusedForm("type: boundary of 71", "longer than RFC 2046 allows", typed(formType(long)), func(p []byte) []byte { return form(long, p) })
	g.refusedForm("type: boundary ends in a blank", "readers trim it", typed(`multipart/form-data; boundary="`+b+` "`),
		func(p []byte) []byte { return form(b+" ", p) })
	for name, h := range map[string]http.Header{
		"two lines":                 typed("text/plain", formType(b)),
		"two lines, form first":     typed(formType(b), "text/plain"),
		"two lines, two boundaries": typed(formType("other"), formType(b)),
		"two values in one line":    typed("text/plain, " + formType(b)),
	} {
		g.add(Vector{
			Class: "MP", Name: "type: " + name, Header: h, Body: body,
			Refused: "ambiguous-headers", Setting: SettingUnscannable, Why: "readers choose another Content-Type",
		})
	}
	for name, value := range map[string]string{
		"octet-stream": "application/octet-stream", "text": "text/plain", "json": "application/json", "none": "", "jpeg": "image/jpeg", "broken": "///;;;=",
	} {
		g.pass("MP", "type: a form labelled "+name, value, body)
	}
	for name, boundary := range map[string]string{
		"all legal punctuation": "a'()+_-./:=?z", "inner blank": "a b", "comma": "a,b", "70 characters": strings.Repeat("b", 70), "one character": "x",
	} {
		g.pass("MP", "type: quoted boundary, "+name, `multipart/form-data; boundary="`+boundary+`"`, func(p []byte) []byte { return form(boundary, p) })
	}
	g.pass("MP", "type: odd case", "mUlTiParT/FoRm-DaTa;BoUnDaRy="+b+" ; ChArSeT=\"UTF-8\"", body)
}

// forms are well-formed forms in which the file stands in an odd place.
func (g *generator) forms() {
	b, inner := g.boundary(), g.boundary()
	t := formType(b)
	disposition := `Content-Disposition: form-data; name="f"; filename="a"` + "\r\n"
	for name, header := range map[string]string{
		"plain field":           "Content-Disposition: form-data; name=\"f\"\r\n",
		"extended file name":    `Content-Disposition: form-data; name="f"; filename="a"; filename*=utf-8'en'%c3%bc.exe` + "\r\n",
		"empty file name":       `Content-Disposition: form-data; name="f"; filename=""` + "\r\n",
		"escaped quotes":        `Content-Disposition: form-data; name="f"; filename="a\"b\".exe"` + "\r\n",
		"percent quotes":        `Content-Disposition: form-data; name="f"; filename="a%22b.exe"` + "\r\n",
		"latin1 in the name":    "Content-Disposition: form-data; name=\"f\"; filename=\"\xfc.exe\"\r\n",
		"other header lines":    "X-A: b\r\n" + disposition + "Content-ID: <x>\r\nContent-Length: 5\r\n",
		"disposition in case":   "cOnTeNt-DiSpOsItIoN:form-DATA;NAME=f;FILENAME=a.exe\r\n",
		"lying type":            disposition + "Content-Type: image/png\r\n",
		"latin1 charset":        disposition + "Content-Type: text/plain; charset=iso-8859-1\r\n",
		"binary encoding":       disposition + "Content-Transfer-Encoding: Binary\r\n",
		"path in the file name": `Content-Disposition: form-data; name="f"; filename="../../etc/passwd"` + "\r\n",
	} {
		g.pass("MP", "part: "+name, t, func(p []byte) []byte { return formOf(b, header, p) })
	}
	for name, c := range map[string]struct {
		header string
		encode func([]byte) []byte
	}{
		"base64":             {"Content-Transfer-Encoding: base64\r\n", func(p []byte) []byte { return []byte(b64(p)) }},
		"base64 in lines":    {"content-transfer-encoding: BASE64\r\n", func(p []byte) []byte { return []byte(b64Lines(p, 76, "\r\n")) }},
		"quoted-printable":   {"Content-Transfer-Encoding: quoted-printable\r\n", func(p []byte) []byte { return []byte(quotedPrintable(p)) }},
		"gzip":               {"Content-Encoding: gzip\r\n", gz},
		"brotli":             {"Content-Encoding: br\r\n", br},
		"zstd over deflate":  {"Content-Encoding: deflate, zstd\r\n", func(p []byte) []byte { return zs(zl(p)) }},
		"gzip within base64": {"Content-Encoding: gzip\r\nContent-Transfer-Encoding: base64\r\n", func(p []byte) []byte { return []byte(b64(gz(p))) }},
	} {
		g.pass("MP", "part: "+name, t, func(p []byte) []byte { return formOf(b, disposition+c.header, c.encode(p)) })
	}
	for name, c := range map[string]struct {
		charset string
		text    func(string) []byte
	}{
		"UTF-16 with a mark": {"", func(s string) []byte { return wide(s, binary.LittleEndian, true) }},
		"UTF-16BE, labelled": {"; charset=utf-16be", func(s string) []byte { return wide(s, binary.BigEndian, false) }},
		"UTF-32, labelled":   {"; charset=UTF-32", func(s string) []byte { return wider(s, binary.LittleEndian, false) }},
	} {
		g.add(Vector{Class: "MP", Name: "part: " + name, Text: true, Header: typed(t), Body: func(p []byte) []byte {
			return formOf(b, disposition+"Content-Type: text/plain"+c.charset+"\r\n", c.text(string(p)))
		}})
	}
	nested := func(p []byte) []byte { return form(inner, p) }
	g.pass("MP", "nested: mixed", t, func(p []byte) []byte {
		return formOf(b, "Content-Disposition: form-data; name=\"files\"\r\nContent-Type: multipart/mixed; boundary="+inner+"\r\n",
			bytes.ReplaceAll(nested(p), []byte("form-data"), []byte("attachment")))
	})
	g.pass("MP", "nested: three levels", "multipart/mixed; boundary=o1", func(p []byte) []byte {
		level := func(boundary, contentType string, body []byte) []byte {
			return join("--", boundary, "\r\nContent-Type: ", contentType, "\r\n\r\n", body, "\r\n--", boundary, "--\r\n")
		}
		return level("o1", "multipart/mixed; boundary=o2", level("o2", formType(inner), nested(p)))
	})
	g.pass("MP", "bad part before a good one", t, func(p []byte) []byte {
		return join("--", b, "\r\n", disposition, "\r\n", p, "\r\n--", b, "\r\n", disposition, "\r\ngood\r\n--", b, "--\r\n")
	})
	g.pass("MP", "one CRLF in front, none after", t, func(p []byte) []byte {
		return bytes.TrimSuffix(join("\r\n", form(b, p)), []byte("\r\n"))
	})
	g.pass("MP", "many small parts around", t, func(p []byte) []byte {
		var body bytes.Buffer
		at := g.random.IntN(400)
		for i := range 400 {
			content := []byte(fmt.Sprintf("value %d", i))
			if i == at {
				content = p
			}
			fmt.Fprintf(&body, "--%s\r\nContent-Disposition: form-data; name=\"f%d\"\r\n\r\n%s\r\n", b, i, content)
		}
		return join(body.Bytes(), "--", b, "--\r\n")
	})
	g.pass("MP", "GraphQL upload", t, func(p []byte) []byte {
		return join("--", b, "\r\nContent-Disposition: form-data; name=\"operations\"\r\n\r\n{\"query\":\"mutation($f:Upload!){up(f:$f)}\",\"variables\":{\"f\":null}}\r\n--", b,
			"\r\nContent-Disposition: form-data; name=\"map\"\r\n\r\n{\"0\":[\"variables.f\"]}\r\n--", b, "\r\n", strings.Replace(fileHeader, `"f"`, `"0"`, 1), "\r\n", p, "\r\n--", b, "--\r\n")
	})
	g.pass("MP", "OData batch", "multipart/mixed; boundary=batch_1", func(p []byte) []byte {
		return join("--batch_1\r\nContent-Type: multipart/mixed; boundary=changeset_1\r\n\r\n--changeset_1\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\nContent-ID: 1\r\n\r\n",
			"POST /Files HTTP/1.1\r\nContent-Type: application/octet-stream\r\n\r\n", p, "\r\n--changeset_1--\r\n\r\n--batch_1--\r\n")
	})
	g.pass("MP", "SOAP with MTOM", `multipart/related; type="application/xop+xml"; start="<r@x>"; start-info="text/xml"; boundary="uuid:`+inner+`"`, func(p []byte) []byte {
		return join("--uuid:", inner, "\r\nContent-Type: application/xop+xml; charset=UTF-8; type=\"text/xml\"\r\nContent-ID: <r@x>\r\n\r\n<s:Envelope><xop:Include href=\"cid:a\"/></s:Envelope>\r\n",
			"--uuid:", inner, "\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\nContent-ID: <a>\r\n\r\n", p, "\r\n--uuid:", inner, "--\r\n")
	})
}

// lenientForms are forms that break the grammar.
func (g *generator) lenientForms() {
	b := g.boundary()
	h := typed(formType(b))
	swap := func(old, with string) func([]byte) []byte {
		return func(p []byte) []byte {
			// The file's own bytes stay as they are.
			mark := []byte("\x00FILE\x00")
			return bytes.Replace([]byte(strings.ReplaceAll(string(form(b, mark)), old, with)), mark, p, 1)
		}
	}
	whole := func(change func([]byte) []byte) func([]byte) []byte {
		return func(p []byte) []byte { return change(form(b, p)) }
	}
	d := `Content-Disposition: form-data; name="f"; filename="a.exe"`
	for name, body := range map[string]func([]byte) []byte{
		"preamble":                        whole(func(f []byte) []byte { return join("preamble\r\n", f) }),
		"blank first":                     whole(func(f []byte) []byte { return join(" ", f) }),
		"epilogue":                        whole(func(f []byte) []byte { return join(f, "epilogue") }),
		"second form after the first":     whole(func(f []byte) []byte { return join("--", b, "--\r\n", f) }),
		"no closing delimiter":            whole(func(f []byte) []byte { return bytes.TrimSuffix(f, []byte("--"+b+"--\r\n")) }),
		"closing delimiter cut":           whole(func(f []byte) []byte { return f[:len(f)-3] }),
		"bare LF":                         swap("\r\n", "\n"),
		"bare CR":                         swap("\r\n", "\r"),
		"LF CR":                           swap("\r\n", "\n\r"),
		"doubled CR":                      swap("\r\n", "\r\r\n"),
		"LF before delimiters":            swap("\r\n--", "\n--"),
		"LF after delimiters":             swap(b+"\r\n", b+"\n"),
		"blanks after delimiters":         swap(b+"\r\n", b+" \t\r\n"),
		"letters after a delimiter":       swap("\r\n\r\nhello\r\n", "\r\n\r\nhello\r\n--"+b+"x\r\n"),
		"dashes before delimiters":        swap("\r\n--"+b+"\r\n", "\r\n----"+b+"\r\n"),
		"delimiter within a line":         swap("hello\r\n", "hello--"+b+"\r\n"),
		"header ended by LF LF":           swap("octet-stream\r\n\r\n", "octet-stream\n\n"),
		"no empty line":                   swap("octet-stream\r\n\r\n", "octet-stream\r\n"),
		"line of blanks for empty":        swap("octet-stream\r\n\r\n", "octet-stream\r\n \r\n"),
		"folded disposition":              swap(`form-data; name="f"`, "form-data;\r\n name=\"f\""),
		"blank before the colon":          swap(d, strings.Replace(d, ":", " :", 1)),
		"no colon":                        swap(d, strings.Replace(d, ":", " ", 1)),
		"control byte in a header":        swap(`"a.exe"`, "\"a\x01.exe\""),
		"tab in a header":                 swap(`"a.exe"`, "\"a\t.exe\""),
		"NUL in a name":                   swap(`name="f"`, "name=\"f\x00\""),
		"two dispositions":                swap(d, d+"\r\n"+strings.Replace(d, `"f"`, `"g"`, 1)),
		"two file names":                  swap(`filename="a.exe"`, `filename="a.txt"; filename="a.exe"`),
		"continued file name":             swap(`filename="a.exe"`, `filename*0="a."; filename*1="exe"`),
		"single quotes":                   swap(`name="f"`, "name='f'"),
		"unclosed quote":                  swap(`filename="a.exe"`, `filename="a.exe`),
		"no disposition":                  swap(d+"\r\n", ""),
		"other disposition":               swap("form-data; name=\"f\"", "attachment; name=\"f\""),
		"empty name":                      swap(`name="f"`, `name=""`),
		"_charset_ field":                 swap(`name="note"`, `name="_charset_"`),
		"seventeen header lines":          swap(d, d+strings.Repeat("\r\nX-A: b", 0)+manyHeaders()),
		"unknown transfer encoding":       swap(d, d+"\r\nContent-Transfer-Encoding: x-secret"),
		"two transfer encodings":          swap(d, d+"\r\nContent-Transfer-Encoding: 8bit\r\nContent-Transfer-Encoding: base64"),
		"unknown charset of a part":       swap("application/octet-stream", "text/plain; charset=x-mac-roman"),
		"delimiter of a form in a part":   swap("hello", "hello\r\n--"+b+"\r\n\r\nmore"+"\r\n--"+b+"--"),
		"closing delimiter before":        swap("\r\n--"+b+"\r\nContent-Disposition: form-data; name=\"f\"", "\r\n--"+b+"--\r\n--"+b+"\r\nContent-Disposition: form-data; name=\"f\""),
		"encoded word in the disposition": swap(`filename="a.exe"`, `filename==?utf-8?q?a?=`),
	} {
		g.refusedForm("form: "+name, "readers cut or name parts differently", h, body)
	}
	for name, c := range map[string]struct {
		header string
		encode func([]byte) []byte
	}{
		"base64 with foreign characters":  {"Content-Transfer-Encoding: base64\r\n", func(p []byte) []byte { return []byte("!" + strings.ReplaceAll(b64(p), "A", "*A")) }},
		"base64 spelled oddly":            {"Content-Transfer-Encoding : \tBase64\r\n", func(p []byte) []byte { return []byte(b64(p)) }},
		"uuencode":                        {"Content-Transfer-Encoding: x-uuencode\r\n", func(p []byte) []byte { return []byte(uuencoded(p, "\r\n")) }},
		"quoted-printable with bare ends": {"Content-Transfer-Encoding: quoted-printable\r\n", func(p []byte) []byte { return []byte(strings.ReplaceAll(quotedPrintable(p), "=\r\n", "=\n")) }},
	} {
		g.refusedForm("part: "+name, "readers decode differently", h, func(p []byte) []byte { return formOf(b, d+"\r\n"+c.header, c.encode(p)) })
	}
	for name, text := range map[string]func(string) []byte{
		"whole form in UTF-16": func(s string) []byte { return wide(s, binary.LittleEndian, true) },
		"whole form in UTF-7":  func(s string) []byte { return []byte(utf7(s)) },
		"whole form in EBCDIC": ebcdic,
	} {
		g.add(Vector{
			Class: "MP", Name: "form: " + name, Text: true, Header: typed(formType(b)), Refused: "malformed-body", Setting: SettingUnscannable,
			Why: "no reader should take it for a form", Body: func(p []byte) []byte { return text(string(form(b, p))) },
		})
	}
	g.add(Vector{
		Class: "MP", Name: "volume: 1001 parts", Header: h, Refused: "too-many-objects", Setting: SettingUnscannable, Why: "more parts than any form has",
		Body: func(p []byte) []byte {
			return join(bytes.Repeat([]byte("--"+b+"\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n1\r\n"), 1000), form(b, p))
		},
	})
	g.refusedForm("volume: header of 9 KiB", "readers stop at different lengths", h, func(p []byte) []byte {
		return formOf(b, d+"; x=\""+strings.Repeat("x", 9<<10)+"\"\r\n", p)
	})
}

func manyHeaders() string {
	var b strings.Builder
	for i := range 17 {
		fmt.Fprintf(&b, "\r\nX-%d: y", i)
	}
	return b.String()
}
