package wrap

import (
	"bytes"
	"net/http"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// codings are content codings, well-formed and not.
func (g *generator) codings() {
	pass := func(name string, h http.Header, encode func([]byte) []byte) {
		g.add(Vector{Class: "CE", Name: name, Header: h, Body: encode})
	}
	half := func(encode func([]byte) []byte) func([]byte) []byte {
		return func(p []byte) []byte { return join(encode(p[:len(p)/2]), encode(p[len(p)/2:])) }
	}
	const octets = "application/octet-stream"
	pass("gzip", coded(octets, "gzip"), gz)
	pass("gzip with every field", coded(octets, "GZIP"), gzNamed)
	pass("x-gzip", coded("", " X-gzip "), gz)
	pass("deflate as zlib", coded(octets, "deflate"), zl)
	pass("deflate raw", coded(octets, "deflate"), rawDeflate)
	pass("br", coded(octets, "br"), br)
	pass("br, smallest window", coded(octets, "br"), func(p []byte) []byte { return brWindow(p, 10) })
	pass("br, largest window", coded(octets, "br"), func(p []byte) []byte { return brWindow(p, 24) })
	pass("zstd", coded(octets, "zstd"), zs)
	pass("zstd without checksum", coded(octets, "zstd"), func(p []byte) []byte { return zsWith(p, zstd.WithEncoderCRC(false)) })
	pass("zstd in one segment", coded(octets, "zstd"), func(p []byte) []byte { return zsWith(p, zstd.WithSingleSegment(true)) })
	pass("zstd behind a skippable frame", coded(octets, "zstd"), func(p []byte) []byte { return join(skippable(40), zs(p), skippable(3)) })
	pass("identity beside gzip", coded(octets, "identity, gzip"), gz)
	pass("empty elements", coded(octets, ", gzip ,,"), gz)
	pass("gzip in two members", coded(octets, "gzip"), half(gz))
	pass("gzip, empty member first", coded(octets, "gzip"), func(p []byte) []byte { return join(gz(nil), gz(p)) })
	pass("zstd in two frames", coded(octets, "zstd"), half(zs))
	pass("two codings in one line", coded(octets, "gzip, br"), func(p []byte) []byte { return br(gz(p)) })
	pass("two codings in two lines", coded(octets, "deflate", "zstd"), func(p []byte) []byte { return zs(zl(p)) })
	pass("four codings", coded(octets, "br,zstd", "gzip,deflate"), func(p []byte) []byte { return zl(gz(zs(br(p)))) })
	pass("aws-chunked", coded(octets, "aws-chunked"), func(p []byte) []byte { return awsChunked(p, 700, true, "") })
	pass("aws-chunked in odd sizes with trailers", coded(octets, "aws-chunked"), func(p []byte) []byte {
		return awsChunked(p, 17, false, "x-amz-checksum-crc32:AAAAAA==\r\nx-amz-trailer-signature:00\r\n")
	})
	pass("aws-chunked around gzip", coded(octets, "aws-chunked,gzip"), func(p []byte) []byte { return awsChunked(gz(p), 100, true, "") })
	pass("gzip around a form", coded("multipart/form-data; boundary=zzz", "gzip"), func(p []byte) []byte { return gz(form("zzz", p)) })
	pass("gzip around base64 in JSON", coded("application/json", "gzip"), func(p []byte) []byte { return gz([]byte(`{"f":"` + b64(p) + `"}`)) })

	refuse := func(name, cause, why string, h http.Header, encode func([]byte) []byte) {
		g.add(Vector{Class: "CE", Name: name, Header: h, Body: encode, Refused: cause, Setting: SettingUnscannable, Why: why})
	}
	const malformed, unknown = "malformed-coding", "unknown-coding"
	tail := func(encode func([]byte) []byte, more string) func([]byte) []byte {
		return func(p []byte) []byte { return join(encode(p), more) }
	}
	cut := func(encode func([]byte) []byte, n int) func([]byte) []byte {
		return func(p []byte) []byte { e := encode(p); return e[:len(e)-n] }
	}
	flip := func(encode func([]byte) []byte, at int) func([]byte) []byte {
		return func(p []byte) []byte {
			e := encode(p)
			if at < 0 {
				e[len(e)+at] ^= 0x20
			} else {
				e[at] |= 0x20
			}
			return e
		}
	}
	tails := "receivers differ on bytes after the end"
	for name, c := range map[string]struct {
		coding string
		encode func([]byte) []byte
		why    string
	}{
		"gzip with garbage":           {"gzip", tail(gz, "garbage"), tails},
		"gzip with zeros":             {"gzip", tail(gz, strings.Repeat("\x00", 600)), tails},
		"gzip and half a member":      {"gzip", tail(gz, "\x1f\x8b\x08\x00"), tails},
		"zlib with garbage":           {"deflate", tail(zl, "x"), tails},
		"raw deflate with garbage":    {"deflate", tail(rawDeflate, "xxxx"), tails},
		"br with garbage":             {"br", tail(br, "garbage"), tails},
		"zstd with garbage":           {"zstd", tail(zs, "garbage"), tails},
		"gzip without trailer":        {"gzip", cut(gz, 8), "cut: browsers show what came"},
		"gzip cut in the trailer":     {"gzip", cut(gz, 1), "cut: browsers show what came"},
		"zlib without checksum":       {"deflate", cut(zl, 4), "cut: browsers show what came"},
		"br cut":                      {"br", cut(br, 1), "cut"},
		"zstd cut":                    {"zstd", cut(zs, 1), "cut"},
		"gzip, wrong checksum":        {"gzip", flip(gz, -8), "receivers differ on checking it"},
		"gzip, wrong size":            {"gzip", flip(gz, -1), "receivers differ on checking it"},
		"gzip, reserved flag":         {"gzip", flip(gz, 3), "receivers differ on reserved flags"},
		"label br, content gzip":      {"br", gz, "label and content disagree"},
		"label gzip, content br":      {"gzip", br, "label and content disagree"},
		"label gzip, content zlib":    {"gzip", zl, "label and content disagree"},
		"label deflate, content gzip": {"deflate", gz, "label and content disagree"},
		"label gzip, content plain":   {"gzip", bytes.Clone, "label and content disagree"},
		"label deflate, plain":        {"deflate", bytes.Clone, "label and content disagree"},
		"inner label lies":            {"gzip, br", func(p []byte) []byte { return br(zl(p)) }, "label and content disagree"},
		"aws-chunked cut":             {"aws-chunked", cut(func(p []byte) []byte { return awsChunked(p, 99, true, "") }, 60), "cut"},
		"aws-chunked, wrong size":     {"aws-chunked", func(p []byte) []byte { return join("7d1\r\n", p, "\r\n0\r\n\r\n") }, "readers resynchronise differently"},
		"zstd, window of 128 MiB": {"zstd", func(p []byte) []byte {
			return zsWith(bytes.Repeat(p, 8<<20/len(p)+2), zstd.WithWindowSize(128<<20), zstd.WithSingleSegment(false))
		}, "a window above RFC 9659's 8 MiB"},
		"zstd with a dictionary": {"zstd", func([]byte) []byte { return []byte("\x28\xb5\x2f\xfd\x21\x2a\x01\x09\x00\x00x") }, "needs a dictionary that is not here"},
	} {
		refuse(name, malformed, c.why, coded(octets, c.coding), c.encode)
	}
	for _, coding := range []string{"compress", "x-compress", "xz", "bzip2", "lzma", "lz4", "exi", "pack200-gzip", "aes128gcm", "dcb", "dcz", "sdch", "unheard-of", "gzip;q=1", "base64", "gzip br"} {
		refuse("coding "+coding, unknown, "a coding that is not decoded", coded(octets, coding), gz)
	}
	refuse("unknown coding inside a known one", unknown, "a coding that is not decoded", coded(octets, "xz, gzip"), func(p []byte) []byte { return gz(xzip(p)) })
	five := func(p []byte) []byte { return gz(gz(gz(gz(gz(p))))) }
	refuse("five codings", "too-deep", "more stacked codings than octets sender uses", coded(octets, "gzip,gzip", "gzip", "gzip", "gzip"), five)
	g.codedFrames()
}

// codedFrames are compressed messages of gRPC and its kin.
func (g *generator) codedFrames() {
	for name, c := range map[string]struct {
		kind   string
		encode func([]byte) []byte
	}{
		"grpc, gzip":         {"application/grpc", func(p []byte) []byte { return frames(1, gz(p)) }},
		"grpc+proto, zstd":   {"application/grpc+proto", func(p []byte) []byte { return frames(1, zs(p)) }},
		"grpc, second frame": {"application/grpc", func(p []byte) []byte { return join(frames(0, []byte("x")), frames(1, gz(p))) }},
		"grpc, deflate":      {"application/grpc", func(p []byte) []byte { return frames(1, zl(p)) }},
		"grpc-web, gzip":     {"application/grpc-web+proto", func(p []byte) []byte { return join(frames(1, gz(p)), frames(0x80, []byte("grpc-status: 0\r\n"))) }},
		"grpc-web-text, gzip": {"application/grpc-web-text", func(p []byte) []byte {
			return join(b64(frames(1, gz(p))), b64(frames(0x80, []byte("grpc-status: 0\r\n"))))
		}},
		"connect streaming, gzip": {"application/connect+proto", func(p []byte) []byte { return join(frames(1, gz(p)), frames(2, []byte("{}"))) }},
		"connect streaming, br": {"application/connect+json", func(p []byte) []byte {
			return join(frames(1, br([]byte(`{"f":"`+b64(p)+`"}`))), frames(2, []byte("{}")))
		}},
	} {
		v := Vector{Class: "CE", Name: name, Header: typed(c.kind), Body: c.encode}
		if strings.HasSuffix(name, ", br") {
			v.Refused, v.Setting, v.Why = "unknown-coding", SettingUnscannable, "a message compression that is not decoded"
		}
		g.add(v)
	}
	g.add(Vector{
		Class: "CE", Name: "grpc, cut frame", Header: typed("application/grpc"), Refused: "malformed-body", Setting: SettingUnscannable, Why: "not made of whole frames",
		Body: func(p []byte) []byte { f := frames(1, gz(p)); return f[:len(f)-5] },
	})
}
