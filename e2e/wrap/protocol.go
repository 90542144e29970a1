package wrap

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
)

func with(h http.Header, pairs ...string) http.Header {
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

// protocols are uploads in pieces and other frames around an upload.
func (g *generator) protocols() {
	const octets = "application/octet-stream"
	piece := func(name, method, query string, h http.Header, body func([]byte) []byte) {
		g.add(Vector{
			Class: "TR", Name: name, UpOnly: true, Method: method, Query: query, Header: h, Body: body,
			Refused: "partial-content", Setting: SettingPartial, Why: "a piece: what is beside it comes in another request",
		})
	}
	same := bytes.Clone
	piece("Content-Range", "PUT", "", with(typed(octets), "Content-Range", "bytes 0-1995/9000"), same)
	piece("Content-Range without a length", "PUT", "", with(typed(octets), "Content-Range", "bytes 0-1995/*"), same)
	piece("Content-Range in another unit", "PUT", "", with(typed(octets), "Content-Range", "lines 0-1/2"), same)
	piece("Content-Range that is none", "PATCH", "", with(typed(octets), "Content-Range", "x"), same)
	piece("tus", "PATCH", "", with(typed("application/offset+octet-stream"), "Tus-Resumable", "1.0.0", "Upload-Offset", "100"), same)
	piece("tus, creation with upload", "POST", "", with(typed("application/offset+octet-stream"), "Tus-Resumable", "1.0.0", "Upload-Length", "9000"), same)
	piece("IETF draft", "PATCH", "", with(typed("application/partial-upload"), "Upload-Offset", "100", "Upload-Complete", "?0"), same)
	piece("IETF draft, incomplete", "POST", "", with(typed(octets), "Upload-Complete", "?0"), same)
	piece("S3 part", "PUT", "?partNumber=2&uploadId=abc", typed(octets), same)
	piece("S3 part, encoded names", "PUT", "?%70artNumber=2&upload%49d=abc", typed(octets), same)
	piece("S3 part, aws-chunked", "PUT", "?partNumber=2&uploadId=abc", coded(octets, "aws-chunked"), func(p []byte) []byte { return awsChunked(p, 1000, true, "") })
	piece("Azure block", "PUT", "?comp=block&blockid=AA==", typed(octets), same)
	piece("Azure append", "PUT", "?comp=appendblock", typed(octets), same)
	piece("Azure block, said twice", "PUT", "?comp=x&comp=block", typed(octets), same)
	piece("Azure Files", "PUT", "?comp=range", with(typed(octets), "X-Ms-Write", "update"), same)
	piece("Azure Data Lake", "PATCH", "?action=append&position=100", typed(octets), same)
	piece("Alibaba append", "POST", "?append&position=100", typed(octets), same)
	piece("S3 append", "PUT", "", with(typed(octets), "X-Amz-Write-Offset-Bytes", "100"), same)
	piece("Backblaze part", "POST", "", with(typed(octets), "X-Bz-Part-Number", "2"), same)
	piece("SabreDAV", "PATCH", "", with(typed("application/x-sabredav-partialupdate"), "X-Update-Range", "append"), same)
	piece("IETF draft, with a parameter", "POST", "", with(typed(octets), "Upload-Complete", "?0;x"), same)
	piece("Google Cloud Storage", "PUT", "", with(typed(octets), "X-Goog-Upload-Command", "upload", "X-Goog-Upload-Offset", "100"), same)
	piece("chunked WebDAV", "PUT", "", with(typed(octets), "OC-Chunked", "1"), same)
	form := func(p []byte) []byte { return form("b", p) }
	piece("resumable.js", "POST", "?resumableChunkNumber=1&resumableTotalChunks=3", typed(formType("b")), form)
	piece("Dropzone", "POST", "?dzchunkindex=0&dztotalchunkcount=2", typed(formType("b")), form)
	whole := func(name, method, query string, h http.Header, body func([]byte) []byte) {
		g.add(Vector{Class: "TR", Name: name, UpOnly: true, Method: method, Query: query, Header: h, Body: body})
	}
	for _, method := range []string{"PUT", "PATCH", "DELETE", "GET", "OPTIONS", "PROPFIND", "REPORT", "PURGE"} {
		whole("method "+method, method, "", typed(octets), same)
	}
	g.add(Vector{Class: "TR", Name: "Content-Range of the whole", UpOnly: true, Long: true, Method: "PUT", Header: with(typed(octets), "Content-Range", "bytes 0-1995/1996"), Body: same})
	whole("one chunk of one", "POST", "?resumableChunkNumber=1&resumableTotalChunks=1", typed(formType("b")), form)
	whole("aws-chunked, not said in Content-Encoding", "PUT", "", with(typed(octets), "X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
		func(p []byte) []byte { return awsChunked(p, 333, true, "") })
	whole("aws-chunked with trailers, not said", "PUT", "", with(typed(octets), "X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
		func(p []byte) []byte { return awsChunked(p, 5000, false, "x-amz-checksum-crc32:AAAAAA==\r\n") })
	whole("override of the method", "POST", "", with(typed(octets), "X-HTTP-Method-Override", "GET"), same)
	whole("If-Range beside a body", "POST", "", with(typed(octets), "Range", "bytes=0-10", "If-Range", `"x"`), same)
	g.add(Vector{
		Class: "TR", Name: "two Content-Type lines", Header: typed(octets, "text/plain"), Body: same,
		Refused: "ambiguous-headers", Setting: SettingUnscannable, Why: "receivers choose another",
	})
}

// responses are ranges and odd forms of answers.
func (g *generator) responses() {
	const octets = "application/octet-stream"
	down := func(v Vector) {
		v.Class, v.DownOnly = "RS", true
		if v.Body == nil {
			v.Body = bytes.Clone
		}
		g.add(v)
	}
	const piece = "a piece: what is beside it was not asked for"
	down(Vector{Name: "206", Status: 206, Header: with(typed(octets), "Content-Range", "bytes 0-1995/9000"), Refused: "partial-content", Setting: SettingPartial, Why: piece})
	down(Vector{Name: "206 without Content-Range", Status: 206, Header: typed(octets), Refused: "partial-content", Setting: SettingPartial, Why: piece})
	down(Vector{Name: "206, gzip", Status: 206, Header: with(coded(octets, "gzip"), "Content-Range", "bytes 5-1995/9000"), Body: gz, Refused: "partial-content", Setting: SettingPartial, Why: piece})
	down(Vector{Name: "several ranges", Status: 206, Header: typed("multipart/byteranges; boundary=r"), Refused: "partial-content", Setting: SettingPartial, Why: piece, Body: func(p []byte) []byte {
		return join("--r\r\nContent-Type: x/y\r\nContent-Range: bytes 0-999/2000\r\n\r\n", p[:50], "\r\n--r\r\nContent-Type: x/y\r\nContent-Range: bytes 1000-1995/2000\r\n\r\n", p, "\r\n--r--\r\n")
	}})
	down(Vector{Name: "several ranges with status 200", Header: typed("multipart/byteranges; boundary=r"), Refused: "partial-content", Setting: SettingPartial, Why: piece, Body: func(p []byte) []byte {
		return join("--r\r\nContent-Range: bytes 0-999/2000\r\n\r\n", p, "\r\n--r--\r\n")
	}})
	down(Vector{Name: "226 delta", Status: 226, Header: with(typed(octets), "IM", "vcdiff"), Refused: "partial-content", Setting: SettingPartial, Why: piece})
	down(Vector{Name: "206 of the whole", Status: 206, Long: true, Header: with(typed(octets), "Content-Range", "bytes 0-1995/1996")})
	for _, status := range []int{201, 203, 299, 300, 302, 400, 401, 404, 416, 500, 503, 599} {
		down(Vector{Name: fmt.Sprintf("status %d", status), Status: status, Header: typed("text/html")})
	}
	for name, kind := range map[string]string{
		"image": "image/png", "style": "text/css", "script": "text/javascript", "font": "font/woff2", "video": "video/mp4", "no": "", "broken": "a b c;;;", "wasm": "application/wasm",
	} {
		down(Vector{Name: "labelled " + name, Header: with(typed(kind), "Content-Disposition", `attachment; filename="a.exe"`)})
	}
	down(Vector{Name: "no-transform and a digest", Header: with(typed(octets), "Cache-Control", "no-transform", "Digest", "sha-256=AAAA", "ETag", `"x"`)})
	down(Vector{Name: "two Content-Encoding lines", Header: coded(octets, "gzip", "br"), Body: func(p []byte) []byte { return br(gz(p)) }})
	down(Vector{
		Name: "mixed replace", Header: typed("multipart/x-mixed-replace; boundary=b"), Refused: "malformed-body", Setting: SettingUnscannable,
		Why: "a stream of pictures has no end", Body: func(p []byte) []byte { return form("b", p) },
	})
}

// sizes are padding and the borders of blocks within which decoders read.
func (g *generator) sizes() {
	const octets = "application/octet-stream"
	for _, n := range []int{64<<10 - 1000, 64<<10 - 1, 64 << 10, 64<<10 + 1, 128<<10 - 30, 300 << 10} {
		g.pass("SZ", fmt.Sprintf("form, %d bytes before the file", n), formType("zz9"), func(p []byte) []byte {
			return join("--zz9\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n", strings.Repeat("x", n), "\r\n--zz9\r\n", fileHeader, "\r\n", p, "\r\n--zz9--\r\n")
		})
		g.pass("SZ", fmt.Sprintf("json, %d bytes before the file", n), "application/json", func(p []byte) []byte {
			return []byte(`{"a":"` + strings.Repeat("x, ", n/3) + strings.Repeat("y", n%3) + `","f":"` + b64(p) + `"}`)
		})
		g.pass("SZ", fmt.Sprintf("xml, %d bytes before the file", n), "text/xml", func(p []byte) []byte {
			return []byte(`<?xml version="1.0"?><a>` + strings.Repeat("z ", n/2) + strings.Repeat("z", n%2) + `<f>` + b64(p) + `</f></a>`)
		})
		g.pass("SZ", fmt.Sprintf("gzip, %d bytes before the file in a tar", n), octets, func(p []byte) []byte {
			return gz(join(tarMember("pad", '0', noise(n), nil), tarMember("a.exe", '0', p, nil), tarEnd()))
		})
		g.pass("SZ", fmt.Sprintf("zip, %d bytes before the file", n), octets, func(p []byte) []byte { return zipOf(stored("pad", noise(n)), deflated("a.exe", p)) })
	}
	g.pass("SZ", "file of 5 MiB in a zip", octets, func(p []byte) []byte { return zipOf(stored("pad", noise(5<<20)), deflated("a.exe", p)) })
	g.pass("SZ", "base64 of 3 MiB around a zip", "application/json", func(p []byte) []byte {
		return []byte(`{"f":"` + b64(zipOf(stored("pad", noise(2<<20)), deflated("a.exe", p))) + `"}`)
	})
}

// noise is n bytes that look like no file and compress badly.
func noise(n int) []byte {
	p := make([]byte, n)
	x := uint64(88172645463325252)
	for i := range p {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		p[i] = byte(x >> 32)
	}
	if n > 0 {
		p[0] = 0x02
	}
	return p
}

// hostile are names and values that must not leave the gate unescaped, and bodies
// whose verdict must not depend on what was seen before.
func (g *generator) hostile() {
	for name, filename := range map[string]string{
		"markup": "<script>alert(1)</script>.exe", "escape sequence": "%1b[2J.exe", "path": "../../../../etc/passwd", "long": strings.Repeat("n", 900), "percent CR LF": "a%0d%0aSet-Cookie: x=y", "UTF-8 overlong": "a\xc0\xaf.exe", "bidi": "a\u202egpj.exe", "quotes": `a\"b; filename=\"c`,
	} {
		g.pass("IN", "file name: "+name, formType("qq"), func(p []byte) []byte {
			return formOf("qq", `Content-Disposition: form-data; name="f"; filename="`+filename+"\"\r\n", p)
		})
	}
	g.pass("IN", "member name with markup", "application/zip", func(p []byte) []byte {
		return zipOf(deflated("<img src=x onerror=alert(1)>\r\nX: y\x1b[31m", p))
	})
	g.add(Vector{Class: "IN", Name: "spoofed verdict header", UpOnly: true, Header: with(typed(""), "X-Portcullis-Verdict", "CLEAN; cause=scanned", "X-Portcullis-Policy", "skip"), Body: bytes.Clone})
	// The same file under other labels: what was cached for one must not serve another.
	same := func(name, cause string, h http.Header, setting string, body func([]byte) []byte) {
		g.add(Vector{Class: "TC", Name: name, Header: h, Body: body, Refused: cause, Setting: setting, Why: "the label alone makes it so"})
	}
	wrapped := func(p []byte) []byte { return form("same", p) }
	same("a form as plain bytes", "", typed("application/octet-stream"), "", wrapped)
	same("the same as a form", "", typed(formType("same")), "", wrapped)
	same("the same under another boundary", "malformed-body", typed(formType("other")), SettingLenient, wrapped)
	same("the same called gzip", "malformed-coding", coded(formType("same"), "gzip"), SettingUnscannable, wrapped)
	same("the same in an unknown coding", "unknown-coding", coded(formType("same"), "x-odd"), SettingUnscannable, wrapped)
	same("the same again as a form", "", typed(formType("same")), "", wrapped)
}
