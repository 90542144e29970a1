package wrap

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// readers are bodies that are well-formed to those who parse, and hold another one
// for those who search, cut or count instead.
func (g *generator) readers() {
	b, other := g.boundary(), g.boundary()
	for name, value := range map[string]string{
		"the name ends in boundary, first":    "multipart/form-data; xboundary=" + other + "; boundary=" + b,
		"the name ends in boundary, last":     formType(b) + "; x-boundary=" + other,
		"boundary within quotes, first":       `multipart/form-data; x="boundary=` + other + `"; boundary=` + b,
		"boundary within quotes, last":        formType(b) + `; x="boundary=` + other + `"`,
		"semicolon and boundary in quotes":    `multipart/form-data; x="; boundary=` + other + `;"; boundary=` + b,
		"continued boundary in quotes":        `multipart/form-data; x="boundary*0=` + other + `"; boundary=` + b,
		"boundary in capitals, a word behind": "multipart/form-data; BOUNDARY=" + b + "; x=boundary; y=" + other,
	} {
		g.refusedForm("readers: "+name, "readers that search for the word choose another boundary", typed(value), func(p []byte) []byte {
			return formOf(b, fileHeader, join("text\r\n", form(other, p)))
		})
	}
	word := "=?utf-8?q?" + other + "?="
	g.refusedForm("readers: encoded word as the boundary", "a reader decodes it", typed(`multipart/form-data; boundary="`+word+`"`), func(p []byte) []byte {
		return formOf(word, fileHeader, join("text\r\n", form(other, p)))
	})
	g.pass("MP", "readers: part longer than its length says", "multipart/mixed; boundary="+b, func(p []byte) []byte {
		return join("--", b, "\r\nContent-Type: x/y\r\nContent-Length: ", fmt.Sprint(len(p)), "\r\n\r\n", p, "\r\nmore\r\n--", b, "--\r\n")
	})
	g.refusedForm("readers: part shorter than its length says", "readers that count read over the delimiter", typed(formType(b)), func(p []byte) []byte {
		return formOf(b, fileHeader+"Content-Length: 99999\r\n", p)
	})
	g.pass("MP", "readers: a urlencoded form that begins like another", "application/x-www-form-urlencoded", func(p []byte) []byte {
		return join("--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\na&f=", percent(p), "&z=1\r\n--b--\r\n")
	})
	g.pass("EM", "urlencoded: no label", "", func(p []byte) []byte { return join("a=b&f=", percent(p), "&z=1") })
	g.pass("EM", "urlencoded: odd label", "text; application/x-www-form-URLENCODED", func(p []byte) []byte { return join("f=", percent(p)) })
	g.pass("MP", "readers: boundary of Android's samples", "multipart/form-data;boundary=*****", func(p []byte) []byte { return form("*****", p) })
	g.charsetLabels()
	g.messages()
}

// charsetLabels are spellings of charsets in which not even ASCII is readable.
func (g *generator) charsetLabels() {
	b := g.boundary()
	little := func(p []byte) []byte { return wide(string(p), binary.LittleEndian, false) }
	big := func(p []byte) []byte { return wide(string(p), binary.BigEndian, false) }
	for label, write := range map[string]func([]byte) []byte{
		"; charset=utf16": little, "; charset=UTF_16_LE": little, "; charset=csUnicode": big, "; charset=utf-16": big, "; charset=UnicodeBig": big, "; charset=ucs-2be": big,
		"; charset=utf-8; charset=utf-16le": little, `; x="; charset=utf-8"; charset=utf-16be`: big,
		"; charset=iso-2022-jp": func(p []byte) []byte { return join(p[:20], "\x1b$B\x1b(B", p[20:]) },
	} {
		g.add(Vector{Class: "MP", Name: "text" + label, Text: true, Header: typed("text/plain" + label), Body: write})
		g.add(Vector{Class: "MP", Name: "part" + label, Text: true, Header: typed(formType(b)), Body: func(p []byte) []byte {
			return formOf(b, "Content-Disposition: form-data; name=\"f\"\r\nContent-Type: text/plain"+label+"\r\n", write(p))
		}})
	}
	g.add(Vector{Class: "MP", Name: "urlencoded values in UTF-16", Text: true, Header: typed("application/x-www-form-urlencoded; charset=UTF-16LE"), Body: func(p []byte) []byte {
		return join("a=b&f=", percent(little(p)))
	}})
	for _, charset := range []string{"utf7", "csUTF7", "IBM01140", "cp273", "x-EBCDIC-KoreanExtended", "hz", "unicode_escape"} {
		g.add(Vector{
			Class: "MP", Name: "text in " + charset, Header: typed("text/plain; charset=" + charset), Body: func(p []byte) []byte { return p },
			Refused: "malformed-body", Setting: SettingUnscannable, Why: "a charset that is not transcoded",
		})
	}
}

