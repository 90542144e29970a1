package wrap

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
)

// Document is an innocent body as it crosses a gateway every day.
type Document struct {
	Name   string
	Header http.Header
	Body   []byte
}

// Documents returns innocent bodies of many kinds; the same seed gives the same.
func Documents(seed uint64) []Document {
	d := &documents{random: rand.New(rand.NewPCG(seed, 2026))}
	d.office()
	d.media()
	d.text()
	d.archives()
	d.wire()
	return d.all
}

type documents struct {
	random *rand.Rand
	all    []Document
}

func (d *documents) add(name, contentType string, body []byte) {
	d.all = append(d.all, Document{name, typed(contentType), body})
}

// words is running text.
func (d *documents) words(n int) string {
	vocabulary := strings.Fields(`the of and to in a is that for it as was with be by on not he his but at are this have from or had an they which one you were her all she there would their we him been has when who will more no if out so said what up its about into than them can only other new some could time these two may then do first any my now such like our over man me even most made after also did many before must through back years where much your way well down should because each just those people mr how too little state good very make world still own see men work long get here between both life being under never day same another know while last might us great old year off come since against go came right used take three`)
	var b strings.Builder
	for i := range n {
		b.WriteString(vocabulary[d.random.IntN(len(vocabulary))])
		if i%11 == 10 {
			b.WriteString(". ")
		} else {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

func (d *documents) bytes(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(d.random.Uint32())
	}
	return p
}

// ooxml is what Word, Excel and PowerPoint save.
func (d *documents) ooxml(kind string) []byte {
	const head = `<?xml version="1.0" encoding="UTF-8" standalone="yes"?>` + "\r\n"
	main := map[string]string{"word": "word/document.xml", "xl": "xl/workbook.xml", "ppt": "ppt/presentation.xml"}[kind]
	return zipOf(
		deflated("[Content_Types].xml", []byte(head+`<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="xml" ContentType="application/xml"/></Types>`)),
		deflated("_rels/.rels", []byte(head+`<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Target="`+main+`"/></Relationships>`)),
		deflated(main, []byte(head+`<w:document xmlns:w="x"><w:body><w:p><w:r><w:t>`+d.words(300)+`</w:t></w:r></w:p></w:body></w:document>`)),
		stored(kind+"/media/image1.png", d.png()),
		deflated("docProps/core.xml", []byte(head+`<cp:coreProperties><dc:title>`+d.words(5)+`</dc:title></cp:coreProperties>`)),
		deflated(kind+"/printerSettings/printerSettings1.bin", d.bytes(600)),
	)
}

func (d *documents) odf(kind string) []byte {
	return zipOf(stored("mimetype", []byte("application/vnd.oasis.opendocument."+kind)),
		deflated("content.xml", []byte(`<?xml version="1.0" encoding="UTF-8"?><office:document-content><text:p>`+d.words(200)+`</text:p></office:document-content>`)),
		stored("Thumbnails/thumbnail.png", d.png()), stored("Configurations2/", nil),
		deflated("META-INF/manifest.xml", []byte(`<?xml version="1.0"?><!DOCTYPE manifest:manifest PUBLIC "-//OpenOffice.org//DTD Manifest 1.0//EN" "Manifest.dtd"><manifest:manifest/>`)))
}

// pdf has compressed streams and a table of references.
func (d *documents) pdf() []byte {
	var b bytes.Buffer
	b.WriteString("%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
	for i := range 5 {
		stream := zl([]byte("BT /F1 12 Tf 72 712 Td (" + d.words(80) + ") Tj ET"))
		fmt.Fprintf(&b, "%d 0 obj\n<</Length %d/Filter/FlateDecode>>\nstream\n%s\nendstream\nendobj\n", i+1, len(stream), stream)
	}
	b.WriteString("xref\n0 1\n0000000000 65535 f \ntrailer\n<</Size 6>>\nstartxref\n9\n%%EOF\n")
	return b.Bytes()
}

func (d *documents) office() {
	d.add("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", d.ooxml("word"))
	d.add("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", d.ooxml("xl"))
	d.add("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation", d.ooxml("ppt"))
	d.add("odt", "application/vnd.oasis.opendocument.text", d.odf("text"))
	d.add("ods", "application/vnd.oasis.opendocument.spreadsheet", d.odf("spreadsheet"))
	d.add("pdf", "application/pdf", d.pdf())
	d.add("old Word", "application/msword", join("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", make([]byte, 504), d.bytes(4000), wide("WordDocument", binary.LittleEndian, false), d.bytes(3000)))
	d.add("rtf", "application/rtf", []byte(`{\rtf1\ansi{\fonttbl\f0 Helvetica;}\f0\pard `+d.words(100)+`\par{\pict\pngblip `+fmt.Sprintf("%x", d.png())+`}}`))
	d.add("epub", "application/epub+zip", zipOf(stored("mimetype", []byte("application/epub+zip")), deflated("OEBPS/1.xhtml", []byte("<html>"+d.words(300)+"</html>"))))
}

func (d *documents) picture() image.Image {
	m := image.NewNRGBA(image.Rect(0, 0, 40+d.random.IntN(40), 40))
	for i := range m.Pix {
		m.Pix[i] = byte(i*d.random.IntN(7)) ^ byte(i>>8)
	}
	m.Set(1, 1, color.White)
	return m
}

func (d *documents) png() []byte {
	var b bytes.Buffer
	_ = png.Encode(&b, d.picture()) // into memory
	return b.Bytes()
}

func (d *documents) media() {
	var j, g bytes.Buffer
	_ = jpeg.Encode(&j, d.picture(), nil) // into memory
	_ = gif.Encode(&g, d.picture(), nil)
	d.add("png", "image/png", d.png())
	d.add("jpeg", "image/jpeg", j.Bytes())
	d.add("gif", "image/gif", g.Bytes())
	le, be := binary.LittleEndian, binary.BigEndian
	vp8 := d.bytes(3000)
	d.add("webp", "image/webp", join("RIFF", le.AppendUint32(nil, uint32(len(vp8)+12)), "WEBPVP8L", le.AppendUint32(nil, uint32(len(vp8))), vp8))
	box := func(kind string, p []byte) []byte { return join(be.AppendUint32(nil, uint32(len(p)+8)), kind, p) }
	d.add("mp4", "video/mp4", join(box("ftyp", []byte("isom\x00\x00\x02\x00isomiso2avc1mp41")), box("moov", d.bytes(2000)), box("mdat", d.bytes(60000))))
	d.add("webm", "video/webm", join("\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01", d.bytes(30000)))
	d.add("mp3", "audio/mpeg", join("ID3\x04\x00\x00\x00\x00\x00\x00", bytes.Repeat(append([]byte{0xff, 0xfb, 0x90, 0x64}, d.bytes(413)...), 30)))
	d.add("woff2", "font/woff2", join("wOF2\x00\x01\x00\x00", d.bytes(9000)))
	d.add("ttf", "font/ttf", join("\x00\x01\x00\x00\x00\x0c\x00\x80\x00\x03\x00\x40", d.bytes(20000)))
	d.add("wasm", "application/wasm", join("\x00asm\x01\x00\x00\x00", d.bytes(5000)))
	d.add("svg", "image/svg+xml", []byte(`<?xml version="1.0"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd"><svg xmlns="http://www.w3.org/2000/svg"><path d="M0 0L`+strings.Repeat("10 20 ", 200)+`"/><image href="data:image/png;base64,`+b64(d.png())+`"/></svg>`))
	d.add("ico", "image/x-icon", join("\x00\x00\x01\x00\x01\x00\x10\x10", d.bytes(1100)))
}

// token is an identifier as an API makes them.
func (d *documents) token(n int) string { return base64.RawURLEncoding.EncodeToString(d.bytes(n)) }

func (d *documents) text() {
	var records []map[string]any
	for i := range 60 {
		records = append(records, map[string]any{
			"id": fmt.Sprintf("%x", d.bytes(16)), "n": i, "name": d.words(3), "etag": d.token(20), "note": d.words(30), "price": 9.99, "ok": i%2 == 0,
			"url": "https://example.com/a?b=c&token=" + d.token(48) + "&sig=" + d.token(32) + "%3D", "tags": []string{"a-b", "c_d=e"}, "sha512": b64(d.bytes(64)),
			"jwt": "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9." + d.token(200) + "." + d.token(256), "cookie": "a=" + d.token(90) + "; b=" + d.token(100) + "==; path=/",
			"cursor": b64([]byte(`{"after":"` + d.token(60) + `"}`)),
		})
	}
	api, _ := json.MarshalIndent(records, "", "  ") // of plain values
	d.add("JSON API", "application/json; charset=utf-8", api)
	var lines bytes.Buffer
	for _, r := range records {
		line, _ := json.Marshal(r)
		lines.Write(append(line, '\n'))
	}
	d.add("NDJSON", "application/x-ndjson", lines.Bytes())
	d.add("GeoJSON", "application/geo+json", []byte(`{"type":"FeatureCollection","features":[{"geometry":{"coordinates":[`+strings.Repeat("[13.4,52.5],", 500)+`[0,0]]}}]}`))
	d.add("JSON with a photo", "application/json", []byte(`{"photo":"data:image/png;base64,`+b64(d.png())+`"}`))
	d.add("web manifest", "application/manifest+json", []byte(`{"name":"x","icons":[{"src":"/a.png","sizes":"48x48"}]}`))
	d.add("JavaScript, minified", "text/javascript", []byte(strings.Repeat(`!function(e,t){"use strict";var n=t(e)||'a"b',r=/["'\/]+/g;return n.replace(r,"\"")+`+"`${n}`"+`}(window,function(e){return e&&e.x?1:0});`, 60)))
	d.add("JavaScript with a source map", "application/javascript", []byte(`"use strict";var a=1;`+"\n//# sourceMappingURL=data:application/json;base64,"+b64([]byte(`{"version":3,"sources":["a.ts"],"mappings":"`+strings.Repeat("AAAA,SAASA;", 300)+`"}`))))
	d.add("CSS", "text/css", []byte(strings.Repeat(`a:hover{color:#fff;background:url("x.png")}`, 50)+`b{background:url(data:image/png;base64,`+b64(d.png())+`)}`))
	d.add("HTML", "text/html; charset=utf-8", []byte("<!doctype html><html><head><script>window.__STATE__={\"csrf\":\""+d.token(64)+"\"}</script></head><body><p>"+d.words(400)+"</p><img src='data:image/gif;base64,R0lGODlhAQABAAAAACw='></body></html>"))
	d.add("HTML fragment", "text/html", []byte("<div class=x><p>"+d.words(50)+"&nbsp;&copy;</div>"))
	d.add("RSS", "application/rss+xml", []byte(`<?xml version="1.0"?><rss version="2.0"><channel>`+strings.Repeat(`<item><title><![CDATA[`+d.words(9)+`]]></title><description>&lt;p&gt;`+d.words(30)+`</description></item>`, 20)+`</channel></rss>`))
	d.add("SOAP", "text/xml; charset=utf-8", []byte(`<soap:Envelope xmlns:soap="x"><soap:Body><Get><Id>`+d.token(16)+`</Id><Sig>`+b64(d.bytes(256))+`</Sig></Get></soap:Body></soap:Envelope>`))
	d.add("CSV", "text/csv", []byte("id,name,value\r\n"+strings.Repeat("17,\"a \"\"b\"\"\",1.5;2=3\r\n", 400)))
	d.add("CSV for Excel", "text/csv", wide("id\tname\r\n1\tä\r\n", binary.LittleEndian, true))
	d.add("Markdown", "text/markdown", []byte("# "+d.words(5)+"\n\n---\n\n"+d.words(200)+"\n\n```\nbegin 1 end\n```\n"))
	d.add("YAML", "application/yaml", []byte("a: b\nc:\n  - "+d.words(9)+"\n  - !!binary |\n    "+b64Lines(d.png(), 76, "\n    ")+"\n"))
	d.add("PEM", "application/x-pem-file", []byte("-----BEGIN CERTIFICATE-----\n"+b64Lines(d.bytes(1200), 64, "\n")+"-----END CERTIFICATE-----\n"))
	d.add("diff", "text/x-diff", []byte("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-"+d.words(9)+"\n+"+d.words(9)+"\n"))
	d.add("log", "text/plain", []byte(strings.Repeat("2026-11-22T17:00:00Z INFO GET /a?b=c%20d 200 \"-\" a-b_c=\n", 300)))
	d.add("mail", "message/rfc822", []byte("From: a@example.net\r\nMIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=\"=_x\"\r\n\r\n--=_x\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"+quotedPrintable([]byte(d.words(60)))+"\r\n--=_x\r\nContent-Type: text/html\r\n\r\n<p>x</p>\r\n--=_x--\r\n"))
	d.add("vCard with a photo", "text/vcard", []byte("BEGIN:VCARD\r\nVERSION:3.0\r\nPHOTO;ENCODING=b;TYPE=PNG:"+strings.ReplaceAll(b64Lines(d.png(), 74, "\r\n"), "\r\n", "\r\n ")+"\r\nEND:VCARD\r\n"))
	d.add("calendar", "text/calendar", []byte("BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nSUMMARY:"+d.words(4)+"\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"))
	d.add("one character", "text/plain", []byte("x"))
}

func (d *documents) archives() {
	files := []zipEntry{deflated("src/main.go", []byte("package main\n// "+d.words(90))), stored("img/a.png", d.png()), deflated("README", []byte(d.words(50)))}
	d.add("zip", "application/zip", zipOf(files...))
	streamed := deflated("a.txt", []byte(d.words(100)))
	streamed.descriptor = true
	d.add("zip of a stream", "application/zip", zipOf(streamed))
	d.add("empty zip", "application/zip", zipOf())
	d.add("jar", "application/java-archive", zipOf(deflated("META-INF/MANIFEST.MF", []byte("Manifest-Version: 1.0\r\n\r\n")), deflated("a/B.class", join("\xca\xfe\xba\xbe\x00\x00\x00\x3d", d.bytes(900)))))
	d.add("wheel", "application/octet-stream", zipOf(deflated("x/__init__.py", []byte("x = 1\n")), deflated("x-1.dist-info/RECORD", []byte("x/__init__.py,sha256="+d.token(32)+",6\n"))))
	members := join(tarMember("a/", '5', nil, nil), tarMember("a/x.txt", '0', []byte(d.words(200)), nil), tarMember("a/l", '2', nil, func(h []byte) { copy(h[157:], "x.txt") }), tarMember("a/p.png", '0', d.png(), nil), make([]byte, 10240-1536))
	d.add("tar", "application/x-tar", members)
	d.add("tar.gz", "application/gzip", gz(members))
	d.add("tar.bz2", "application/x-bzip2", bzip2(members))
	d.add("tar.xz", "application/x-xz", xzip(members))
	d.add("tar.zst", "application/zstd", zs(members))
	packed := zipOf(stored("a.bin", d.bytes(3000)))
	d.add("zip.zst", "application/zstd", zs(packed))
	d.add("zip.gz", "application/gzip", gz(packed))
	d.add("tar.zst with a zip at its end", "application/zstd", zs(tarOf(packed)))
	d.add("7z", "application/x-7z-compressed", join("7z\xbc\xaf\x27\x1c\x00\x04", d.bytes(4), binary.LittleEndian.AppendUint64(nil, 2000), binary.LittleEndian.AppendUint64(nil, 30), d.bytes(2004), "\x17\x06\x00\x01\x09\x00\x07\x0b\x01\x00\x01\x23\x03\x01\x01\x05\x5d\x00\x10\x00\x00\x0c\x80\x00\x00"))
	d.add("deb", "application/vnd.debian.binary-package", join("!<arch>\ndebian-binary   1412931200  0     0     100644  4         `\n2.0\n", d.bytes(3000)))
	d.add("ELF program", "application/octet-stream", join("\x7fELF\x02\x01\x01\x00", d.bytes(20000)))
	d.add("SQLite", "application/vnd.sqlite3", join("SQLite format 3\x00\x10\x00\x01\x01", d.bytes(8000)))
	pack := join("PACK\x00\x00\x00\x02\x00\x00\x00\x02")
	for range 2 {
		object := []byte(d.words(60))
		pack = join(pack, []byte{0xb0 | byte(len(object)&15), byte(len(object) >> 4 & 0x7f)}, zl(object))
	}
	d.add("git pack", "application/x-git-upload-pack-result", join("0008NAK\n", pack, d.bytes(20)))
	d.add("git push", "application/x-git-receive-pack-request", join("0094"+strings.Repeat("0", 40)+" "+strings.Repeat("a", 40)+" refs/heads/main\x00 report-status side-band-64k agent=git/2.43\x00\x00", "0000", pack, d.bytes(20)))
	d.add("Docker layer", "application/vnd.docker.image.rootfs.diff.tar.gzip", gz(members))
	d.add("apk index", "application/octet-stream", join(gz([]byte("signature")), gz(members)))
}

// wire are the requests of programs.
func (d *documents) wire() {
	protobuf := join("\x0a\x24", d.token(27), "\x12\x80\x01", d.bytes(128), "\x18\x96\x01")
	d.add("protobuf", "application/x-protobuf", protobuf)
	d.add("gRPC", "application/grpc", frames(0, protobuf, protobuf))
	d.add("gRPC, compressed", "application/grpc+proto", frames(1, gz(protobuf)))
	d.add("gRPC-Web", "application/grpc-web-text", []byte(b64(join(frames(0, protobuf), frames(0x80, []byte("grpc-status:0\r\n"))))))
	d.add("MessagePack", "application/msgpack", join("\x82\xa1a\xc4\x80", d.bytes(128), "\xa1b\x01"))
	d.add("CBOR", "application/cbor", join("\xa1\x61a\x58\x80", d.bytes(128)))
	d.add("form, urlencoded", "application/x-www-form-urlencoded", []byte(url.Values{"user": {"a@example.net"}, "text": {d.words(50)}, "csrf": {d.token(64)}, "SAMLResponse": {b64([]byte(`<samlp:Response xmlns:samlp="x"><ds:SignatureValue>` + b64(d.bytes(256)) + `</ds:SignatureValue></samlp:Response>`))}}.Encode()))
	d.add("OAuth token", "application/x-www-form-urlencoded", []byte("grant_type=authorization_code&code="+d.token(60)+"&code_verifier="+d.token(43)))
	d.add("form", formType("----WebKitFormBoundary7MA4YWxkTrZu0gW"), form("----WebKitFormBoundary7MA4YWxkTrZu0gW", d.png()))
	d.add("form with a document", formType("geckoformboundary"), form("geckoformboundary", d.ooxml("word")))
	d.add("GraphQL", "application/json", []byte(`{"query":"query Q($id:ID!){node(id:$id){id name}}","variables":{"id":"`+b64([]byte("Node:"+d.token(60)))+`"}}`))
	d.add("JSON-RPC", "application/json", []byte(`[{"jsonrpc":"2.0","method":"eth_sendRawTransaction","params":["0x`+fmt.Sprintf("%x", d.bytes(300))+`"],"id":1}]`))
	d.add("beacon", "text/plain;charset=UTF-8", []byte(`{"event":"click","at":17}`))
	d.add("OCSP", "application/ocsp-request", d.bytes(120))
	d.add("Prometheus", "text/plain; version=0.0.4", []byte("# HELP a b\n# TYPE a counter\n"+strings.Repeat("a{b=\"c\"} 1\n", 200)))
	noise := d.bytes(200000)
	d.add("bytes", "application/octet-stream", noise)
	d.add("bytes without a label", "", d.bytes(70000))
	d.all = append(d.all,
		Document{"JSON, gzip coding", coded("application/json", "gzip"), gz([]byte(`{"a":"` + d.words(200) + `"}`))},
		Document{"HTML, br coding", coded("text/html", "br"), br([]byte("<html>" + d.words(300)))},
		Document{"script, zstd coding", coded("text/javascript", "zstd"), zs([]byte("var a='" + d.words(300) + "'"))},
		Document{"tar.gz, gzip coding", coded("application/gzip", "gzip"), gz(gz(tarOf([]byte(d.words(30)))))},
		Document{"S3 upload", coded("image/png", "aws-chunked"), awsChunked(d.png(), 65536, true, "")},
		Document{"checksum", typed("text/plain"), fmt.Appendf(nil, "%08x  file\n", crc32.ChecksumIEEE(noise))},
	)
}
