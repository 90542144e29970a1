package content_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/content"
)

func compress(t testing.TB, open func(io.Writer) (io.WriteCloser, error), data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := open(&b)
	if err == nil {
		_, err = w.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gz(t testing.TB, data []byte) []byte {
	return compress(t, func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil }, data)
}

func zl(t testing.TB, data []byte) []byte {
	return compress(t, func(w io.Writer) (io.WriteCloser, error) { return zlib.NewWriter(w), nil }, data)
}

func raw(t testing.TB, data []byte) []byte {
	return compress(t, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, 6) }, data)
}

func br(t testing.TB, data []byte) []byte {
	return compress(t, func(w io.Writer) (io.WriteCloser, error) { return brotli.NewWriter(w), nil }, data)
}

func zs(t testing.TB, data []byte, opts ...zstd.EOption) []byte {
	return compress(t, func(w io.Writer) (io.WriteCloser, error) {
		return zstd.NewWriter(w, append([]zstd.EOption{zstd.WithEncoderConcurrency(1)}, opts...)...)
	}, data)
}

func TestCodingsAreUndone(t *testing.T) {
	e := eicar()
	chunked := []byte(fmt.Sprintf("%x;chunk-signature=ab12\r\n%s\r\n0;chunk-signature=cd\r\nx-amz-checksum-crc32: AAAAAA==\r\n\r\n", len(e), e))
	rows := []struct {
		name  string
		body  []byte
		lines []string
		path  string
	}{
		{"gzip", gz(t, e), []string{"gzip"}, "body/gzip"},
		{"x-gzip in odd case", gz(t, e), []string{" X-GZip\t"}, "body/gzip"},
		{"identity counts as none", gz(t, e), []string{"identity, gzip,,"}, "body/gzip"},
		{"zlib deflate", zl(t, e), []string{"deflate"}, "body/deflate"},
		{"raw deflate", raw(t, e), []string{"deflate"}, "body/deflate-raw"},
		{"brotli", br(t, e), []string{"br"}, "body/br"},
		{"zstd", zs(t, e), []string{"zstd"}, "body/zstd"},
		{"stacked over two lines", zs(t, br(t, gz(t, e))), []string{"gzip, br", "zstd"}, "body/zstd/br/gzip"},
		{"four codings", gz(t, gz(t, gz(t, gz(t, e)))), []string{"gzip,gzip,gzip,gzip"}, "body/gzip/gzip/gzip/gzip"},
		{"several members", append(gz(t, e[:20]), gz(t, e[20:])...), []string{"gzip"}, "body/gzip"},
		{"empty member first", append(gz(t, nil), gz(t, e)...), []string{"gzip"}, "body/gzip"},
		{"several zstd frames", append(zs(t, e[:20]), zs(t, e[20:])...), []string{"zstd"}, "body/zstd"},
		{"zstd after a skippable frame", append([]byte("\x50\x2a\x4d\x18\x03\x00\x00\x00abc"), zs(t, e)...), []string{"zstd"}, "body/zstd"},
		{"aws-chunked", chunked, []string{"aws-chunked"}, "body/aws-chunked"},
		{"aws-chunked, trailers of MinIO's client", []byte(fmt.Sprintf("%x\r\n%s\r\n0\r\nx-amz-checksum-crc32c:AAAAAA==\n\r\n\r\n", len(e), e)), []string{"aws-chunked"}, "body/aws-chunked"},
		{"aws-chunked, signed trailers of MinIO's client", []byte(fmt.Sprintf("%x;chunk-signature=ab\r\n%s\r\n0;chunk-signature=cd\r\nx-amz-checksum-crc32c:AAAAAA==\n\r\nx-amz-trailer-signature:ef\r\n\r\n", len(e), e)), []string{"aws-chunked"}, "body/aws-chunked"},
		{"aws-chunked is outermost wherever it stands", []byte(fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(gz(t, e)), gz(t, e))), []string{"aws-chunked,gzip"}, "body/aws-chunked/gzip"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			u := unwrap(t, row.body, labelled("", row.lines...), scan.ContentLimits{}, content.Config{})
			u.wantClean(t)
			u.wantObject(t, row.path, e)
		})
	}
}

