package content_test

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/content"
)

// member is one member of a test archive.
type member struct {
	name   string
	data   []byte
	method uint16
	change func(*zip.FileHeader)
}

// zipOf makes an archive as Go writes it: with data descriptors.
func zipOf(t testing.TB, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	w.RegisterCompressor(93, func(out io.Writer) (io.WriteCloser, error) {
		return zstd.NewWriter(out, zstd.WithEncoderConcurrency(1))
	})
	for _, m := range members {
		h := &zip.FileHeader{Name: m.name, Method: m.method}
		if m.change != nil {
			m.change(h)
		}
		f, err := w.CreateHeader(h)
		if err == nil {
			_, err = f.Write(m.data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// plainZip makes an archive of stored members without data descriptors, the
// form of most other writers, so that tests can change any field of it.
func plainZip(members ...member) []byte {
	var b, dir bytes.Buffer
	le := binary.LittleEndian
	for _, m := range members {
		var fields []byte
		fields = le.AppendUint16(fields, 20)
		fields = le.AppendUint16(fields, 0) // flags
		fields = le.AppendUint16(fields, 0) // stored
		fields = le.AppendUint32(fields, 0) // time
		fields = le.AppendUint32(fields, crc32.ChecksumIEEE(m.data))
		fields = le.AppendUint32(fields, uint32(len(m.data)))
		fields = le.AppendUint32(fields, uint32(len(m.data)))
		fields = le.AppendUint16(fields, uint16(len(m.name)))
		fields = le.AppendUint16(fields, 0) // extra
		dir.WriteString("PK\x01\x02\x14\x00")
		dir.Write(fields)
		dir.Write(make([]byte, 10))
		dir.Write(le.AppendUint32(nil, uint32(b.Len())))
		dir.WriteString(m.name)
		b.WriteString("PK\x03\x04")
		b.Write(fields)
		b.WriteString(m.name)
		b.Write(m.data)
	}
	start := b.Len()
	b.Write(dir.Bytes())
	end := []byte("PK\x05\x06\x00\x00\x00\x00")
	end = le.AppendUint16(end, uint16(len(members)))
	end = le.AppendUint16(end, uint16(len(members)))
	end = le.AppendUint32(end, uint32(dir.Len()))
	end = le.AppendUint32(end, uint32(start))
	b.Write(append(end, 0, 0))
	return b.Bytes()
}

// at returns data with b written over position i; a negative i counts from the end.
func at(data []byte, i int, b ...byte) []byte {
	data = bytes.Clone(data)
	if i < 0 {
		i += len(data)
	}
	copy(data[i:], b)
	return data
}

// directory is where the directory of an archive without comment begins.
func directory(data []byte) int { return int(binary.LittleEndian.Uint32(data[len(data)-6:])) }

func TestZipMembersAreObjects(t *testing.T) {
	e := eicar()
	rows := []struct {
		name, path string
		body       []byte
	}{
		{"deflated", "body/zip[1]", zipOf(t, member{name: "a", data: []byte("x"), method: 8}, member{name: "d/b", data: e, method: 8})},
		{"stored with descriptor", "body/zip[0]", zipOf(t, member{name: "a", data: e})},
		{"stored", "body/zip[1]", plainZip(member{name: "a", data: []byte("x")}, member{name: "b", data: e})},
		{"zstd", "body/zip[0]", zipOf(t, member{name: "a", data: e, method: 93})},
		{"directories", "body/zip[1]", zipOf(t, member{name: "d/"}, member{name: "d/b", data: e, method: 8})},
		{"in gzip", "body/gzip/zip[0]", gz(t, zipOf(t, member{name: "a", data: e, method: 8}))},
		{"nested, stored", "body/zip[0]/zip[0]", plainZip(member{name: "i.zip", data: zipOf(t, member{name: "a", data: e, method: 8})})},
		{"nested, stored, with another after", "body/zip[0]/zip[0]", plainZip(member{name: "i.zip", data: plainZip(member{name: "a", data: e})}, member{name: "z", data: []byte("z")})},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			u := unwrap(t, row.body, labelled("application/zip"), scan.ContentLimits{}, content.Config{})
			u.wantClean(t)
			u.wantObject(t, row.path, e)
		})
	}
	unwrap(t, zipOf(t), labelled(""), scan.ContentLimits{}, content.Config{}).wantClean(t)
}

func TestZipNamesAreClipped(t *testing.T) {
	u := unwrap(t, zipOf(t, member{name: "dir/a.txt", data: eicar()}), labelled(""), scan.ContentLimits{}, content.Config{})
	if got := u.names["body/zip[0]"]; got != "dir/a.txt" {
		t.Errorf("name is %q", got)
	}
}

func TestOfficeDocumentsAreClean(t *testing.T) {
	docx := zipOf(t, member{name: "[Content_Types].xml", data: bytes.Repeat([]byte("<Default/>"), 500), method: 8},
		member{name: "_rels/.rels", data: []byte("<Relationships/>"), method: 8}, member{name: "word/document.xml", data: bytes.Repeat([]byte("<w:p/>"), 9000), method: 8})
	odt := plainZip(member{name: "mimetype", data: []byte("application/vnd.oasis.opendocument.text")}, member{name: "content.xml", data: []byte("<office/>")})
	for _, body := range [][]byte{docx, odt} {
		u := unwrap(t, body, labelled(""), scan.ContentLimits{}, content.Config{})
		u.wantClean(t)
		if len(u.paths) == 0 {
			t.Error("no member was reported")
		}
	}
}

func TestAndroidPackageIsClean(t *testing.T) {
	body := plainZip(member{name: "classes.dex", data: eicar()})
	start := directory(body)
	block := binary.LittleEndian.AppendUint64(nil, 40)
	block = append(block, "signatures here."...)
	block = binary.LittleEndian.AppendUint64(block, 40)
	block = append(block, "APK Sig Block 42"...)
	signed := append(bytes.Clone(body[:start]), append(block, body[start:]...)...)
	binary.LittleEndian.PutUint32(signed[len(signed)-6:], uint32(start+len(block)))
	u := unwrap(t, signed, labelled(""), scan.ContentLimits{}, content.Config{})
	u.wantClean(t)
	u.wantObject(t, "body/zip[0]", eicar())
}

func TestAmbiguousZipsAreRefused(t *testing.T) {
	e := eicar()
	one := plainZip(member{name: "a", data: e})
	two := plainZip(member{name: "a", data: []byte("good")}, member{name: "b", data: e})
	dir := directory(one)
	comment := func(c []byte) []byte {
		return append(at(one, -2, byte(len(c)), byte(len(c)>>8)), c...)
	}
	hidden := append(append(bytes.Clone(two[:directory(two)]), two[directory(two)+47:]...), []byte{}...)
	hidden = at(hidden, -22+8, 1, 0, 1, 0)
	binary.LittleEndian.PutUint32(hidden[len(hidden)-10:], uint32(47))
	rows := []struct {
		name string
		body []byte
	}{
		{"two archives", append(bytes.Clone(one), two...)},
		{"archive in the comment", comment(two)},
		{"archive after a tail", append(bytes.Clone(one), "tail"...)},
		{"archive after an image", append([]byte("GIF89a..............."), one...)},
		{"program with an archive", append([]byte("MZ\x90\x00"), zipOf(t, member{name: "a", data: e, method: 8})...)},
		{"PDF with an archive and a tail", append(append([]byte("%PDF-1.7\n"), one...), "\n%%EOF"...)},
		{"no end record", one[:len(one)-22]},
		{"cut", one[:40]},
		{"two end records", append(bytes.Clone(one), one[len(one)-22:]...)},
		{"end record whose comment holds another", append(at(one, -2, 22, 0), one[len(one)-22:]...)},
		{"entry known to local headers only", hidden},
		{"local method differs", at(one, 8, 8)},
		{"local flags differ", at(one, 7, 8)},
		{"local name differs", at(one, 30, 'b')},
		{"local size differs", at(one, 22, 1)},
		{"local compressed size differs", at(one, 18, 1)},
		{"local checksum differs", at(one, 14, one[14]+1)},
		{"checksum wrong in both", at(at(one, 14, one[14]+1), dir+16, one[14]+1)},
		{"unusual method", at(at(one, 8, 97), dir+10, 97)},
		{"shrunk", at(at(one, 8, 1), dir+10, 1)},
		{"stored data under deflate", at(at(one, 8, 8), dir+10, 8)},
		{"stored sizes differ", at(at(one, 22, 1), dir+24, 1)},
		{"no local header", at(one, 0, 'X')},
		{"count too small", at(two, -14, 1, 0, 1, 0)},
		{"count too large", at(one, -14, 2, 0, 2, 0)},
		{"directory size wrong", at(one, -10, one[len(one)-10]-1)},
		{"directory offset wrong", at(one, -6, one[len(one)-6]-1)},
		{"members overlap", at(two, directory(two)+47+42, 0, 0, 0, 0)},
		{"gap between members", zipWithGap()},
		{"absolute name", plainZip(member{name: "/etc/x", data: e})},
		{"name with two dots", plainZip(member{name: "a/../../x", data: e})},
		{"name with backslashes", plainZip(member{name: `..\x`, data: e})},
		{"name of a drive", plainZip(member{name: `C:x`, data: e})},
		{"name with NUL", plainZip(member{name: "a\x00b", data: e})},
		{"symbolic link", zipOf(t, member{name: "a", data: []byte("/etc/passwd"), change: func(h *zip.FileHeader) { h.CreatorVersion = 3 << 8; h.ExternalAttrs = 0xa1ff << 16 }})},
		{"zip64 sizes without a record", at(one, -14, 0xff, 0xff, 0xff, 0xff)},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			u := unwrap(t, row.body, labelled(""), scan.ContentLimits{}, content.Config{})
			u.wantVerdict(t, scan.OutcomePolicy, scan.CauseAmbiguousArchive)
		})
	}
}

