package content_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/content"
)

// costly are bodies of a mebibyte that make a parser work as hard as we know how.
func costly(t testing.TB) map[string]struct {
	labels scan.Labels
	body   []byte
} {
	t.Helper()
	fill := func(s string) []byte { return bytes.Repeat([]byte(s), 1<<20/len(s)) }
	type body = struct {
		labels scan.Labels
		body   []byte
	}
	form := labelled("multipart/form-data; boundary=b")
	var tokens, names, tags strings.Builder
	for i := 0; tokens.Len() < 1<<20; i++ {
		fmt.Fprintf(&tokens, `"%s",`, b64(noise(66+i%7, uint64(i))))
	}
	for i := 0; names.Len() < 1<<20; i++ {
		fmt.Fprintf(&names, `{"a":"%x"},`, noise(40, uint64(i)))
	}
	for i := 0; tags.Len() < 1<<20; i++ {
		fmt.Fprintf(&tags, "<a%d b='%d'>&#65;", i, i)
	}
	var members []member
	for i := range 9000 {
		members = append(members, member{name: fmt.Sprintf("%s%d", strings.Repeat("a", 40), i), data: []byte("x")})
	}
	tar := fill(string(tarBlockOf("a")))
	return map[string]body{
		"multipart, near-delimiters":        {form, fill("\r\n--bx")},
		"multipart, boundary of dashes":     {labelled("multipart/form-data; boundary=" + strings.Repeat("-", 70)), fill("-")},
		"multipart, broken, many pieces":    {form, fill("--b\n\nx\n")},
		"multipart, header flood":           {form, append([]byte("--b\r\n"), fill("a: b\r\n")...)},
		"multipart, parameter flood":        {labelled("multipart/form-data" + strings.Repeat("; boundary=x", 4000)), fill("--x\r\n\r\n\r\n")},
		"JSON, tokens":                      {labelled("application/json"), []byte(tokens.String())},
		"JSON, hexadecimal":                 {labelled("application/json"), []byte(names.String())},
		"JSON, padding everywhere":          {labelled("application/json"), fill(`"TVqQAAMAAAAEAAAA=//8AALgAAAA=AAAAQAAAA=AAAAAA-AAAAAAAAAAAA=AAAAAAAAAAAAA_AAAAAAAA=AAAAAAAA",`)},
		"JSON, one value, signs everywhere": {labelled("application/json"), append([]byte(`{"f":"TVqQAAMAAAAEAAAA`), fill("A-=")...)},
		"JSON, escapes":                     {labelled("application/json"), append([]byte(`"`), fill(`\u0041`)...)},
		"JSON, bytes":                       {labelled("application/json"), []byte("[" + strings.Repeat("["+strings.Repeat("144,", 70)+"1],", 3600) + "0]")},
		"JSON, one array of bytes":          {labelled("application/json"), append([]byte(`[`), fill("7,")...)},
		"JSON, text with long words":        {labelled("application/json"), fill(`"x!` + strings.Repeat("A", 1400) + `",`)},
		"JSON, hexadecimal in one value":    {labelled("application/json"), append([]byte(`"`), fill("4d:5a ")...)},
		"XML, hexadecimal":                  {labelled("text/xml"), []byte(strings.ReplaceAll(names.String(), `{"a":"`, "<a>"))},
		"gzip, zeros between members":       {labelled(""), fill(string(append(gz(t, []byte("x")), make([]byte, 9)...)))},
		"tar, stray headers":                {labelled(""), append(noise(512, 1), tar...)},
		"zips within":                       {labelled(""), append([]byte(compound+strings.Repeat("\x00", 504)), append(zipOf(t, members...), 'x')...)},
		"JSON, quotes":                      {labelled("application/json"), fill(`"`)},
		"XML, tags and references":          {labelled("text/xml"), []byte(tags.String())},
		"XML, declarations":                 {labelled("text/xml"), append([]byte("<!DOCTYPE a ["), fill("<!ENTITY")...)},
		"XML, ampersands":                   {labelled("text/xml"), fill("&")},
		"urlencoded":                        {labelled("application/x-www-form-urlencoded"), fill("a=b;c=%41+&")},
		"urlencoded, one value":             {labelled("application/x-www-form-urlencoded"), append([]byte("a="), fill("TVqQ+;=")...)},
		"text, uuencode":                    {labelled("text/plain"), fill("begin 644 a\nM\n")},
		"text, escapes":                     {labelled("text/plain"), append([]byte("x"), fill("%41")...)},
		"text, lines of base64":             {labelled("text/plain"), fill(strings.Repeat("QUJD", 19) + "\n")},
		"text, blanks":                      {labelled("text/plain"), fill(" ")},
		"mail, nested":                      {labelled("message/rfc822"), append([]byte("MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n"), fill("--b\nContent-Type: message/rfc822\n\nMIME-Version: 1.0\n\n")...)},
		"mail, fields":                      {labelled("message/rfc822"), append(fill("Content-Type: message/rfc822\n"), "\n\n"...)},
		"mail, blanks":                      {labelled("message/rfc822"), append([]byte("Content-Transfer-Encoding: quoted-printable\n\n"), fill(" ")...)},
		"form without a label":              {labelled(""), fill("a=%4d%5a;b=+c&")},
		"gRPC, empty frames":                {labelled("application/grpc"), fill("\x00\x00\x00\x00\x00")},
		"gRPC, messages of a byte":          {labelled("application/grpc"), fill("\x00\x00\x00\x00\x01x")},
		"gRPC, compressed messages":         {labelled("application/grpc"), fill(string(frame(1, gz(t, []byte("x")))))},
		"gRPC, compressed to nothing":       {labelled("application/grpc"), fill(string(frame(1, gz(t, nil))))},
		"aws-chunked, no label":             {labelled(""), append([]byte("1;\n"), fill("x\n1;a\n")...)},
		"text, escapes of charsets":         {labelled("text/plain; charset=iso-2022-jp"), fill("\x1b(B")},
		"text, many charsets":               {labelled("text/plain" + strings.Repeat("; charset=utf-16; charset=utf-32", 100)), fill("ab\x00\x00")},
		"mailbox":                           {labelled(""), append([]byte("From a@b x\nA: b\n\n"), fill("From a\nMIME-Version: 1.0\n\n")...)},
		"mail, one long header":             {labelled(""), fill("A: b\n")},
		"text, lines of uneven base64":      {labelled("text/plain"), fill("x " + strings.Repeat("A", 20) + "\n" + strings.Repeat("QUJD", 9) + "\nQUJD\n")},
		"text, uuencode without data":       {labelled("text/plain"), append([]byte("begin 644 x\n"), fill("`\n")...)},
		"gzip, empty members":               {labelled("", "gzip"), fill(string(gz(t, nil)))},
		"gzip files in a row":               {labelled(""), fill(string(gz(t, []byte("x"))))},
		"aws-chunked, chunks of a byte":     {labelled("", "aws-chunked"), append(fill("1\r\nx\r\n"), "0\r\n\r\n"...)},
		"tar, headers":                      {labelled(""), tar},
		"zeros":                             {labelled(""), make([]byte, 1<<20)},
		"zip, many members":                 {labelled(""), zipOf(t, members...)},
		"no zip, end records":               {labelled(""), append([]byte("GIF"), fill("PK\x05\x06")...)},
		"zip, end records":                  {labelled(""), append(fill("PK\x05\x06"), "PK\x03\x04"...)},
	}
}

