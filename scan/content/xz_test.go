package content_test

import (
	"archive/zip"
	"bytes"
	"hash/crc32"
	"io"
	"testing"

	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/content"
)

func xzOf(t testing.TB, c xz.WriterConfig, data []byte) []byte {
	return compress(t, func(w io.Writer) (io.WriteCloser, error) { return c.NewWriter(w) }, data)
}

func TestXZFilesAreOpened(t *testing.T) {
	e := eicar()
	long := bytes.Repeat(noise(1000, 1), 300)
	rows := []struct {
		name string
		body []byte
		want []byte
	}{
		{"CRC-64", xzOf(t, xz.WriterConfig{}, e), e},
		{"CRC-32", xzOf(t, xz.WriterConfig{CheckSum: xz.CRC32}, e), e},
		{"SHA-256", xzOf(t, xz.WriterConfig{CheckSum: xz.SHA256}, long), long},
		{"dictionary larger than needed", xzOf(t, xz.WriterConfig{DictCap: 64 << 20}, e), e},
		{"no check", xzOf(t, xz.WriterConfig{NoCheckSum: true}, e), e},
		{"several blocks", xzOf(t, xz.WriterConfig{BlockSize: 10_000}, long), long},
		{"several streams with padding", append(append(xzOf(t, xz.WriterConfig{}, e[:30]), 0, 0, 0, 0), xzOf(t, xz.WriterConfig{CheckSum: xz.CRC32}, e[30:])...), e},
		{"cut", xzOf(t, xz.WriterConfig{BlockSize: 100_000}, long)[:3000], nil},
		{"garbage after the end", append(xzOf(t, xz.WriterConfig{}, e), "garbage that is no xz"...), e},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			u := unwrap(t, row.body, labelled("application/x-xz"), scan.ContentLimits{}, content.Config{})
			u.wantClean(t)
			if row.want != nil {
				u.wantObject(t, "body/xz", row.want)
			}
		})
	}
}

func TestXZBeyondTheDecoderIsRefused(t *testing.T) {
	far := noise(32<<10, 5)
	large := xzOf(t, xz.WriterConfig{DictCap: 64 << 20}, append(append(bytes.Clone(far), bytes.Repeat(noise(64<<10, 6), 144)...), far...))
	filters := bytes.Clone(xzOf(t, xz.WriterConfig{}, eicar()))
	size := (int(filters[12]) + 1) * 4
	header := filters[12 : 12+size]
	header[bytes.IndexByte(header[1:], 0x21)+1] = 0x04 // the filter for x86 code
	sum := crc32.ChecksumIEEE(header[:size-4])
	copy(header[size-4:], []byte{byte(sum), byte(sum >> 8), byte(sum >> 16), byte(sum >> 24)})
	many := xzOf(t, xz.WriterConfig{BlockSize: 1}, noise(200, 1))
	for name, body := range map[string][]byte{"large dictionary": large, "filters": filters, "many tiny blocks": many} {
		u := unwrap(t, body, labelled(""), scan.ContentLimits{}, content.Config{})
		if u.verdict.Outcome != scan.OutcomeUnscannable || u.verdict.Cause != scan.CauseUnknownCoding {
			t.Errorf("%s: %+v", name, u.verdict)
		}
	}
}

// lzmaMember writes the stream of a zip member of method 14.
type lzmaMember struct {
	out io.Writer
	buf bytes.Buffer
	w   *lzma.Writer
}

func (m *lzmaMember) Write(p []byte) (int, error) { return m.w.Write(p) }

func (m *lzmaMember) Close() error {
	if err := m.w.Close(); err != nil {
		return err
	}
	stream := m.buf.Bytes()
	_, err := m.out.Write(append([]byte{9, 20, 5, 0}, append(bytes.Clone(stream[:5]), stream[13:]...)...))
	return err
}

// xzMember writes nothing before the local header is there.
type xzMember struct {
	out io.Writer
	buf bytes.Buffer
}

func (m *xzMember) Write(p []byte) (int, error) { return m.buf.Write(p) }

func (m *xzMember) Close() error {
	w, err := xz.NewWriter(m.out)
	if err == nil {
		_, err = w.Write(m.buf.Bytes())
	}
	if err != nil {
		return err
	}
	return w.Close()
}

func TestZipMembersOfLZMAAndXZ(t *testing.T) {
	for _, method := range []uint16{14, 95} {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		w.RegisterCompressor(95, func(out io.Writer) (io.WriteCloser, error) { return &xzMember{out: out}, nil })
		w.RegisterCompressor(14, func(out io.Writer) (io.WriteCloser, error) {
			m := &lzmaMember{out: out}
			var err error
			m.w, err = lzma.WriterConfig{EOSMarker: true}.NewWriter(&m.buf)
			return m, err
		})
		f, err := w.CreateHeader(&zip.FileHeader{Name: "a", Method: method, Flags: 2})
		if err == nil {
			_, err = f.Write(eicar())
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		u := unwrap(t, b.Bytes(), labelled(""), scan.ContentLimits{}, content.Config{})
		u.wantClean(t)
		u.wantObject(t, "body/zip[0]", eicar())
	}
}

func TestDeflate64IsRefused(t *testing.T) {
	one := plainZip(member{name: "a", data: eicar()})
	u := unwrap(t, at(at(one, 8, 9), directory(one)+10, 9), labelled(""), scan.ContentLimits{}, content.Config{})
	u.wantVerdict(t, scan.OutcomeUnscannable, scan.CauseUnknownCoding)
}

func FuzzXZ(f *testing.F) {
	f.Add(xzOf(f, xz.WriterConfig{}, eicar()))
	f.Add(xzOf(f, xz.WriterConfig{BlockSize: 20}, eicar()))
	f.Fuzz(func(t *testing.T, body []byte) {
		u := unwrap(t, body, labelled(""), scan.ContentLimits{MaxExpandedBytes: 16 << 20}, content.Config{})
		if u.verdict.Outcome == scan.OutcomeError {
			t.Fatalf("content led to an ERROR: %+v", u.verdict)
		}
	})
}