// TestChunksAreRecognisedWhateverFollows has the framing of S3 where no label
// announces it: what comes out before a fault counts.
func TestChunksAreRecognisedWhateverFollows(t *testing.T) {
	e := eicar()
	for name, body := range map[string]string{
		"trailers of MinIO's client": "%x\r\n%s\r\n0\r\nx-amz-checksum-crc32c:AAAAAA==\n\r\n\r\n",
		"no last chunk":              "%x;chunk-signature=ab\r\n%s\r\n",
		"odd last chunk":             "%x;chunk-signature=ab\r\n%s\r\nzero\r\n",
		"bare line ends":             "%x;chunk-signature=ab\n%s\n0;chunk-signature=cd\n\n",
		"long extension":             "%x;chunk-signature=" + strings.Repeat("a", 3000) + "\r\n%s\r\n0\r\n\r\n",
	} {
		u := unwrap(t, fmt.Appendf(nil, body, len(e), e), labelled("application/octet-stream"), scan.ContentLimits{}, content.Config{})
		u.wantClean(t)
		if !u.has(e) {
			t.Errorf("%s: the payload is no object; objects %q", name, u.paths)
		}
	}
}

// crafted changes a copy of data.
func crafted(data []byte, change func([]byte)) []byte {
	data = bytes.Clone(data)
	change(data)
	return data
}

func TestFaultyCodingsAreRefusedAndStillScanned(t *testing.T) {
	e := eicar()
	long := bytes.Repeat(e, 5000)
	rows := []struct {
		name   string
		body   []byte
		coding string
		out    []byte // what came out, if anything
	}{
		{"gzip with trailing garbage", append(gz(t, e), "garbage"...), "gzip", e},
		{"gzip with trailing zeros", append(gz(t, e), 0, 0, 0, 0), "gzip", e},
		{"gzip with one byte too many", append(gz(t, e), 0x1f), "gzip", e},
		{"gzip without trailer", gz(t, e)[:len(gz(t, e))-8], "gzip", e},
		{"gzip with a wrong checksum", crafted(gz(t, e), func(b []byte) { b[len(b)-8] ^= 1 }), "gzip", e},
		{"gzip with a wrong size", crafted(gz(t, e), func(b []byte) { b[len(b)-1] ^= 1 }), "gzip", e},
		{"gzip with reserved flags", crafted(gz(t, e), func(b []byte) { b[3] |= 0x20 }), "gzip", e},
		{"zlib with trailing garbage", append(zl(t, e), 'x'), "deflate", e},
		{"zlib with a wrong checksum", crafted(zl(t, e), func(b []byte) { b[len(b)-1] ^= 1 }), "deflate", e},
		{"raw deflate with trailing garbage", append(raw(t, e), 'x'), "deflate", e},
		{"brotli with trailing garbage", append(br(t, e), 'x'), "br", e},
		{"brotli with much trailing garbage", append(br(t, long), make([]byte, 100000)...), "br", long},
		{"brotli cut", br(t, e)[:len(br(t, e))-2], "br", nil},
		{"zstd with trailing garbage", append(zs(t, e), "garbage"...), "zstd", e},
		{"zstd with one byte too many", append(zs(t, e), 0), "zstd", e},
		{"zstd cut", zs(t, e)[:len(zs(t, e))-1], "zstd", nil},
		{"zstd with a window of 128 MiB", zstdWindow(t, 27), "zstd", nil},
		{"zstd with a dictionary", []byte("\x28\xb5\x2f\xfd\x21\x2a\x01\x09\x00\x00x"), "zstd", nil},
		{"label br, content gzip", gz(t, e), "br", e},
		{"label gzip, content zstd", zs(t, e), "gzip", e},
		{"label gzip, content plain", e, "gzip", nil},
		{"label deflate, content plain", e, "deflate", nil},
		{"aws-chunked cut", []byte("44\r\n" + string(e[:10])), "aws-chunked", e[:10]},
		{"aws-chunked with garbage", []byte("a\r\n0123456789xx0\r\n\r\n"), "aws-chunked", []byte("0123456789")},
		{"aws-chunked with bytes after the end", []byte("a\r\n0123456789\r\n0\r\n\r\nrest"), "aws-chunked", []byte("0123456789")},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			u := unwrap(t, row.body, labelled("", row.coding), scan.ContentLimits{}, content.Config{})
			u.wantVerdict(t, scan.OutcomeUnscannable, scan.CauseMalformedCoding)
			if row.out != nil && !u.has(row.out) {
				t.Errorf("what came out is no object; objects %q", u.paths)
			}
		})
	}
}

// zstdWindow makes a frame that announces a window of 1<<log bytes.
func zstdWindow(t testing.TB, log int) []byte {
	t.Helper()
	b := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, byte(log-10) << 3}
	return append(b, 0x09, 0x00, 0x00, 'x')
}

func TestUnknownCodings(t *testing.T) {
	for _, c := range []string{"compress", "x-compress", "xz", "bzip2", "lzma", "lz4", "snappy", "exi", "dcb", "dcz", "sdch", "gzip;q=1", "gzip br", "gzip\x00", "utf-8", "gzip, foo"} {
		u := unwrap(t, eicar(), labelled("", c), scan.ContentLimits{}, content.Config{})
		if u.verdict.Outcome != scan.OutcomeUnscannable || u.verdict.Cause != scan.CauseUnknownCoding {
			t.Errorf("coding %q: verdict %+v", c, u.verdict)
		}
	}
}

