package wrap

import (
	"bytes"
	"encoding/binary"
	"strings"

	"github.com/ulikunitz/xz/lzma"
)

// lzmaMember is the stream of method 14 (APPNOTE 5.8).
func lzmaMember(p []byte) []byte {
	var b bytes.Buffer
	w, err := lzma.WriterConfig{EOSMarker: true}.NewWriter(&b)
	if err == nil {
		_, err = w.Write(p)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err) // into memory it cannot fail
	}
	alone := b.Bytes() // properties, then a length of 8 bytes that zip does not have
	return join([]byte{9, 20, 5, 0}, alone[:5], alone[13:])
}

// zips are archives that all readers list alike, and others.
func (g *generator) zips() {
	const kind = "application/zip"
	pass := func(name string, body func([]byte) []byte) { g.pass("AR", "zip: "+name, kind, body) }
	one := func(e func([]byte) zipEntry) func([]byte) []byte {
		return func(p []byte) []byte { return zipOf(stored("readme.txt", []byte("hello")), e(p)) }
	}
	pass("deflated", one(func(p []byte) zipEntry { return deflated("d/a.exe", p) }))
	pass("stored", one(func(p []byte) zipEntry { return stored("a.exe", p) }))
	pass("bzip2", one(func(p []byte) zipEntry { return packed("a.exe", p, 12, bzip2) }))
	pass("lzma", one(func(p []byte) zipEntry { e := packed("a.exe", p, 14, lzmaMember); e.flags = 2; return e }))
	pass("zstd", one(func(p []byte) zipEntry { return packed("a.exe", p, 93, zs) }))
	pass("xz", one(func(p []byte) zipEntry { return packed("a.exe", p, 95, xzip) }))
	pass("descriptor", one(func(p []byte) zipEntry { e := deflated("a.exe", p); e.descriptor = true; return e }))
	pass("descriptor without signature", one(func(p []byte) zipEntry { e := stored("a.exe", p); e.descriptor, e.bareDesc = true, true; return e }))
	pass("zip64 member and end", func(p []byte) []byte {
		e := deflated("a.exe", p)
		e.zip64 = true
		return zipWith(zipOptions{zip64: true}, e, stored("b", []byte("b")))
	})
	pass("comment", func(p []byte) []byte { return zipWith(zipOptions{comment: []byte("made by nobody")}, deflated("a", p)) })
	pass("extra fields", one(func(p []byte) zipEntry { e := deflated("a.exe", p); e.extra = []byte("UT\x05\x00\x03abcd"); return e }))
	pass("same name twice", func(p []byte) []byte { return zipOf(deflated("a.exe", p), stored("a.exe", []byte("harmless"))) })
	pass("a folder that has content", one(func(p []byte) zipEntry { return stored("folder/", p) }))
	pass("in a zip", func(p []byte) []byte { return zipOf(deflated("inner.zip", zipOf(stored("a.exe", p)))) })
	pass("in six zips", func(p []byte) []byte {
		for range 6 {
			p = zipOf(deflated("inner.zip", p))
		}
		return p
	})
	pass("a document (OOXML)", func(p []byte) []byte {
		return zipOf(deflated("[Content_Types].xml", []byte(`<?xml version="1.0"?><Types/>`)), deflated("word/document.xml", []byte("<w/>")), deflated("word/embeddings/oleObject1.bin", p))
	})
	pass("behind an installer, a byte behind", func(p []byte) []byte {
		return join("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", make([]byte, 504), zipOf(deflated("a.class", p)), "x")
	})
	pass("many members", func(p []byte) []byte {
		var all []zipEntry
		for i := range 800 {
			all = append(all, stored("f"+strings.Repeat("x", i%9)+string(rune('a'+i%26)), []byte("some text")))
		}
		return zipOf(append(all, deflated("z.exe", p))...)
	})
	g.ambiguousZips()
	g.refusedZips()
}

// descriptorInside has a stored member that ends at once for those who read it from
// a stream: behind its first bytes stand their descriptor and another entry.
func descriptorInside(p []byte) []byte {
	first := stored("x", []byte("harmless"))
	first.descriptor = true
	data := zipOf(first, deflated("b.exe", p))[31:]
	e := stored("x", data)
	e.descriptor = true
	return zipOf(e)
}

func ptr[T any](v T) *T { return &v }