// tarBlockOf is the header of an empty member.
func tarBlockOf(name string) []byte {
	h := make([]byte, 512)
	copy(h, name)
	copy(h[100:], "0000644\x000000000\x000000000\x0000000000000\x0014000000000\x00")
	h[156] = '0'
	copy(h[257:], "ustar\x0000")
	copy(h[148:], "        ")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return h
}

// countingReader counts what is read of a body.
type countingReader struct {
	*bytes.Reader
	n *atomic.Int64
}

func (c countingReader) ReadAt(p []byte, off int64) (int, error) {
	c.n.Add(int64(len(p)))
	return c.Reader.ReadAt(p, off)
}

// The work over a body is in proportion to its size: what is read, what is kept and
// how many objects come of it. No clock is asked; BenchmarkCostly does that.
func TestCostIsLinear(t *testing.T) {
	for name, c := range costly(t) {
		var read atomic.Int64
		store := &memoryStore{}
		objects := 0
		body := bodyObject(c.body)
		body.Content = countingReader{bytes.NewReader(c.body), &read}
		_, closer := content.New(content.Config{Store: store}).Unwrap(context.Background(), body, c.labels, scan.ContentLimits{}, func(scan.Object) { objects++ })
		if err := closer.Close(); err != nil {
			t.Error(err)
		}
		size := int64(len(c.body))
		if read.Load() > 80*size || store.kept > 12*size || objects > 10000 {
			t.Errorf("%s: %d times read, %d times kept, %d objects", name, read.Load()/size, store.kept/size, objects)
		}
	}
}

// BenchmarkCostly tells the time for a mebibyte: 200 ms at most is wanted.
func BenchmarkCostly(b *testing.B) {
	for name, c := range costly(b) {
		b.Run(name, func(b *testing.B) {
			u := content.New(content.Config{Store: &memoryStore{}})
			b.SetBytes(int64(len(c.body)))
			b.ReportAllocs()
			for b.Loop() {
				_, closer := u.Unwrap(context.Background(), bodyObject(c.body), c.labels, scan.ContentLimits{}, func(scan.Object) {})
				_ = closer.Close()
			}
		})
	}
}