func TestTooManyCodings(t *testing.T) {
	u := unwrap(t, eicar(), labelled("", "gzip,gzip", "gzip,gzip,gzip"), scan.ContentLimits{}, content.Config{})
	u.wantVerdict(t, scan.OutcomeUnscannable, scan.CauseTooDeep)
}

func TestCompressedDownloadsAreOpened(t *testing.T) {
	e := eicar()
	rows := []struct {
		name string
		body []byte
		path string
		out  []byte
	}{
		{"gzip", gz(t, e), "body/gzip", e},
		{"gzip in gzip", gz(t, gz(t, e)), "body/gzip/gzip", e},
		{"gzip padded with zeros", append(gz(t, e), make([]byte, 512)...), "body/gzip", e},
		{"gzip cut", gz(t, bytes.Repeat(e, 100))[:100], "", nil},
		{"gzip with reserved flags", crafted(gz(t, e), func(b []byte) { b[3] |= 0xe0 }), "body/gzip-lenient", e},
		{"zstd", zs(t, e), "body/zstd", e},
		{"no gzip at all", []byte("\x1f\x8b\x08 is how gzip begins"), "", nil},
		{"no zstd at all", []byte("\x28\xb5\x2f\xfd\x08 a reserved bit"), "", nil},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			u := unwrap(t, row.body, labelled("application/octet-stream"), scan.ContentLimits{}, content.Config{})
			if row.path != "" {
				u.wantObject(t, row.path, row.out)
			}
			u.wantClean(t)
		})
	}
}

func TestCompressedDownloadBeyondTheDecoderIsRefused(t *testing.T) {
	u := unwrap(t, zstdWindow(t, 27), labelled(""), scan.ContentLimits{}, content.Config{})
	u.wantVerdict(t, scan.OutcomeUnscannable, scan.CauseUnknownCoding)
}

func TestBombs(t *testing.T) {
	zeros := make([]byte, 12<<20)
	rows := []struct {
		name, coding string
		body         []byte
	}{
		{"gzip", "gzip", gz(t, zeros)},
		{"brotli", "br", br(t, zeros)},
		{"zstd", "zstd", zs(t, zeros)},
		{"deflate", "deflate", raw(t, zeros)},
		{"gzip in gzip", "gzip,gzip", gz(t, gz(t, zeros))},
		{"undeclared gzip", "", gz(t, zeros)},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			u := unwrap(t, row.body, labelled("", row.coding), scan.ContentLimits{}, content.Config{})
			u.wantVerdict(t, scan.OutcomePolicy, scan.CauseBomb)
			if u.kept > 9<<20 {
				t.Errorf("%d bytes were decoded before the verdict", u.kept)
			}
		})
	}
}

func TestExpansionLimitComesBeforeTheRatio(t *testing.T) {
	body := br(t, make([]byte, 4<<20))
	u := unwrap(t, body, labelled("", "br"), scan.ContentLimits{MaxExpandedBytes: 1 << 20}, content.Config{})
	u.wantVerdict(t, scan.OutcomeUnscannable, scan.CauseExpansion)
	if len(u.paths) != 0 {
		t.Errorf("a layer over the limit was reported: %q", u.paths)
	}
	exact := bytes.Repeat([]byte("some plain text."), 1<<16)
	unwrap(t, gz(t, exact), labelled("", "gzip"), scan.ContentLimits{MaxExpandedBytes: 1 << 20}, content.Config{}).wantClean(t)
	unwrap(t, gz(t, append(exact, 'x')), labelled("", "gzip"), scan.ContentLimits{MaxExpandedBytes: 1 << 20}, content.Config{}).
		wantVerdict(t, scan.OutcomeUnscannable, scan.CauseExpansion)
}

func TestExpansionIsCountedOverAllLayers(t *testing.T) {
	data := make([]byte, 600<<10)
	for i := range data {
		binary.LittleEndian.PutUint64(data[i&^7:], uint64(i)*0x9e3779b97f4a7c15)
	}
	u := unwrap(t, gz(t, gz(t, data)), labelled("", "gzip,gzip"), scan.ContentLimits{MaxExpandedBytes: 1 << 20}, content.Config{})
	u.wantVerdict(t, scan.OutcomeUnscannable, scan.CauseExpansion)
}