// zipWithGap has four bytes between two members.
func zipWithGap() []byte {
	body := plainZip(member{name: "a", data: []byte("good")}, member{name: "b", data: eicar()})
	second := 30 + 1 + 4
	body = append(bytes.Clone(body[:second]), append([]byte("gap!"), body[second:]...)...)
	start := uint32(directory(body) + 4)
	binary.LittleEndian.PutUint32(body[len(body)-6:], start)
	binary.LittleEndian.PutUint32(body[int(start)+47+42:], uint32(second+4))
	return body
}

func TestSelfExtractingArchivesAreASetting(t *testing.T) {
	body := append([]byte("MZ program text "), plainZip(member{name: "a", data: eicar()})...)
	u := unwrap(t, body, labelled(""), scan.ContentLimits{SelfExtracting: true}, content.Config{})
	u.wantClean(t)
	u.wantObject(t, "body/zip[0]", eicar())
	twice := append(plainZip(member{name: "x", data: []byte("x")}), plainZip(member{name: "a", data: eicar()})...)
	unwrap(t, twice, labelled(""), scan.ContentLimits{SelfExtracting: true}, content.Config{}).
		wantVerdict(t, scan.OutcomePolicy, scan.CauseAmbiguousArchive)
}

func TestEncryptedZip(t *testing.T) {
	one := plainZip(member{name: "a", data: eicar()})
	u := unwrap(t, at(at(one, 6, 1), directory(one)+8, 1), labelled(""), scan.ContentLimits{}, content.Config{})
	u.wantVerdict(t, scan.OutcomePolicy, scan.CauseEncrypted)
}

