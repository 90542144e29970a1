package wrap

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// written is what a compressor makes of p. Compressors into memory do not fail;
// one that does has a defect that no test should outlive.
func written(p []byte, open func(io.Writer) (io.WriteCloser, error)) []byte {
	var b bytes.Buffer
	w, err := open(&b)
	if err == nil {
		_, err = w.Write(p)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err)
	}
	return b.Bytes()
}

func gz(p []byte) []byte {
	return written(p, func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil })
}

// gzNamed has every optional field of RFC 1952.
func gzNamed(p []byte) []byte {
	return written(p, func(w io.Writer) (io.WriteCloser, error) {
		z, err := gzip.NewWriterLevel(w, gzip.NoCompression)
		z.Name, z.Comment, z.Extra = "a.exe", "no comment", []byte("AB\x02\x00xx")
		return z, err
	})
}

// gzNames is a gzip member with an optional text of n characters in its header.
func gzNames(p []byte, flag byte, n int) []byte {
	z := gz(p)
	z[3] |= flag
	return join(z[:10], strings.Repeat("n", n), "\x00", z[10:])
}

func zl(p []byte) []byte {
	return written(p, func(w io.Writer) (io.WriteCloser, error) { return zlib.NewWriter(w), nil })
}

func rawDeflate(p []byte) []byte {
	return written(p, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestCompression) })
}

func br(p []byte) []byte { return brWindow(p, 22) }

func brWindow(p []byte, bits int) []byte {
	return written(p, func(w io.Writer) (io.WriteCloser, error) {
		return brotli.NewWriterOptions(w, brotli.WriterOptions{Quality: 5, LGWin: bits}), nil
	})
}

func zs(p []byte) []byte { return zsWith(p) }

func zsWith(p []byte, o ...zstd.EOption) []byte {
	return written(p, func(w io.Writer) (io.WriteCloser, error) {
		return zstd.NewWriter(w, append(o, zstd.WithEncoderConcurrency(1))...)
	})
}

func xzip(p []byte) []byte {
	return written(p, func(w io.Writer) (io.WriteCloser, error) { return xz.WriterConfig{DictCap: 1 << 16}.NewWriter(w) })
}

// skippable is a zstd skippable frame.
func skippable(n int) []byte {
	p := binary.LittleEndian.AppendUint32([]byte("\x5a\x2a\x4d\x18"), uint32(n))
	return append(p, make([]byte, n)...)
}

func b64(p []byte) string { return base64.StdEncoding.EncodeToString(p) }

// b64Lines is base64 in lines of n characters.
func b64Lines(p []byte, n int, end string) string {
	s := b64(p)
	var b strings.Builder
	for len(s) > n {
		b.WriteString(s[:n] + end)
		s = s[n:]
	}
	return b.String() + s + end
}

// quotedPrintable writes every character that is no letter or figure as an
// escape, in lines of at most 76.
func quotedPrintable(p []byte) string {
	var b strings.Builder
	line := 0
	for _, c := range p {
		if line > 72 {
			b.WriteString("=\r\n")
			line = 0
		}
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
			b.WriteByte(c)
			line++
			continue
		}
		fmt.Fprintf(&b, "=%02X", c)
		line += 3
	}
	return b.String()
}

// uuencoded is POSIX uuencode.
func uuencoded(p []byte, end string) string {
	var b strings.Builder
	b.WriteString("begin 644 a.exe" + end)
	for len(p) > 0 {
		line := p[:min(45, len(p))]
		p = p[len(line):]
		b.WriteByte(byte(len(line)) + ' ')
		for len(line) > 0 {
			var g [3]byte
			line = line[copy(g[:], line):]
			for _, v := range []byte{g[0] >> 2, g[0]<<4 | g[1]>>4, g[1]<<2 | g[2]>>6, g[2]} {
				if v &= 0x3f; v == 0 {
					v = '`' - ' '
				}
				b.WriteByte(v + ' ')
			}
		}
		b.WriteString(end)
	}
	return b.String() + "`" + end + "end" + end
}

// wide is text in UTF-16.
func wide(s string, order binary.AppendByteOrder, mark bool) []byte {
	var p []byte
	if mark {
		p = order.AppendUint16(p, 0xfeff)
	}
	for _, u := range utf16.Encode([]rune(s)) {
		p = order.AppendUint16(p, u)
	}
	return p
}

// wider is text in UTF-32.
func wider(s string, order binary.AppendByteOrder, mark bool) []byte {
	var p []byte
	if mark {
		p = order.AppendUint32(p, 0xfeff)
	}
	for _, r := range s {
		p = order.AppendUint32(p, uint32(r))
	}
	return p
}

// utf7 writes all but letters and figures in RFC 2152's escapes.
func utf7(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '\r' || r == '\n' {
			b.WriteRune(r)
			continue
		}
		u := wide(string(r), binary.BigEndian, false)
		b.WriteString("+" + strings.TrimRight(b64(u), "=") + "-")
	}
	return b.String()
}

// ebcdic writes ASCII text in code page 037.
func ebcdic(s string) []byte {
	const low = " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~"
	high := []byte{
		0x40, 0x5a, 0x7f, 0x7b, 0x5b, 0x6c, 0x50, 0x7d, 0x4d, 0x5d, 0x5c, 0x4e, 0x6b, 0x60, 0x4b, 0x61,
		0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0x7a, 0x5e, 0x4c, 0x7e, 0x6e, 0x6f,
		0x7c, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xd1, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6,
		0xd7, 0xd8, 0xd9, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xba, 0xe0, 0xbb, 0xb0, 0x6d,
		0x79, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x91, 0x92, 0x93, 0x94, 0x95, 0x96,
		0x97, 0x98, 0x99, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xc0, 0x4f, 0xd0, 0xa1,
	}
	p := make([]byte, 0, len(s))
	for _, r := range s {
		if k := strings.IndexRune(low, r); k >= 0 {
			p = append(p, high[k])
		} else {
			p = append(p, 0x25) // LF
		}
	}
	return p
}

// awsChunked is the framing of S3's streaming uploads.
func awsChunked(p []byte, size int, signed bool, trailer string) []byte {
	var b bytes.Buffer
	sign := func() string {
		if !signed {
			return ""
		}
		return ";chunk-signature=" + strings.Repeat("0a", 32)
	}
	for len(p) > 0 {
		k := min(size, len(p))
		fmt.Fprintf(&b, "%x%s\r\n", k, sign())
		b.Write(p[:k])
		b.WriteString("\r\n")
		p = p[k:]
	}
	fmt.Fprintf(&b, "0%s\r\n%s\r\n", sign(), trailer)
	return b.Bytes()
}

// frames are gRPC messages.
func frames(flag byte, messages ...[]byte) []byte {
	var p []byte
	for _, m := range messages {
		p = append(p, flag)
		p = binary.BigEndian.AppendUint32(p, uint32(len(m)))
		p = append(p, m...)
	}
	return p
}

func join(parts ...any) []byte {
	var p []byte
	for _, x := range parts {
		switch x := x.(type) {
		case string:
			p = append(p, x...)
		case []byte:
			p = append(p, x...)
		}
	}
	return p
}
