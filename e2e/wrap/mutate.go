package wrap

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// Kinds are the kinds of a [Mutant].
func Kinds() []string { return []string{"multipart", "zip", "tar", "json", "compressed"} }

// Mutant is a body that wraps a file and was damaged at random around it: some
// readers still find the file, others do not.
type Mutant struct {
	Kind                  string
	ContentType, Encoding string
	Body                  []byte
}

// NewMutant makes a mutant of that kind.
func NewMutant(r *rand.Rand, kind string, file []byte) Mutant {
	m := Mutant{Kind: kind}
	switch kind {
	case "multipart":
		m.ContentType, m.Body = mutantForm(r, file)
	case "zip":
		m.ContentType, m.Body = "application/zip", mutantZip(r, file)
	case "tar":
		m.ContentType, m.Body = "application/x-tar", mutantTar(r, file)
	case "json":
		m.ContentType, m.Body = "application/json", mutantJSON(r, file)
	case "compressed":
		m.Encoding, m.Body = mutantCoded(r, file)
	}
	return m
}

func pick[T any](r *rand.Rand, all ...T) T { return all[r.IntN(len(all))] }

// fileMark stands for the file while the text around it is edited.
const fileMark = "\x00\x01FILE\x02"

// edit changes text at random with the tokens given; the mark stays whole.
func edit(r *rand.Rand, s string, times int, tokens []string) string {
	for range times {
		at := r.IntN(len(s) + 1)
		if k := strings.Index(s, fileMark); k >= 0 && at > k && at < k+len(fileMark) {
			at = k
		}
		switch r.IntN(6) {
		case 0:
			end := min(len(s), at+1+r.IntN(5))
			if cut := s[:at] + s[end:]; strings.Count(cut, fileMark) == strings.Count(s, fileMark) {
				s = cut
			}
		case 1:
			s = replaceOne(r, s, "\r\n", pick(r, "\n", "\r", "\r\r\n", "\n\r", "", "\r\n\r\n", " \r\n", "\r\n "))
		case 2:
			lines := strings.SplitAfter(s, "\r\n")
			i, j := r.IntN(len(lines)), r.IntN(len(lines))
			if !strings.Contains(lines[i], fileMark) {
				lines = append(lines[:j], append([]string{lines[i]}, lines[j:]...)...)
			}
			s = strings.Join(lines, "")
		default:
			s = s[:at] + pick(r, tokens...) + s[at:]
		}
	}
	return s
}

func replaceOne(r *rand.Rand, s, old, with string) string {
	n := strings.Count(s, old)
	if n == 0 {
		return s
	}
	skip, at := r.IntN(n), 0
	for range skip {
		at += strings.Index(s[at:], old) + len(old)
	}
	at += strings.Index(s[at:], old)
	return s[:at] + with + s[at+len(old):]
}

