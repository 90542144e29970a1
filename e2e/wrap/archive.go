package wrap

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

// tarHeader is one block of 512 bytes, in the old form that every reader takes.
func tarHeader(name string, kind byte, size int64, change func([]byte)) []byte {
	h := make([]byte, 512)
	copy(h, name)
	copy(h[100:], "0000644\x000000000\x000000000\x00")
	copy(h[124:], fmt.Sprintf("%011o\x00", size))
	copy(h[136:], "14000000000\x00")
	h[156] = kind
	copy(h[257:], "ustar\x0000")
	if change != nil {
		change(h)
	}
	copy(h[148:], "        ")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return h
}

func tarMember(name string, kind byte, p []byte, change func([]byte)) []byte {
	return join(tarHeader(name, kind, int64(len(p)), change), p, make([]byte, (512-len(p)%512)%512))
}

func tarEnd() []byte { return make([]byte, 1024) }

func tarOf(p []byte) []byte {
	return join(tarMember("readme", '0', []byte("hello"), nil), tarMember("a.exe", '0', p, nil), tarEnd())
}

// paxRecords is the content of an extended header.
func paxRecords(pairs ...string) []byte {
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		rest := " " + pairs[i] + "=" + pairs[i+1] + "\n"
		n := len(rest) + 1
		for len(fmt.Sprint(n))+len(rest) != n {
			n++
		}
		fmt.Fprintf(&b, "%d%s", n, rest)
	}
	return []byte(b.String())
}