func TestSplitZip(t *testing.T) {
	one := plainZip(member{name: "a", data: eicar()})
	for _, body := range [][]byte{at(one, -18, 1, 0, 1, 0), append([]byte("PK\x07\x08"), one...), at(one, directory(one)+34, 1)} {
		unwrap(t, body, labelled(""), scan.ContentLimits{}, content.Config{}).
			wantVerdict(t, scan.OutcomePolicy, scan.CausePartialArchive)
	}
}

func TestZipBombs(t *testing.T) {
	zeros := make([]byte, 12<<20)
	overlap := plainZip(member{name: "a", data: make([]byte, 90<<10)})
	record := overlap[directory(overlap) : len(overlap)-22]
	many := bytes.Clone(overlap[:directory(overlap)])
	for range 1000 {
		many = append(many, at(record, 20, 0, 0, 0, 3, 0, 0, 0, 3)...)
	}
	end := at(overlap[len(overlap)-22:], 8, 0xe8, 3, 0xe8, 3)
	binary.LittleEndian.PutUint32(end[12:], uint32(1000*len(record)))
	rows := []struct {
		name string
		body []byte
	}{
		{"one member of zeros", zipOf(t, member{name: "a", data: zeros, method: 8})},
		{"nested", zipOf(t, member{name: "z.zip", data: zipOf(t, member{name: "a", data: zeros, method: 8}), method: 8})},
		{"overlapping entries that claim 50 GB", append(many, end...)},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			u := unwrap(t, row.body, labelled(""), scan.ContentLimits{}, content.Config{})
			u.wantVerdict(t, scan.OutcomePolicy, scan.CauseBomb)
			if u.kept > 1<<20 {
				t.Errorf("%d bytes were decoded before the verdict", u.kept)
			}
		})
	}
}

