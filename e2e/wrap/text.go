package wrap

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

func (g *generator) text() {
	text := func(name, label string, body func(p []byte) string) {
		g.add(Vector{Class: "EM", Name: name, Long: true, Header: typed(label), Body: func(p []byte) []byte { return []byte(body(p)) }})
	}
	text("text: base64 alone", "text/plain", b64)
	text("text: base64 alone, no label", "", func(p []byte) string { return b64Lines(p, 76, "\r\n") })
	text("text: PEM", "application/x-pem-file", func(p []byte) string { return "-----BEGIN X-----\n" + b64Lines(p, 64, "\n") + "-----END X-----\n" })
	text("text: base64 lines among others", "text/plain", func(p []byte) string { return "Dear all,\n\nfind it here:\n" + b64Lines(p, 60, "\n") + "\nregards\n" })
	text("text: hexadecimal", "text/plain", func(p []byte) string { return "x = 0x" + hex.EncodeToString(p) + ";\n" })
	text("text: uuencode", "text/plain", func(p []byte) string { return "Hello,\n\n" + uuencoded(p, "\n") + "\nBye\n" })
	text("text: uuencode with CRLF, no label", "", func(p []byte) string { return uuencoded(p, "\r\n") })
	text("html: data URI", "text/html", func(p []byte) string {
		return `<!doctype html><a download="a.exe" href="data:application/octet-stream;base64,` + b64(p) + `">x</a>`
	})
	text("text: vCard", "text/vcard", func(p []byte) string {
		return "BEGIN:VCARD\r\nPHOTO;ENCODING=b;TYPE=JPEG:" + b64Lines(p, 74, "\r\n ") + "\r\nEND:VCARD\r\n"
	})
	text("text: base64 in short lines", "text/plain", func(p []byte) string { return "hello,\n\n" + b64Lines(p, 20, "\n") + "\nregards\n" })
	text("html: data URI in a page in Latin-1", "text/html", func(p []byte) string {
		return "<!doctype html><title>Stra\xdfe</title><a href=\"data:application/octet-stream;base64," + b64(p) + "\">x</a>"
	})
	text("svg: atob", "image/svg+xml", func(p []byte) string { return "<svg xmlns='x'><script>atob('" + b64(p) + "')</script></svg>" })
	text("html: data URI with percent escapes", "text/html", func(p []byte) string {
		return `<!doctype html><a href="data:;base64,` + strings.NewReplacer("+", "%2B", "/", "%2F", "=", "%3d").Replace(b64(p)) + `">x</a>`
	})
	text("html: atob", "text/html; charset=utf-8", func(p []byte) string { return "<!doctype html><script>var b=atob('" + b64(p) + "')</script>" })
	text("script: atob over joined lines", "text/javascript", func(p []byte) string { return "var b = atob(\"" + b64Lines(p, 76, `\n`) + "\");" })
	text("css: data URI", "text/css", func(p []byte) string { return "a{background:url(data:image/png;base64," + b64(p) + ")}" })
	text("csv: base64 field", "text/csv", func(p []byte) string { return "id,data\n1," + b64(p) + "\n" })
	text("yaml: binary block", "application/yaml", func(p []byte) string { return "f: !!binary |\n  " + b64Lines(p, 76, "\n  ") + "\n" })
	script := func(name, label string, body func(s string) []byte) {
		g.add(Vector{Class: "EM", Name: name, Text: true, Header: typed(label), Body: func(p []byte) []byte { return body(string(p)) }})
	}
	script("text: UTF-16 with a mark", "text/plain", func(s string) []byte { return wide(s, binary.BigEndian, true) })
	script("text: UTF-16, labelled", "text/plain; charset=UTF-16LE", func(s string) []byte { return wide(s, binary.LittleEndian, false) })
	script("text: UTF-32 with a mark", "", func(s string) []byte { return wider(s, binary.BigEndian, true) })
	for name, charset := range map[string]string{"UTF-7": "utf-7", "EBCDIC": "ibm037", "HZ": "hz-gb-2312"} {
		encode := func(s string) []byte { return []byte(utf7(s)) }
		if name == "EBCDIC" {
			encode = ebcdic
		}
		g.add(Vector{
			Class: "EM", Name: "text: " + name, Text: true, Header: typed("text/plain; charset=" + charset), Refused: "malformed-body", Setting: SettingUnscannable,
			Why: "a charset that is not transcoded", Body: func(p []byte) []byte { return encode(string(p)) },
		})
	}
	g.mail()
}