// ambiguousZips are archives that readers list differently.
func (g *generator) ambiguousZips() {
	harmless := stored("a.txt", []byte("a harmless file"))
	two := func(p []byte, change func(*zipEntry)) []byte {
		e := deflated("b.exe", p)
		change(&e)
		return zipOf(harmless, e)
	}
	entry := func(change func(*zipEntry)) func([]byte) []byte {
		return func(p []byte) []byte { return two(p, change) }
	}
	around := func(o zipOptions) func([]byte) []byte {
		return func(p []byte) []byte { return zipWith(o, harmless, deflated("b.exe", p)) }
	}
	end := func(at int, v ...byte) func([]byte) []byte {
		return around(zipOptions{end: func(r []byte) { copy(r[at:], v) }})
	}
	for name, body := range map[string]func([]byte) []byte{
		"two archives in a row":             func(p []byte) []byte { return join(zipOf(harmless), zipOf(deflated("b", p))) },
		"two archives, harmless last":       func(p []byte) []byte { return join(zipOf(deflated("b", p)), zipOf(harmless)) },
		"archive in the comment":            func(p []byte) []byte { return zipWith(zipOptions{comment: zipOf(deflated("b", p))}, harmless) },
		"archive in the tail":               func(p []byte) []byte { return zipWith(zipOptions{tail: zipOf(deflated("b", p))}, harmless) },
		"archive in a gap":                  func(p []byte) []byte { return zipWith(zipOptions{beforeEnd: zipOf(deflated("b", p))}, harmless) },
		"archive in an extra field":         func(p []byte) []byte { e := harmless; e.extra = extraField(zipOf(deflated("b", p))); return zipOf(e) },
		"bytes in front, not counted":       around(zipOptions{prefix: []byte("in front")}),
		"bytes behind":                      around(zipOptions{tail: []byte("behind")}),
		"zeros behind":                      around(zipOptions{tail: make([]byte, 100)}),
		"bytes between":                     around(zipOptions{gap: []byte("between")}),
		"bytes before the directory":        around(zipOptions{beforeEnd: []byte("before")}),
		"comment length too small":          around(zipOptions{comment: []byte("comment"), end: func(r []byte) { r[20] = 3 }}),
		"comment length too large":          around(zipOptions{comment: []byte("comment"), end: func(r []byte) { r[20] = 30 }}),
		"comment with a signature":          around(zipOptions{comment: []byte("xPK\x05\x06" + strings.Repeat("\x00", 18))}),
		"count too small":                   end(8, 1, 0, 1, 0),
		"directory size too small":          end(12, 60),
		"no end record":                     func(p []byte) []byte { z := zipOf(deflated("b", p)); return z[:len(z)-22] },
		"member in the local headers only":  entry(func(e *zipEntry) { e.noCentral = true }),
		"other method locally":              entry(func(e *zipEntry) { e.localMethod = ptr(uint16(0)) }),
		"other name locally":                entry(func(e *zipEntry) { e.localName = "b.txt" }),
		"other size locally":                entry(func(e *zipEntry) { e.localSize = ptr(uint32(5)) }),
		"other checksum locally":            entry(func(e *zipEntry) { e.localCRC = ptr(uint32(5)) }),
		"encrypted locally":                 entry(func(e *zipEntry) { e.localFlags = ptr(uint16(1)) }),
		"deflated data called stored":       entry(func(e *zipEntry) { e.method = 0; e.size = int64(len(e.data)) }),
		"wrong checksum everywhere":         entry(func(e *zipEntry) { e.crc ^= 1 }),
		"size too small everywhere":         entry(func(e *zipEntry) { e.size = 4 }),
		"size too large everywhere":         entry(func(e *zipEntry) { e.size += 100 }),
		"stored, sizes differ":              entry(func(e *zipEntry) { e.method = 0 }),
		"bytes after the compressed data":   entry(func(e *zipEntry) { e.data = append(bytes.Clone(e.data), "more"...) }),
		"unusual method":                    entry(func(e *zipEntry) { e.method = 6 }),
		"method of 99 without encryption":   entry(func(e *zipEntry) { e.method = 97 }),
		"absolute name":                     entry(func(e *zipEntry) { e.name = "/etc/passwd" }),
		"name that climbs":                  entry(func(e *zipEntry) { e.name = "x/../../b" }),
		"name with backslashes that climbs": entry(func(e *zipEntry) { e.name = `x\..\..\b` }),
		"drive letter":                      entry(func(e *zipEntry) { e.name = "C:b.exe" }),
		"NUL in a name":                     entry(func(e *zipEntry) { e.name = "b.txt\x00.exe" }),
		"symbolic link":                     entry(func(e *zipEntry) { e.creator, e.attributes = 3, 0xa1ff<<16 }),
		"two zip64 fields":                  entry(func(e *zipEntry) { e.zip64 = true; e.extra = extraZip64(1, 1) }),
		"zip64 record that disagrees":       zip64Disagrees,
		"polyglot of PNG and zip":           around(zipOptions{prefix: []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"), countPrefix: true}),
		"polyglot of PDF and zip":           around(zipOptions{prefix: []byte("%PDF-1.4\n1 0 obj<<>>endobj\n"), countPrefix: true, tail: []byte("\n%%EOF\n")}),
		"overlapping members":               overlapping,
		"descriptor inside a stored member": descriptorInside,
		"one member listed twice":           listedTwice,
		"empty archive in front":            func(p []byte) []byte { return join(zipOf(), zipOf(deflated("b", p))) },
		"gzip in front of the archive":      func(p []byte) []byte { return join(gz([]byte("hello")), zipOf(deflated("b", p))) },
		"directory inside another directory": func(p []byte) []byte {
			e := deflated("b.exe", p)
			e.extra = extraField([]byte("PK\x05\x06" + strings.Repeat("\x00", 18)))
			return zipOf(harmless, e)
		},
	} {
		g.add(Vector{
			Class: "AR", Name: "zip: " + name, Header: typed("application/zip"), Body: body,
			Refused: "ambiguous-archive", Setting: SettingCauses, Why: "readers list other members",
		})
	}
	g.add(Vector{
		Class: "AR", Name: "zip: self-extracting program", Header: typed("application/x-msdownload"), Refused: "ambiguous-archive", Setting: SettingSelfExtract,
		Why: "a program in front of an archive", Body: around(zipOptions{prefix: []byte("MZ\x90\x00 a program " + strings.Repeat("\xcc", 900)), countPrefix: true}),
	})
}

func extraField(p []byte) []byte {
	le := binary.LittleEndian
	return append(le.AppendUint16(le.AppendUint16(nil, 0x4242), uint16(len(p))), p...)
}

func extraZip64(size, packed uint64) []byte {
	le := binary.LittleEndian
	return le.AppendUint64(le.AppendUint64(le.AppendUint16(le.AppendUint16(nil, 1), 16), size), packed)
}

func zip64Disagrees(p []byte) []byte {
	return zipWith(zipOptions{zip64: true, end: func(r []byte) { copy(r[8:], "\x01\x00\x01\x00") }}, stored("a", []byte("a")), deflated("b", p))
}

// overlapping has a second member that lies inside the first one's data.
func overlapping(p []byte) []byte {
	inner := stored("b.exe", p)
	outer := stored("a.bin", join(inner.local(), p))
	dir := join(outer.central(0), inner.central(uint32(len(outer.local()))))
	return withDirectory(join(outer.local(), outer.data), dir, 2)
}

func listedTwice(p []byte) []byte {
	e := deflated("b.exe", p)
	return withDirectory(join(e.local(), e.data), join(e.central(0), e.central(0)), 2)
}

func withDirectory(members, dir []byte, count uint16) []byte {
	le := binary.LittleEndian
	end := le.AppendUint16(le.AppendUint16([]byte("PK\x05\x06\x00\x00\x00\x00"), count), count)
	end = le.AppendUint32(le.AppendUint32(end, uint32(len(dir))), uint32(len(members)))
	return join(members, dir, end, []byte{0, 0})
}

// refusedZips are those that nobody can judge.
func (g *generator) refusedZips() {
	refuse := func(name, cause, setting, why string, body func([]byte) []byte) {
		g.add(Vector{Class: "AR", Name: "zip: " + name, Header: typed("application/zip"), Body: body, Refused: cause, Setting: setting, Why: why})
	}
	const locked = "nobody without the password can judge it"
	refuse("encrypted", "encrypted", SettingCauses, locked, func(p []byte) []byte {
		e := stored("a.exe", bytes.Clone(p))
		e.flags = 1
		for i := range e.data {
			e.data[i] ^= 0x55
		}
		return zipOf(e)
	})
	refuse("AES", "encrypted", SettingCauses, locked, func(p []byte) []byte { e := stored("a.exe", p); e.method, e.flags = 99, 1; return zipOf(e) })
	refuse("first volume", "partial-archive", SettingCauses, "the rest is elsewhere", func(p []byte) []byte { return join("PK\x07\x08", zipOf(stored("a", p))) })
	refuse("last volume", "partial-archive", SettingCauses, "the rest is elsewhere", func(p []byte) []byte {
		return zipWith(zipOptions{end: func(r []byte) { r[4], r[6] = 2, 2 }}, stored("a", p))
	})
	refuse("counts differ", "partial-archive", SettingCauses, "members on another volume", func(p []byte) []byte {
		return zipWith(zipOptions{end: func(r []byte) { r[8] = 1 }}, stored("a", []byte("a")), deflated("b.exe", p))
	})
	refuse("deflate64", "unknown-coding", SettingUnscannable, "a method that is not decoded", func(p []byte) []byte { e := stored("a", p); e.method = 9; return zipOf(e) })
	nested := func(n int) func([]byte) []byte {
		return func(p []byte) []byte {
			for range n {
				p = zipOf(deflated("i.zip", p))
			}
			return p
		}
	}
	refuse("in nine zips", "too-deep", SettingUnscannable, "deeper than the limit", nested(9))
	refuse("in forty zips", "too-deep", SettingUnscannable, "deeper than the limit", nested(40))
	refuse("bomb", "bomb", SettingCauses, "expands beyond reason", func(p []byte) []byte {
		return zipOf(stored("a.exe", p), deflated("zeros", make([]byte, 20<<20)))
	})
	refuse("bomb by claim", "bomb", SettingCauses, "claims to expand beyond reason", func(p []byte) []byte {
		e := deflated("a.exe", p)
		e.size = 1<<32 - 2
		return zipOf(e)
	})
}
