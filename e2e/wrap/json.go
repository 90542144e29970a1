package wrap

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// escaped writes every character of s as a JSON escape.
func escaped(s string) string {
	var b strings.Builder
	for i, c := range s {
		if i%2 == 0 {
			fmt.Fprintf(&b, `\u%04X`, c)
		} else {
			fmt.Fprintf(&b, `\u%04x`, c)
		}
	}
	return b.String()
}

// jsonBytes writes an array of bytes, or an object when the form has names.
func jsonBytes(p []byte, form string) string {
	words := make([]string, len(p))
	for i, c := range p {
		words[i] = fmt.Sprintf(strings.Replace(form, "%d", "%[1]d", 1), c, i)
	}
	if strings.HasPrefix(form, `"`) {
		return "{" + strings.Join(words, ",") + "}"
	}
	return "[" + strings.Join(words, ",") + "]"
}

func jsonString(p []byte) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "/", `\/`).Replace(string(p)) + `"`
}

func (g *generator) json() {
	const label = "application/json"
	doc := func(name string, body func(p []byte) string) {
		g.pass("EM", "json: "+name, label, func(p []byte) []byte { return []byte(body(p)) })
	}
	in := func(name string, value func(p []byte) string) {
		doc(name, func(p []byte) string { return `{"name":"a.exe","data":"` + value(p) + `","n":1}` })
	}
	in("base64", b64)
	in("base64url", base64.URLEncoding.EncodeToString)
	in("base64url without padding", base64.RawURLEncoding.EncodeToString)
	in("base64 without padding", base64.RawStdEncoding.EncodeToString)
	in("base64 in lines, escaped", func(p []byte) string { return b64Lines(p, 76, `\r\n`) })
	in("base64 in lines of 4", func(p []byte) string { return b64Lines(p, 4, `\n`) })
	in("base64 with blanks and tabs", func(p []byte) string { return b64Lines(p, 11, ` \t`) })
	in("base64, slashes escaped", func(p []byte) string { return strings.NewReplacer("/", `\/`, "+", `\u002b`).Replace(b64(p)) })
	in("base64, all escaped", func(p []byte) string { return escaped(b64(p)) })
	in("base64 behind blanks", func(p []byte) string { return strings.Repeat(" ", 300) + b64(p) })
	in("data URI", func(p []byte) string { return "data:application/octet-stream;base64," + b64(p) })
	in("data URI with parameters", func(p []byte) string { return "DATA:text/plain;charset=utf-8;name=a;BASE64," + b64(p) })
	in("base64 behind a prefix", func(p []byte) string { return "image/png;base64," + b64(p) })
	in("data URI with percent escapes", func(p []byte) string {
		return "data:;base64," + strings.NewReplacer("+", "%2B", "/", "%2f", "=", "%3D", "A", "%41").Replace(b64(p))
	})
	in("base64 with foreign characters", func(p []byte) string { return strings.ReplaceAll(b64(p), "A", "*A!") })
	doc("text after the padding", func(p []byte) string { return `{"f":"` + padded(p) + `QUJD"}` })
	doc("padding in the middle", func(p []byte) string { e := b64(p); return `{"f":"` + e[:102] + "=" + e[102:] + `"}` })
	doc("padding after three in the middle", func(p []byte) string { e := b64(p); return `{"f":"` + e[:103] + "=" + e[103:] + `"}` })
	doc("bytes of a Buffer", func(p []byte) string { return `{"type":"Buffer","data":` + jsonBytes(p, "%d") + `}` })
	doc("typed array", func(p []byte) string { return jsonBytes(p, `"%[2]d":%[1]d`) })
	doc("signed bytes", func(p []byte) string {
		var words []string
		for _, c := range p {
			words = append(words, fmt.Sprint(int8(c))) //nolint:gosec // as Java writes them
		}
		return `{"f":[` + strings.Join(words, ", ") + `]}`
	})
	doc("hexadecimal", func(p []byte) string { return `{"f":"` + hex.EncodeToString(p) + `"}` })
	doc("array", func(p []byte) string { return `["x",["` + b64(p) + `"]]` })
	doc("a string alone", func(p []byte) string { return `"` + b64(p) + `"` })
	doc("as a key", func(p []byte) string { return `{"` + b64(p) + `":1}` })
	doc("duplicate keys, first", func(p []byte) string { return `{"f":"` + b64(p) + `","f":"harmless"}` })
	doc("duplicate keys, last", func(p []byte) string { return `{"f":"harmless","f":"` + b64(p) + `"}` })
	doc("deep", func(p []byte) string {
		return strings.Repeat(`{"a":[`, 5000) + `"` + b64(p) + `"` + strings.Repeat(`]}`, 5000)
	})
	doc("not closed", func(p []byte) string { return `{"f":"` + b64(p) })
	doc("NDJSON", func(p []byte) string { return "{\"a\":1}\n{\"f\":\"" + b64(p) + "\"}\n" })
	doc("trailing data", func(p []byte) string { return `{"a":1} trailing "` + b64(p) + `"` })
	doc("with comments", func(p []byte) string { return "{/* \" */ 'f': '" + b64(p) + "' // \"\n}" })
	doc("unquoted keys, single quotes", func(p []byte) string { return `{f:'` + b64(p) + `'}` })
	doc("JSON in a string", func(p []byte) string { return `{"j":` + jsonString([]byte(`{"f":"`+b64(p)+`"}`)) + `}` })
	doc("base64 of base64", func(p []byte) string { return `{"f":"` + b64([]byte(b64(p))) + `"}` })
	doc("gzip in base64", func(p []byte) string { return `{"f":"` + b64(gz(p)) + `"}` })
	doc("zip in base64", func(p []byte) string { return `{"f":"` + b64(zipOf(deflated("a", p))) + `"}` })
	doc("JSON in base64 in JSON", func(p []byte) string { return `{"f":"` + b64([]byte(`{"g":"`+b64(p)+`"}`)) + `"}` })
	doc("byte order mark", func(p []byte) string { return "\ufeff" + `{"f":"` + b64(p) + `"}` })
	doc("among many tokens", func(p []byte) string {
		var b strings.Builder
		for i := range 3000 {
			fmt.Fprintf(&b, `{"id":"%016x%016x","at":%d},`, g.hash(i), g.hash(i+1), i)
		}
		return "[" + b.String() + `"` + b64(p) + `"]`
	})
	doc("GraphQL variable", func(p []byte) string {
		return `{"query":"mutation U($f:String!){up(f:$f)}","variables":{"f":"` + b64(p) + `"}}`
	})
	text := func(name, label string, body func(s string) []byte) {
		g.add(Vector{Class: "EM", Name: "json: " + name, Text: true, Header: typed(label), Body: func(p []byte) []byte { return body(string(p)) }})
	}
	text("script in clear", label, func(s string) []byte { return []byte(`{"f":` + jsonString([]byte(s)) + `}`) })
	text("script, all escaped", label, func(s string) []byte { return []byte(`{"f":"` + escaped(s) + `"}`) })
	small := func(p []byte) string { return `{"f":"` + b64(p) + `"}` }
	for name, encode := range map[string]func(string) []byte{
		"UTF-16LE with a mark": func(s string) []byte { return wide(s, binary.LittleEndian, true) },
		"UTF-16BE":             func(s string) []byte { return wide(s, binary.BigEndian, false) },
		"UTF-16LE":             func(s string) []byte { return wide(s, binary.LittleEndian, false) },
		"UTF-32LE with a mark": func(s string) []byte { return wider(s, binary.LittleEndian, true) },
		"UTF-32BE":             func(s string) []byte { return wider(s, binary.BigEndian, false) },
	} {
		g.pass("EM", "json: in "+name, label, func(p []byte) []byte { return encode(small(p)) })
	}
	for name, kind := range map[string]string{
		"no label": "", "text": "text/plain;charset=UTF-8", "octet-stream": "application/octet-stream", "problem+json": "application/problem+json", "vendor": "application/vnd.x.v1+JSON; a=b", "html": "text/html", "form": "application/x-www-form-urlencoded",
	} {
		g.pass("EM", "json: labelled "+name, kind, func(p []byte) []byte { return []byte(small(p)) })
	}
	g.pass("EM", "json: no label, behind blanks", "text/plain", func(p []byte) []byte { return []byte(strings.Repeat(" \n", 40000) + small(p)) })
	for _, e := range []string{"as text", "in base64"} {
		depth := 6
		g.add(Vector{
			Class: "EM", Name: "json: six levels " + e, Header: typed(label), Refused: "too-deep", Setting: SettingUnscannable, Why: "nested beyond the limit",
			Body: func(p []byte) []byte {
				s := small(p)
				for range depth {
					if e == "as text" {
						s = `{"j":` + jsonString([]byte(s)) + `}`
					} else {
						s = small([]byte(s))
					}
				}
				return []byte(s)
			},
		})
	}
}

// padded is base64 that ends in padding and that Node's and Python's decoders
// end there, for files of any length: what follows is not theirs.
func padded(p []byte) string {
	e := b64(p)
	if strings.HasSuffix(e, "=") {
		return e
	}
	return e + "="
}

func (g *generator) hash(i int) uint64 { return uint64(i+1) * 0x9e3779b97f4a7c15 }
