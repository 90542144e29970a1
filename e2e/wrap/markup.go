package wrap

import (
	"encoding/binary"
	"fmt"
	"net/url"
	"strings"
)

func (g *generator) markup() {
	xml := func(name, label string, body func(p []byte) string) {
		g.pass("EM", "xml: "+name, label, func(p []byte) []byte { return []byte(body(p)) })
	}
	const label, head = "application/xml", `<?xml version="1.0" encoding="UTF-8"?>`
	references := strings.NewReplacer("A", "&#65;", "B", "&#x42;", "Q", "&#0081;", "=", "&#x3D;")
	split := func(s, with string) string { return s[:101] + with + s[101:] }
	xml("element", label, func(p []byte) string { return head + "<a><f>" + b64(p) + "</f></a>" })
	xml("element in lines", "text/xml", func(p []byte) string { return head + "<a><f>\n" + b64Lines(p, 64, "\n  ") + "</f></a>" })
	xml("CDATA", label, func(p []byte) string { return head + "<f><![CDATA[" + b64(p) + "]]></f>" })
	xml("split by CDATA", label, func(p []byte) string { return head + "<f>" + split(b64(p), "<![CDATA[]]>") + "</f>" })
	xml("in several CDATA", label, func(p []byte) string { return head + "<f><![CDATA[" + split(b64(p), "]]><![CDATA[") + "]]></f>" })
	xml("split by a comment", label, func(p []byte) string { return head + "<f>" + split(b64(p), "<!-- > -- -->") + "</f>" })
	xml("split by an instruction", label, func(p []byte) string { return head + "<f>" + split(b64(p), "<?a b?>") + "</f>" })
	xml("character references", label, func(p []byte) string { return head + "<f>" + references.Replace(b64(p)) + "</f>" })
	xml("references with many zeros", label, func(p []byte) string {
		return head + "<f>" + strings.NewReplacer("A", "&#00000000000000065;", "B", "&#x000000000000042;").Replace(b64(p)) + "</f>"
	})
	xml("hexBinary", label, func(p []byte) string { return head + "<f>" + fmt.Sprintf("%X", p) + "</f>" })
	xml("attribute", label, func(p []byte) string { return head + `<f data='` + references.Replace(b64(p)) + `' x="y"/>` })
	xml("hidden by a false quote", label, func(p []byte) string { return head + `<a x='"'/><f>` + b64(p) + `</f><a x='"'/>` })
	xml("SOAP 1.1", `text/xml; charset=utf-8`, func(p []byte) string {
		return `<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body><up><data xsi:type="xsd:base64Binary">` + b64(p) + `</data></up></soap:Body></soap:Envelope>`
	})
	xml("SOAP without a label", "", func(p []byte) string {
		return `<s:Envelope xmlns:s="x"><s:Body><f>` + b64(p) + `</f></s:Body></s:Envelope>`
	})
	xml("behind blanks, without a label", "text/plain", func(p []byte) string {
		return strings.Repeat("\n", 2000) + `<s:Envelope xmlns:s="x"><f>` + b64(p) + `</f></s:Envelope>`
	})
	xml("XML-RPC", "text/xml", func(p []byte) string {
		return head + "<methodCall><methodName>up</methodName><params><param><value><base64>\n" + b64Lines(p, 76, "\n") + "</base64></value></param></params></methodCall>"
	})
	xml("property list", "", func(p []byte) string {
		return head + "<plist><dict><key>d</key><data>\n\t" + b64Lines(p, 52, "\n\t") + "</data></dict></plist>"
	})
	xml("SVG with an image", "image/svg+xml", func(p []byte) string {
		return `<svg xmlns="http://www.w3.org/2000/svg"><image href="data:application/octet-stream;base64,` + b64(p) + `"/></svg>`
	})
	xml("attribute default in a DOCTYPE", label, func(p []byte) string {
		return head + `<!DOCTYPE f [<!ELEMENT f EMPTY><!ATTLIST f data CDATA "` + b64(p) + `">]><f/>`
	})
	g.pass("EM", "xml: in UTF-16", label, func(p []byte) []byte {
		return wide(`<?xml version="1.0"?><f>`+b64(p)+"</f>", binary.LittleEndian, true)
	})
	g.pass("EM", "xml: in UTF-16 without a mark", label, func(p []byte) []byte { return wide(`<?xml version="1.0"?><f>`+b64(p)+"</f>", binary.BigEndian, false) })
	g.add(Vector{Class: "EM", Name: "xml: script in clear", Text: true, Header: typed(label), Body: func(p []byte) []byte {
		return []byte(head + "<f><![CDATA[" + strings.ReplaceAll(string(p), "]]>", "]]]]><![CDATA[>") + "]]></f>")
	}})
	g.add(Vector{Class: "EM", Name: "xml: script with references", Text: true, Header: typed(label), Body: func(p []byte) []byte {
		return []byte(head + "<f>" + strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "\"", "&quot;", "'", "&apos;", "e", "&#101;").Replace(string(p)) + "</f>")
	}})
	refuse := func(name, why string, body func(p []byte) []byte) {
		g.add(Vector{Class: "EM", Name: "xml: " + name, Header: typed(label), Body: body, Refused: "malformed-body", Setting: SettingUnscannable, Why: why})
	}
	const entities = "what an entity expands to stands nowhere in one piece"
	refuse("entity in parts", entities, func(p []byte) []byte {
		e := b64(p)
		return []byte(head + `<!DOCTYPE f [<!ENTITY a "` + e[:50] + `"><!ENTITY b "` + e[50:] + `">]><f>&a;&b;</f>`)
	})
	refuse("external entity", entities, func(p []byte) []byte {
		return []byte(head + `<!DOCTYPE f [<!ENTITY a SYSTEM "file:///etc/passwd">]><f>&a;` + b64(p) + `</f>`)
	})
	refuse("billion laughs", entities, func(p []byte) []byte {
		var b strings.Builder
		for i := range 9 {
			fmt.Fprintf(&b, `<!ENTITY l%d "%s">`, i+1, strings.Repeat(fmt.Sprintf("&l%d;", i), 10))
		}
		return []byte(head + `<!DOCTYPE f [<!ENTITY l0 "x">` + b.String() + `]><f>&l9;` + b64(p) + `</f>`)
	})
	const charset = "a charset that is not transcoded"
	refuse("in EBCDIC", charset, func(p []byte) []byte { return ebcdic(`<?xml version="1.0" encoding="cp037"?><f>` + b64(p) + `</f>`) })
	refuse("in UTF-7", charset, func(p []byte) []byte {
		return []byte(`<?xml version="1.0" encoding="UTF-7"?>` + utf7(`<f>`+b64(p)+`</f>`))
	})
	g.urlencoded()
}