func (g *generator) otherArchives() {
	pass := func(name string, body func([]byte) []byte) { g.pass("AR", name, "application/octet-stream", body) }
	pass("tar", tarOf)
	pass("tar of 1979, without ustar", func(p []byte) []byte {
		return join(tarMember("a.exe", 0, p, func(h []byte) { clear(h[257:265]) }), tarEnd())
	})
	pass("tar by Go with a long name", func(p []byte) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		if err := w.WriteHeader(&tar.Header{Name: strings.Repeat("long/", 60) + "ü.exe", Mode: 0o600, Size: int64(len(p))}); err != nil {
			panic(err) // into memory it cannot fail
		}
		_, _ = w.Write(p)
		_ = w.Close()
		return b.Bytes()
	})
	pass("tar, GNU long name", func(p []byte) []byte {
		return join(tarMember("././@LongLink", 'L', []byte(strings.Repeat("d/", 80)+"a.exe\x00"), nil), tarMember("a.exe", '0', p, nil), tarEnd())
	})
	pass("tar, pax path", func(p []byte) []byte {
		return join(tarMember("PaxHeaders/a", 'x', paxRecords("path", "ä.exe", "mtime", "1.5"), nil), tarMember("a.exe", '0', p, nil), tarEnd())
	})
	pass("tar, global pax comment", func(p []byte) []byte {
		return join(tarMember("pax_global_header", 'g', paxRecords("comment", "4f0c"), nil), tarMember("a.exe", '0', p, nil), tarEnd())
	})
	pass("tar, size in binary", func(p []byte) []byte {
		return join(tarMember("a.exe", '0', p, func(h []byte) {
			clear(h[124:136])
			h[124] = 0x80
			binary.BigEndian.PutUint32(h[132:], uint32(len(p)))
		}), tarEnd())
	})
	pass("tar, checksum with a character behind", func(p []byte) []byte {
		t := tarOf(p)
		t[155] = 'x'
		return t
	})
	pass("tar behind a block of other bytes", func(p []byte) []byte { return join(strings.Repeat("j", 512), tarOf(p)) })
	pass("tar with a vendor's type", func(p []byte) []byte { return join(tarMember("a.exe", 'Z', p, nil), tarEnd()) })
	for name, encode := range map[string]func([]byte) []byte{"gzip": gz, "bzip2": bzip2, "xz": xzip, "zstd": zs} {
		pass(name+" file", encode)
		pass(name+" file in two parts", func(p []byte) []byte { return join(encode(p[:70]), encode(p[70:])) })
		pass("tar in a "+name+" file", func(p []byte) []byte { return encode(tarOf(p)) })
		pass(name+" file with garbage behind", func(p []byte) []byte { return join(encode(p), "garbage that nobody reads") })
	}
	pass("gzip file with reserved flags", func(p []byte) []byte { z := gz(p); z[3] |= 0xc0; return z })
	pass("gzip file, cut after the data", func(p []byte) []byte { z := gz(p); return z[:len(z)-8] })
	pass("gzip file with a long name", func(p []byte) []byte { return gzNames(p, 8, 70_000) })
	pass("gzip file, second member with a long comment", func(p []byte) []byte { return join(gz(p[:70]), gzNames(p[70:], 16, 600)) })
	pass("gzip file with a wrong sum of its header", func(p []byte) []byte { z := gz(p); z[3] |= 2; return join(z[:10], "\x01\x02", z[10:]) })
	pass("gzip file, zeros between members", func(p []byte) []byte { return join(gz(p[:70]), make([]byte, 512), gz(p[70:])) })
	pass("zstd file behind a skippable frame", func(p []byte) []byte { return join(skippable(9), zs(p)) })
	pass("zip in tar in gzip in xz", func(p []byte) []byte { return xzip(gz(tarOf(zipOf(deflated("a", p))))) })
	for name, body := range map[string]func([]byte) []byte{
		"two sizes": func(p []byte) []byte {
			return join(tarMember("PaxHeaders/a", 'x', paxRecords("size", fmt.Sprint(len(p))), nil), tarHeader("a.exe", '0', 0, nil), p, make([]byte, (512-len(p)%512)%512), tarEnd())
		},
		"two sizes, binary": func(p []byte) []byte {
			return join(tarMember("PaxHeaders/a", 'x', paxRecords("size", fmt.Sprint(len(p))), nil),
				tarHeader("a.exe", '0', 0, func(h []byte) { clear(h[124:136]); h[124], h[135] = 0x80, 7 }), p, make([]byte, (512-len(p)%512)%512), tarEnd())
		},
		"size for all members": func(p []byte) []byte {
			return join(tarMember("pax_global_header", 'g', paxRecords("size", fmt.Sprint(len(p))), nil), tarMember("a.exe", '0', p[:9], nil), tarMember("b", '0', p, nil), tarEnd())
		},
		"sparse (GNU)": func(p []byte) []byte {
			return join(tarHeader("a.exe", 'S', int64(len(p)), func(h []byte) {
				copy(h[386:], fmt.Sprintf("%011o\x00%011o\x00", 0, len(p)))
				copy(h[483:], fmt.Sprintf("%011o\x00", len(p)))
			}), p, make([]byte, (512-len(p)%512)%512), tarEnd())
		},
		"sparse (star)": func(p []byte) []byte {
			return join(tarMember("PaxHeaders/a", 'x', paxRecords("SCHILY.realsize", fmt.Sprint(len(p))), nil), tarMember("a.exe", '0', join(p, "more"), nil), tarEnd())
		},
		"checksum in binary": func(p []byte) []byte {
			t := tarOf(p)
			copy(t[148:], "        ")
			sum := 0
			for _, c := range t[:512] {
				sum += int(c)
			}
			copy(t[148:], []byte{0x80, 0, 0, 0, 0, 0, byte(sum >> 8), byte(sum)})
			return t
		},
		"sparse (pax)": func(p []byte) []byte {
			return join(tarMember("PaxHeaders/a", 'x', paxRecords("GNU.sparse.major", "1", "GNU.sparse.minor", "0", "GNU.sparse.name", "b", "GNU.sparse.realsize", fmt.Sprint(len(p))), nil),
				tarMember("a.exe", '0', join("1\n0\n", fmt.Sprint(len(p)), "\n", make([]byte, 504-len(fmt.Sprint(len(p)))), "\n\n\n", p), nil), tarEnd())
		},
		"content after the end":      func(p []byte) []byte { return join(tarMember("a", '0', []byte("a"), nil), tarEnd(), tarOf(p)) },
		"one block of zeros between": func(p []byte) []byte { return join(tarMember("a", '0', []byte("a"), nil), make([]byte, 512), tarOf(p)) },
		"absolute name":              func(p []byte) []byte { return join(tarMember("/etc/cron.d/a", '0', p, nil), tarEnd()) },
		"name that climbs":           func(p []byte) []byte { return join(tarMember("a/../../b", '0', p, nil), tarEnd()) },
		"through a link": func(p []byte) []byte {
			return join(tarHeader("d", '2', 0, func(h []byte) { copy(h[157:], "/etc") }), tarMember("d/passwd", '0', p, nil), tarEnd())
		},
		"content of a link": func(p []byte) []byte {
			return join(tarMember("a", '2', p, func(h []byte) { copy(h[157:], "b") }), tarEnd())
		},
		"content of a folder":   func(p []byte) []byte { return join(tarMember("a/", '5', p, nil), tarEnd()) },
		"a cut member":          func(p []byte) []byte { return join(tarHeader("a", '0', int64(len(p))+900, nil), p) },
		"a wrong second header": func(p []byte) []byte { t := tarOf(p); t[1024] ^= 1; return t },
		"a continued member":    func(p []byte) []byte { return join(tarMember("a", 'M', p, nil), tarEnd()) },
	} {
		g.add(Vector{
			Class: "AR", Name: "tar: " + name, Header: typed("application/x-tar"), Body: body,
			Refused: "ambiguous-archive", Setting: SettingCauses, Why: "readers take other members",
		})
	}
	refuse := func(name, cause, setting, why string, body func([]byte) []byte) {
		g.add(Vector{Class: "AR", Name: name, Header: typed("application/octet-stream"), Body: body, Refused: cause, Setting: setting, Why: why})
	}
	refuse("bzip2 file with a randomised block", "unknown-coding", SettingUnscannable, "only some decoders read it", func(p []byte) []byte {
		z := bzip2(p)
		z[14] |= 0x80
		return z
	})
	refuse("zstd file of an old format", "unknown-coding", SettingUnscannable, "decoders of that time read it", func(p []byte) []byte {
		z := zs(p)
		z[0] = 0x27
		return z
	})
	for name, head := range map[string]string{
		"7z, encrypted":        "",
		"rar 5, encrypted":     "Rar!\x1a\x07\x01\x00\x00\x00\x00\x00\x21\x04\x00\x00\x01\x0f",
		"rar 4, encrypted":     "Rar!\x1a\x07\x00\x00\x00\x73\x80\x00\x0d\x00\x00\x00\x00\x00\x00\x00",
		"Office, encrypted":    "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + strings.Repeat("\x00", 504) + string(wide("EncryptedPackage", binary.LittleEndian, false)),
		"rar 4, first volume":  "Rar!\x1a\x07\x00\x00\x00\x73\x01\x00\x0d\x00\x00\x00\x00\x00\x00\x00",
		"rar 5, second volume": "Rar!\x1a\x07\x01\x00\x00\x00\x00\x00\x05\x01\x00\x03\x01\x00",
	} {
		cause := "encrypted"
		if strings.Contains(name, "volume") {
			cause = "partial-archive"
		}
		if head == "" {
			refuse(name, cause, SettingCauses, "nobody without the password can judge it", sevenZip)
			continue
		}
		refuse(name, cause, SettingCauses, "nobody can judge it", func(p []byte) []byte { return join(head, p) })
	}
	refuse("gzip bomb", "bomb", SettingCauses, "expands beyond reason", func(p []byte) []byte { return gz(join(p, make([]byte, 20<<20))) })
	refuse("gzip bombs in each other", "bomb", SettingCauses, "expands beyond reason", func(p []byte) []byte { return gz(gz(gz(join(p, make([]byte, 20<<20))))) })
}

// sevenZip is the frame of an archive whose header names the AES coder.
func sevenZip(p []byte) []byte {
	le := binary.LittleEndian
	header := []byte("\x17\x06\x00\x01\x09\x00\x07\x0b\x01\x00\x01\x24\x06\xf1\x07\x01\x0a\x00")
	start := le.AppendUint64(le.AppendUint64(nil, uint64(len(p))), uint64(len(header)))
	return join("7z\xbc\xaf\x27\x1c\x00\x04\x00\x00\x00\x00", start, []byte{0, 0, 0, 0}, p, header)
}