func TestDepthLimit(t *testing.T) {
	body := eicar()
	for range 5 {
		body = gz(t, body)
	}
	unwrap(t, body, labelled(""), scan.ContentLimits{MaxDepth: 5}, content.Config{}).wantClean(t)
	unwrap(t, body, labelled(""), scan.ContentLimits{MaxDepth: 4}, content.Config{}).
		wantVerdict(t, scan.OutcomeUnscannable, scan.CauseTooDeep)
}

func TestEmptyBodyIsClean(t *testing.T) {
	u := unwrap(t, nil, labelled("multipart/form-data", "gzip"), scan.ContentLimits{}, content.Config{})
	u.wantVerdict(t, scan.OutcomeClean, scan.CauseEmpty)
}

func TestFailuresOfOurSideAreErrors(t *testing.T) {
	body := gz(t, eicar())
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	full := &memoryStore{fail: &scan.Error{Kind: scan.KindOverload, Op: "hold a body"}}
	broken := bodyObject(body)
	broken.Content = failingReader{&scan.Error{Kind: scan.KindSpool, Op: "read back", Err: errors.New("disk")}}
	short := bodyObject(body)
	short.Size += 10
	rows := []struct {
		name  string
		ctx   context.Context
		store scan.Store
		body  scan.Object
		cause scan.Cause
	}{
		{"store full", context.Background(), full, bodyObject(body), scan.CauseOverload},
		{"body unreadable", context.Background(), &memoryStore{}, broken, scan.CauseSpool},
		{"body shorter than said", context.Background(), &memoryStore{}, short, scan.CauseSpool},
		{"context ended", ended, &memoryStore{}, bodyObject(body), scan.CauseInternal},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			v, closer := content.New(content.Config{Store: row.store}).Unwrap(row.ctx, row.body, labelled("", "gzip"), scan.ContentLimits{}, func(scan.Object) {})
			if err := closer.Close(); err != nil {
				t.Error(err)
			}
			if v.Outcome != scan.OutcomeError || v.Cause != row.cause {
				t.Errorf("verdict %+v, want ERROR/%s", v, row.cause)
			}
		})
	}
}

type failingReader struct{ err error }

func (f failingReader) ReadAt([]byte, int64) (int, error) { return 0, f.err }

func TestStoreThatTakesLessMakesTheBodyUnscannable(t *testing.T) {
	store := &memoryStore{fail: fmt.Errorf("write: %w", scan.ErrTooLarge)}
	for _, labels := range []scan.Labels{labelled("", "gzip"), labelled("application/json")} {
		body := gz(t, eicar())
		if len(labels.ContentType) > 0 {
			body = []byte(`{"f":"` + b64(eicar()) + `"}`)
		}
		v, closer := content.New(content.Config{Store: store}).Unwrap(t.Context(), bodyObject(body), labels, scan.ContentLimits{}, func(scan.Object) {})
		if err := closer.Close(); err != nil || v.Outcome != scan.OutcomeUnscannable || v.Cause != scan.CauseExpansion {
			t.Errorf("verdict %+v (error %v)", v, err)
		}
	}
}

func TestDefectIsAnError(t *testing.T) {
	store := &memoryStore{}
	v, closer := content.New(content.Config{Store: store}).Unwrap(t.Context(), bodyObject(gz(t, eicar())), labelled("", "gzip"), scan.ContentLimits{}, func(scan.Object) {
		panic("a defect")
	})
	if v.Outcome != scan.OutcomeError || v.Cause != scan.CauseInternal {
		t.Errorf("verdict %+v", v)
	}
	if err := closer.Close(); err != nil || store.open != 0 {
		t.Errorf("%d layers are open (error %v)", store.open, err)
	}
}

func FuzzCodings(f *testing.F) {
	e := eicar()
	for _, b := range [][]byte{gz(f, e), zl(f, e), raw(f, e), br(f, e), zs(f, e), []byte("3\r\nabc\r\n0\r\n\r\n")} {
		for _, c := range []string{"gzip", "deflate", "br", "zstd", "aws-chunked", "gzip, br", ""} {
			f.Add(b, c)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte, coding string) {
		u := unwrap(t, body, labelled("", coding), scan.ContentLimits{MaxExpandedBytes: 16 << 20}, content.Config{})
		if u.verdict.Outcome == scan.OutcomeError {
			t.Fatalf("content led to an ERROR: %+v", u.verdict)
		}
		if u.verdict.Outcome != scan.OutcomeClean || strings.TrimSpace(coding) != "gzip" || len(body) == 0 {
			return
		}
		r, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			t.Fatalf("accepted gzip that the standard library refuses: %v", err)
		}
		out, err := io.ReadAll(r)
		if err != nil || len(out) > 0 && !u.has(out) && !bytes.Equal(out, body) {
			t.Fatalf("the standard library reads something else (error %v)", err)
		}
	})
}