// messages are messages of gRPC, HTTP, S3 and mail within bodies.
func (g *generator) messages() {
	halves := func(flag byte, p []byte) []byte { return frames(flag, p[:len(p)/2], p[len(p)/2:]) }
	g.pass("CE", "grpc, the file as a message", "application/grpc", func(p []byte) []byte { return frames(0, p) })
	g.pass("CE", "grpc, the file in two messages", "application/grpc+raw", func(p []byte) []byte { return halves(0, p) })
	g.pass("CE", "grpc, half of it compressed", "application/grpc", func(p []byte) []byte { return join(frames(1, gz(p[:50])), frames(0, p[50:])) })
	g.pass("CE", "grpc-web, JSON in two messages", "application/grpc-web+json", func(p []byte) []byte {
		return join(halves(0, []byte(`{"f":"`+b64(p)+`"}`)), frames(0x80, []byte("grpc-status: 0\r\n")))
	})
	g.pass("CE", "connect streaming, JSON", "application/connect+json", func(p []byte) []byte {
		return join(frames(0, []byte(`{"f":"`+b64(p)+`"}`)), frames(2, []byte("{}")))
	})
	const octets = "application/octet-stream"
	minio := "x-amz-checksum-crc32c:AAAAAA==\n\r\n"
	g.add(Vector{Class: "CE", Name: "aws-chunked, trailers of MinIO's client", Header: coded(octets, "aws-chunked"), Body: func(p []byte) []byte { return awsChunked(p, 5000, false, minio) }})
	g.pass("TR", "aws-chunked, trailers of MinIO's client, not said", octets, func(p []byte) []byte { return awsChunked(p, 5000, true, minio+"x-amz-trailer-signature:00\r\n") })
	g.pass("TR", "aws-chunked, not said and cut", octets, func(p []byte) []byte { return join(fmt.Sprintf("%x;chunk-signature=00\r\n", len(p)), p, "\r\n") })
	g.pass("MP", "message/http in a batch", "multipart/mixed; boundary=b", func(p []byte) []byte {
		return join("--b\r\nContent-Type: message/http\r\n\r\nPOST / HTTP/1.1\r\nX: ", strings.Repeat("y", 66<<10), "\r\nContent-Encoding: gzip\r\n\r\n", gz(p), "\r\n--b--\r\n")
	})
	for name, header := range map[string]string{
		"draft": "X-Unsent: 1\r\nSubject: x\r\nContent-Transfer-Encoding: quoted-printable\r\n", "long header": "Subject: x\r\nX:" + strings.Repeat(" y\r\n", 20_000) + "Content-Transfer-Encoding: quoted-printable\r\n",
		"encoding with a comment": "Subject: x\r\nContent-Transfer-Encoding: quoted-printable (x)\r\n",
	} {
		g.pass("EM", "mail: "+name, octets, func(p []byte) []byte { return join(header, "\r\n", quotedPrintable(p)) })
	}
}

// percent writes every byte as an escape of a URI.
func percent(p []byte) string {
	var b strings.Builder
	for _, c := range p {
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}