func (g *generator) mail() {
	const heads = "From: a@example.net\r\nTo: b@example.net\r\nSubject: =?utf-8?q?x?=\r\nMIME-Version: 1.0\r\n"
	attach := func(encoding, body string) string {
		return heads + "Content-Type: multipart/mixed;\r\n\tboundary=\"m=_1\"\r\n\r\nThis is MIME.\r\n--m=_1\r\nContent-Type: text/plain\r\n\r\nhello\r\n--m=_1\r\nContent-Type: application/octet-stream; name=\"a.exe\"\r\n" +
			"Content-Disposition: attachment;\r\n filename*0=\"a.\";\r\n filename*1=\"exe\"\r\nContent-Transfer-Encoding: " + encoding + "\r\n\r\n" + body + "\r\n--m=_1--\r\n"
	}
	for name, body := range map[string]func(p []byte) string{
		"attachment":             func(p []byte) string { return attach("base64", b64Lines(p, 76, "\r\n")) },
		"attachment in odd case": func(p []byte) string { return attach("BaSe64", b64Lines(p, 76, "\r\n")) },
		"quoted-printable":       func(p []byte) string { return attach("quoted-printable", quotedPrintable(p)) },
		"uuencode":               func(p []byte) string { return attach("x-uuencode", uuencoded(p, "\r\n")) },
		"bare LF": func(p []byte) string {
			return strings.ReplaceAll(attach("base64", b64Lines(p, 76, "\r\n")), "\r\n", "\n")
		},
		"a body of base64": func(p []byte) string {
			return heads + "Content-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\n\r\n" + b64Lines(p, 76, "\r\n")
		},
		"forwarded": func(p []byte) string {
			return heads + "Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: message/rfc822\r\n\r\n" + attach("base64", b64Lines(p, 76, "\r\n")) + "\r\n--o--\r\n"
		},
		"in a mailbox": func(p []byte) string {
			return "From a@example.net Sun Nov 22 14:00:00 2026\r\n" + attach("base64", b64Lines(p, 76, "\r\n"))
		},
		"second in a mailbox": func(p []byte) string {
			const from = "From a@example.net Sun Nov 22 14:00:00 2026\r\n"
			return from + "Subject: x\r\n\r\nFrom here on\r\n\r\n" + from + attach("quoted-printable", quotedPrintable(p))
		},
		"long header": func(p []byte) string {
			return strings.Repeat("X-Filler: some words\r\n", 9000) + attach("quoted-printable", quotedPrintable(p))
		},
		"saved page":     mhtml,
		"zip attachment": func(p []byte) string { return attach("base64", b64Lines(zipOf(deflated("a.exe", p)), 76, "\r\n")) },
		"uuencode in line": func(p []byte) string {
			return heads + "Content-Type: text/plain\r\n\r\nhere:\r\n" + uuencoded(p, "\r\n")
		},
	} {
		for _, label := range []string{"message/rfc822", ""} {
			g.pass("EM", fmt.Sprintf("mail: %s, label %q", name, label), label, func(p []byte) []byte { return []byte(body(p)) })
		}
	}
	g.add(Vector{
		Class: "EM", Name: "mail: message in parts", Header: typed(`message/partial; id="x"; number=1; total=2`), Refused: "partial-content", Setting: SettingPartial,
		Why: "the rest comes in another message", Body: func(p []byte) []byte { return []byte(attach("base64", b64Lines(p, 76, "\r\n"))) },
	})
}

func mhtml(p []byte) string {
	return "From: <Saved by a browser>\r\nSnapshot-Content-Location: http://x/\r\nMIME-Version: 1.0\r\nContent-Type: multipart/related;\r\n\ttype=\"text/html\";\r\n\tboundary=\"----MultipartBoundary--x----\"\r\n\r\n\r\n" +
		"------MultipartBoundary--x----\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\nContent-Location: http://x/\r\n\r\n<img src=3D\"a\">\r\n------MultipartBoundary--x----\r\n" +
		"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\nContent-Location: http://x/a\r\n\r\n" + b64Lines(p, 76, "\r\n") + "\r\n------MultipartBoundary--x------\r\n"
}