func TestZipNesting(t *testing.T) {
	nest := func(levels int) []byte {
		body := eicar()
		for range levels {
			body = plainZip(member{name: "z", data: body})
		}
		return body
	}
	u := unwrap(t, nest(8), labelled(""), scan.ContentLimits{}, content.Config{})
	u.wantClean(t)
	if !u.has(eicar()) {
		t.Errorf("the payload is no object; objects %q", u.paths)
	}
	unwrap(t, nest(9), labelled(""), scan.ContentLimits{}, content.Config{}).
		wantVerdict(t, scan.OutcomeUnscannable, scan.CauseTooDeep)
}

func TestZipWithTooManyMembers(t *testing.T) {
	members := make([]member, 300)
	for i := range members {
		members[i] = member{name: fmt.Sprint(i), data: []byte(fmt.Sprint(i)), method: 8}
	}
	unwrap(t, zipOf(t, members...), labelled(""), scan.ContentLimits{MaxObjects: 301}, content.Config{}).wantClean(t)
	unwrap(t, zipOf(t, members...), labelled(""), scan.ContentLimits{MaxObjects: 200}, content.Config{}).
		wantVerdict(t, scan.OutcomeUnscannable, scan.CauseTooManyObjects)
}

func TestPlainContentThatLooksLikeAZip(t *testing.T) {
	for _, body := range []string{"PK is no archive", "some text PK\x05\x06 and more text, quite long enough", "PK\x05\x06 but later: " + string(make([]byte, 100))} {
		u := unwrap(t, []byte("x"+body), labelled(""), scan.ContentLimits{}, content.Config{})
		u.wantClean(t)
	}
}

// FuzzZip asserts that an archive that is accepted holds for the standard
// library what was reported.
func FuzzZip(f *testing.F) {
	f.Add(plainZip(member{name: "a", data: eicar()}, member{name: "b", data: []byte("good")}))
	f.Add(zipOf(f, member{name: "a", data: eicar(), method: 8}, member{name: "d/"}))
	f.Add(append([]byte("MZ"), plainZip(member{name: "a", data: eicar()})...))
	f.Fuzz(func(t *testing.T, body []byte) {
		u := unwrap(t, body, labelled(""), scan.ContentLimits{MaxExpandedBytes: 16 << 20}, content.Config{})
		if u.verdict.Outcome == scan.OutcomeError {
			t.Fatalf("content led to an ERROR: %+v", u.verdict)
		}
		r, err := zip.NewReader(bytes.NewReader(body), int64(len(body)))
		if err != nil || u.verdict.Outcome != scan.OutcomeClean {
			return
		}
		for i, m := range r.File {
			rc, err := m.Open()
			if err != nil {
				continue // a method that the standard library does not have
			}
			data, err := io.ReadAll(rc)
			if err == nil && len(data) > 0 && !u.has(data) && !bytes.Equal(data, body) {
				t.Fatalf("member %d (%q) is no object; objects %q", i, m.Name, u.paths)
			}
		}
	})
}
