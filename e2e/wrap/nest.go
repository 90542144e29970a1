package wrap

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"strings"
)

// layer is one harmless wrapping: what it makes of a file, and what the result
// is called.
type layer struct {
	name, contentType string
	wrap              func([]byte) []byte
	embeds, forms     bool
}

func layers() []layer {
	const octets = "application/octet-stream"
	return []layer{
		{"zip", "application/zip", func(p []byte) []byte { return zipOf(stored("x", []byte("x")), deflated("a", p)) }, false, false},
		{"zip64", octets, func(p []byte) []byte { e := stored("a", p); e.zip64, e.descriptor = true, true; return zipOf(e) }, false, false},
		{"tar", octets, tarOf, false, false},
		{"gzip file", "application/gzip", gz, false, false},
		{"bzip2 file", octets, bzip2, false, false},
		{"xz file", octets, xzip, false, false},
		{"zstd file", octets, zs, false, false},
		{"form", "multipart/form-data; boundary=nest", func(p []byte) []byte { return formAround(p, "nest") }, false, true},
		{"form, base64 part", "multipart/form-data; boundary=nb", func(p []byte) []byte {
			return formOf("nb", fileHeader+"Content-Transfer-Encoding: base64\r\n", []byte(b64Lines(p, 76, "\r\n")))
		}, false, true},
		{"JSON", "application/json", func(p []byte) []byte { return []byte(`{"id":"x1","f":"` + b64(p) + `"}`) }, true, false},
		{"JSON, data URI", "application/json", func(p []byte) []byte { return []byte(`["data:;base64,` + b64(p) + `"]`) }, true, false},
		{"XML", "text/xml", func(p []byte) []byte {
			return []byte(`<?xml version="1.0"?><f><![CDATA[` + b64Lines(p, 60, "\n") + `]]></f>`)
		}, true, false},
		{"urlencoded", "application/x-www-form-urlencoded", func(p []byte) []byte {
			return []byte("a=b&f=" + strings.NewReplacer("+", "%2B", "=", "%3d").Replace(b64(p)))
		}, true, false},
		{"UTF-16 JSON", "application/json", func(p []byte) []byte { return wide(`{"f":"`+b64(p)+`"}`, binary.LittleEndian, true) }, true, false},
		{"mail", "message/rfc822", func(p []byte) []byte { return []byte(mhtml(p)) }, true, false},
	}
}

// formAround is a form whose boundary does not stand in its content.
func formAround(p []byte, boundary string) []byte { return form(boundary, p) }

// nests are random stacks of two to five wrappings, none of which may end in a
// refusal; the outermost one may wear content codings.
func (g *generator) nests(count int) {
	all := layers()
	for i := range count {
		var stack []layer
		embeds, used := 0, map[string]bool{}
		depth := 2 + g.random.IntN(3)
		for n := range depth {
			l := all[g.random.IntN(len(all))]
			// A form inside a form of the same boundary is no form.
			// An urlencoded form is told by its label alone, which only the outermost has.
			if l.name == "urlencoded" && n < depth-1 {
				continue
			}
			if l.embeds && embeds == 2 || l.forms && used[l.name] || l.name == "mail" && used["mail"] || l.name == "urlencoded" && used["urlencoded"] {
				continue
			}
			used[l.name] = true
			if l.embeds {
				embeds++
			}
			stack = append(stack, l)
		}
		g.nest(i, stack)
	}
}

func (g *generator) nest(i int, stack []layer) {
	var names []string
	contentType := ""
	for _, l := range stack {
		names = append(names, l.name)
		contentType = l.contentType
	}
	h := http.Header{}
	codings := map[string]func([]byte) []byte{"gzip": gz, "br": br, "zstd": zs, "deflate": zl}
	var outer []func([]byte) []byte
	for _, c := range []string{"gzip", "br", "zstd", "deflate"} {
		if g.random.IntN(6) == 0 {
			h.Add("Content-Encoding", c)
			outer = append(outer, codings[c])
			names = append(names, "coded "+c)
		}
	}
	// An urlencoded form is told by its label alone.
	if g.random.IntN(4) != 0 || strings.Contains(contentType, "urlencoded") {
		h.Set("Content-Type", contentType)
	}
	g.add(Vector{Class: "NEST", Name: fmt.Sprintf("%03d %s", i, strings.Join(names, " in ")), Header: h, Body: func(p []byte) []byte {
		for _, l := range stack {
			p = l.wrap(p)
		}
		for _, encode := range outer {
			p = encode(p)
		}
		return p
	}})
}