func mutantForm(r *rand.Rand, file []byte) (contentType string, body []byte) {
	b := pick(r, "b", "----WebKitFormBoundary7MA4YWxk", "a.b", "x=y", "aa")
	disposition := pick(r, `form-data; name="f"; filename="a.exe"`, `form-data; name="f"`, `form-data; name=f; filename=a`, `attachment; filename="a"`, `form-data; filename*=utf-8''a; name="f"`)
	header := "Content-Disposition: " + disposition + "\r\n"
	if r.IntN(3) > 0 {
		header += "Content-Type: " + pick(r, "application/octet-stream", "text/plain; charset=utf-8", "text/plain; charset=utf-16", "multipart/mixed; boundary=zz", "image/png") + "\r\n"
	}
	content := file
	switch r.IntN(6) {
	case 0:
		header += "Content-Transfer-Encoding: base64\r\n"
		content = []byte(pick(r, b64(file), b64Lines(file, 20, "\r\n"), b64Lines(file, 8, "\n")))
	case 1:
		header += "Content-Transfer-Encoding: quoted-printable\r\n"
		content = []byte(quotedPrintable(file))
	case 2:
		header += "Content-Transfer-Encoding: " + pick(r, "binary", "8bit", "7bit", "x-uuencode") + "\r\n"
	}
	note := "--" + b + "\r\nContent-Disposition: form-data; name=\"n\"\r\n\r\nhello\r\n"
	if r.IntN(6) == 0 {
		header += "Content-Length: " + strconv.Itoa(len(content)) + "\r\n"
	}
	held := fileMark
	if r.IntN(4) == 0 { // within a form of another boundary
		held = "text\r\n--other\r\n" + header + "\r\n" + fileMark + "\r\n--other--\r\n"
	}
	text := "--" + b + "\r\n" + header + "\r\n" + held + "\r\n"
	text = pick(r, note+text, text+note, text) + "--" + b + "--\r\n"
	kind := pick(r, "multipart/form-data", "multipart/form-data", "multipart/mixed", "multipart/related") + "; boundary=" + pick(r, b, `"`+b+`"`)
	tokens := []string{
		"\r\n", "\n", "\r", "--", "-", "--" + b, "--" + b + "--", "\r\n--" + b, "\r\n--" + b + "\r\n", "\r\n--" + b + "--\r\n", "\n--" + b + "\n", b, " ", "\t", ":", ";", `"`, `\`, "=", "'", ",", "\x00", "\x0b", "\xff", "*", "%22",
		"\r\nContent-Transfer-Encoding: base64", "\r\nContent-Disposition: form-data; name=\"g\"", "\r\nContent-Type: multipart/mixed; boundary=" + b, "\r\nX: y", "\r\n z",
	}
	if r.IntN(3) == 0 {
		kind = edit(r, kind, 1+r.IntN(3), []string{
			";", " ", "\t", ",", `"`, "'", `\`, "=", "*", "; boundary=other", "; boundary=" + b, "boundary=" + b + ";", "; BOUNDARY=" + b, "; boundary*=utf-8''" + b, "; boundary*0=" + b, "; charset=utf-16", "; x=\"",
			"; xboundary=other", "; x=\"; boundary=other;\"", "; x=\"boundary=other\"", "=?utf-8?q?other?=", "; boundary*1=other", "multipart/mixed", "(c)", "%" + strconv.FormatInt(int64(b[0]), 16),
		})
		kind = strings.Map(func(c rune) rune {
			if c == '\r' || c == '\n' || c == 0 {
				return ' '
			}
			return c
		}, kind)
	}
	text = edit(r, text, r.IntN(5), tokens)
	return kind, []byte(strings.ReplaceAll(text, fileMark, string(content)))
}

func mutantZip(r *rand.Rand, file []byte) []byte {
	chance := func(n int) bool { return r.IntN(n) == 0 }
	member := func(name string, p []byte) zipEntry {
		e := pick(r, stored, deflated)(name, p)
		e.descriptor, e.bareDesc, e.zip64 = chance(4), chance(2), chance(6)
		for _, lie := range []func(){
			func() { e.localMethod = ptr(pick[uint16](r, 0, 8, 9, 99)) },
			func() { e.localSize = ptr(r.Uint32N(3000)) },
			func() { e.localCRC = ptr(r.Uint32()) },
			func() { e.localFlags = ptr(pick[uint16](r, 0, 1, 8, 0x800, 0x2000)) },
			func() { e.localName = pick(r, "b", "a", "../a", "z/") },
			func() { e.method = pick[uint16](r, 0, 8, 12, 93, 97) },
			func() { e.size = int64(r.IntN(5000)) },
			func() { e.crc ^= 1 },
			func() { e.flags = pick[uint16](r, 1, 2, 8, 0x40, 0x800) },
			func() { e.noCentral = true },
			func() {
				e.extra = pick(r, extraZip64(1, 1), extraZip64(uint64(len(p)), uint64(len(p))), extraField([]byte("x")), []byte("\x01\x00"))
			},
			func() { e.data = append(bytes.Clone(e.data), "trailing"...) },
		} {
			if chance(30) {
				lie()
			}
		}
		return e
	}
	entries := []zipEntry{member("a.exe", file)}
	for range r.IntN(3) {
		entries = append(entries, member(pick(r, "a.exe", "b.txt", "d/"), []byte("harmless content")))
	}
	r.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
	o := zipOptions{zip64: chance(8)}
	other := zipOf(stored("x", []byte("x")))
	for _, field := range []*[]byte{&o.prefix, &o.gap, &o.beforeEnd, &o.comment, &o.tail} {
		if chance(12) {
			*field = pick(r, []byte("junk"), []byte{0}, other, []byte("PK\x05\x06"), []byte("PK\x03\x04"), make([]byte, 30))
		}
	}
	o.countPrefix = chance(2)
	z := zipWith(o, entries...)
	for range r.IntN(4) {
		k := pick(r, "PK\x01\x02", "PK\x03\x04", "PK\x05\x06", "PK\x07\x08", "PK\x06\x06")
		if at := bytes.LastIndex(z, []byte(k)); at >= 0 && chance(2) {
			z[min(len(z)-1, at+4+r.IntN(42))] = pick[byte](r, 0, 1, 8, 0xff, byte(r.IntN(256)))
		}
	}
	return z
}