func (g *generator) urlencoded() {
	const label = "application/x-www-form-urlencoded"
	percent := func(p []byte) string {
		var b strings.Builder
		for _, c := range p {
			fmt.Fprintf(&b, "%%%02x", c)
		}
		return b.String()
	}
	for name, body := range map[string]func(p []byte) string{
		"value":                func(p []byte) string { return url.Values{"f": {string(p)}, "a": {"b"}}.Encode() },
		"all in percents":      func(p []byte) string { return "a=b&f=" + percent(p) },
		"base64":               func(p []byte) string { return "f=" + url.QueryEscape(b64(p)) },
		"base64, bare plus":    func(p []byte) string { return "a=1&f=" + b64(p) + "&b=2" },
		"data URI":             func(p []byte) string { return "f=" + url.QueryEscape("data:x/y;base64,"+b64(p)) },
		"JSON in a value":      func(p []byte) string { return "payload=" + url.QueryEscape(`{"f":"`+b64(p)+`"}`) },
		"semicolon as divider": func(p []byte) string { return "a=b;f=" + url.QueryEscape(b64(p)) },
		"as a name":            func(p []byte) string { return percent(p) },
		"twice, last":          func(p []byte) string { return "f=harmless&f=" + percent(p) },
	} {
		g.pass("EM", "form: "+name, label, func(p []byte) []byte { return []byte(body(p)) })
	}
}