func mutantTar(r *rand.Rand, file []byte) []byte {
	chance := func(n int) bool { return r.IntN(n) == 0 }
	odd := func(size int64) func([]byte) {
		return func(h []byte) {
			if chance(6) {
				copy(h[124:136], pick(r, "00000000000\x00", "0000000x000\x00", "\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x44", "           7", fmt.Sprintf("%11o ", size+1)))
			}
			if chance(8) {
				copy(h[257:265], pick(r, "ustar  \x00", "ustar\x0000", "\x00\x00\x00\x00\x00\x00\x00\x00", "junkjunk"))
			}
			if chance(20) {
				h[r.IntN(512)] = byte(r.IntN(256))
			}
		}
	}
	member := func(p []byte) []byte {
		kind := byte('0')
		if chance(6) {
			kind = pick[byte](r, 0, '1', '2', '5', '7', 'S', 'L', 'K', 'x', 'g', 'V', 'M', 'Z', 'D')
		}
		return tarMember(pick(r, "a.exe", "d/", "./a", "b"), kind, p, odd(int64(len(p))))
	}
	pax := func() []byte {
		records := paxRecords(pick(r, "path", "size", "GNU.sparse.size", "GNU.sparse.map", "linkpath", "comment", "GNU.sparse.major", "hdrcharset"), pick(r, "a", "102", "0", "1", "0,102", strconv.Itoa(len(file))))
		return tarMember("pax", pick[byte](r, 'x', 'g', 'X'), records, odd(int64(len(records))))
	}
	var t []byte
	for range 1 + r.IntN(4) {
		switch r.IntN(8) {
		case 0:
			t = append(t, pax()...)
		case 1:
			t = append(t, member([]byte("harmless"))...)
		case 2:
			if chance(2) {
				t = append(t, make([]byte, 512*(1+r.IntN(3)))...)
			}
		case 3:
			t = append(t, tarMember("././@LongLink", 'L', []byte("long/name\x00"), nil)...)
		}
	}
	t = append(t, member(file)...)
	if !chance(4) {
		t = append(t, tarEnd()...)
	}
	if chance(8) {
		t = append(t, pick(r, []byte("tail"), tarOf(file), make([]byte, 9000))...)
	}
	return t
}

func mutantJSON(r *rand.Rand, file []byte) []byte {
	value := pick(r, b64(file), strings.TrimRight(b64(file), "="), strings.NewReplacer("+", "-", "/", "_").Replace(b64(file)), b64Lines(file, 19, `\n`), padded(file)+"QUJDREVG")
	value = edit(r, pick(r, "", "", "data:;base64,", "data:a/b,", "base64,")+value, r.IntN(4), []string{"=", "==", " ", `\n`, `\u003d`, `\/`, `\u0041`, "-", "_", "+", "%3D", "%41", "!", ",", "\t", "é", "===="})
	doc := pick(r, `{"a":"x","f":"%s"}`, `["%s"]`, `{"f":"%s","f":""}`, `"%s"`, `{"%s":1}`, "\ufeff"+`{"f":"%s"}`, `{"a":{"b":[{"c":"%s"}]},"d":"e"}`)
	return []byte(strings.Replace(doc, "%s", value, 1))
}

func mutantCoded(r *rand.Rand, file []byte) (coding string, body []byte) {
	type format struct {
		coding string
		encode func([]byte) []byte
	}
	f := pick(r, format{"gzip", gz}, format{"", gz}, format{"gzip", gzNamed}, format{"", gzNamed}, format{"deflate", zl}, format{"br", br}, format{"", bzip2}, format{"", xzip})
	k := r.IntN(len(file))
	body = f.encode(file)
	switch r.IntN(5) {
	case 0:
		body = join(f.encode(file[:k]), f.encode(file[k:]))
	case 1:
		body = join(f.encode(nil), body)
	}
	for range r.IntN(3) {
		switch r.IntN(4) {
		case 0:
			body = append(bytes.Clone(body), pick(r, "x", "\x00", "\x00\x00\x00\x00", "\x1f\x8b", "garbage", "BZh9")...)
		case 1:
			body = body[:len(body)-min(len(body)-1, 1+r.IntN(12))]
		case 2:
			body = bytes.Clone(body)
			body[r.IntN(min(len(body), 24))] ^= 1 << r.IntN(8)
		case 3:
			body = bytes.Clone(body)
			body[len(body)-1-r.IntN(min(len(body), 12))] ^= 1 << r.IntN(8)
		}
	}
	return f.coding, body
}
