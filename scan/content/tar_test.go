package content_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/content"
)

// tarOf makes an archive; the sizes of headers with data are filled in.
func tarOf(t testing.TB, format tar.Format, members ...*tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range members {
		data := eicar()
		if h.Typeflag != 0 && h.Typeflag != tar.TypeReg {
			data = nil
		}
		h.Size, h.Format, h.Mode = int64(len(data)), format, 0o644
		err := w.WriteHeader(h)
		if err == nil {
			_, err = w.Write(data)
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

// resum repairs the checksum of the header block at off.
func resum(data []byte, off int) []byte {
	h := data[off : off+512]
	copy(h[148:], "        ")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return data
}

// resummed is data whose first header has its checksum written by form.
func resummed(data []byte, form func(sum int) string) []byte {
	data = bytes.Clone(data)
	copy(data[148:], "        ")
	sum := 0
	for _, c := range data[:512] {
		sum += int(c)
	}
	copy(data[148:156], form(sum))
	return data
}

// localPax is an archive of one member with a record about it.
func localPax(data []byte, key, value string) []byte { return paxOf('x', data, key, value) }

func globalPax(key, value string) []byte { return paxOf('g', eicar(), key, value) }

func paxOf(kind byte, data []byte, key, value string) []byte {
	record := " " + key + "=" + value + "\n"
	record = fmt.Sprint(len(record)+2) + record
	return slices.Concat(headerOf(kind, len(record)), padded(record), headerOf('0', len(data)), padded(string(data)), make([]byte, 1024))
}

func headerOf(kind byte, size int) []byte {
	h := at(tarBlockOf("a"), 156, kind)
	copy(h[124:], fmt.Sprintf("%011o", size))
	return resum(h, 0)
}

func padded(s string) []byte { return append([]byte(s), make([]byte, -len(s)&511)...) }

func TestTarMembersAreObjects(t *testing.T) {
	long := strings.Repeat("directory/", 30) + "file"
	rows := []struct {
		name, path string
		body       []byte
	}{
		{"ustar", "body/tar[0]", tarOf(t, tar.FormatUSTAR, &tar.Header{Name: "a"})},
		{"GNU with a long name", "body/tar[0]", tarOf(t, tar.FormatGNU, &tar.Header{Name: long})},
		{"pax with a long name", "body/tar[0]", tarOf(t, tar.FormatPAX, &tar.Header{Name: long})},
		{"tar.gz", "body/gzip/tar[0]", gz(t, tarOf(t, tar.FormatGNU, &tar.Header{Name: "./a"}))},
		{"directories and links", "body/tar[2]", tarOf(t, tar.FormatGNU, &tar.Header{Name: "d/", Typeflag: tar.TypeDir},
			&tar.Header{Name: "d/l", Typeflag: tar.TypeSymlink, Linkname: "../b"}, &tar.Header{Name: "d/a"}, &tar.Header{Name: "out", Typeflag: tar.TypeSymlink, Linkname: "/etc/x"})},
		{"without an end", "body/tar[0]", bytes.TrimRight(tarOf(t, tar.FormatGNU, &tar.Header{Name: "a"}), "\x00")},
		{"checksum with a character behind", "body/tar[0]", resummed(tarOf(t, tar.FormatGNU, &tar.Header{Name: "a"}), func(sum int) string { return fmt.Sprintf("%06o\x00x", sum) })},
		{"behind a block of something else", "body/tar-stray[0]", append(bytes.Repeat([]byte("j"), 512), tarOf(t, tar.FormatGNU, &tar.Header{Name: "a"})...)},
		{"behind a header that is broken", "body/tar-stray[0]", append(at(tarBlockOf("x"), 0, 'y'), tarOf(t, tar.FormatUSTAR, &tar.Header{Name: "a"})...)},
		{"between other things", "body/tar-stray[2]", append(append(noise(4096, 1), tarOf(t, tar.FormatGNU, &tar.Header{Name: "d", Typeflag: tar.TypeDir}, &tar.Header{Name: "z", Typeflag: tar.TypeDir}, &tar.Header{Name: "a"})...), noise(3000, 2)...)},
		{"behind zeros and something else", "body/tar-stray[0]", append(append(make([]byte, 512), noise(512, 1)...), tarOf(t, tar.FormatGNU, &tar.Header{Name: "a"})...)},
		{"zip inside", "body/tar[0]", tarOf(t, tar.FormatGNU, &tar.Header{Name: "a"})},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			u := unwrap(t, row.body, labelled(""), scan.ContentLimits{}, content.Config{})
			u.wantClean(t)
			u.wantObject(t, row.path, eicar())
		})
	}
}

func TestAmbiguousTarsAreRefused(t *testing.T) {
	good := tarOf(t, tar.FormatGNU, &tar.Header{Name: "a"}, &tar.Header{Name: "b"})
	pax := tarOf(t, tar.FormatPAX, &tar.Header{Name: "a", PAXRecords: map[string]string{"X.yy": "z"}})
	rows := []struct {
		name string
		body []byte
	}{
		{"archive after the archive", append(bytes.Clone(good), good...)},
		{"garbage after the end", append(bytes.Clone(good), "x"...)},
		{"member cut", good[:512+20]},
		{"second header broken", at(good, 1024+100, 'x')},
		{"two sizes", resum(bytes.Replace(pax, []byte("9 X.yy=z\n"), []byte("9 size=1\n"), 1), 1024)},
		{"absolute name", tarOf(t, tar.FormatGNU, &tar.Header{Name: "/etc/x"})},
		{"name with two dots", tarOf(t, tar.FormatGNU, &tar.Header{Name: "a/../../x"})},
		{"member through a link", tarOf(t, tar.FormatGNU, &tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "/etc"}, &tar.Header{Name: "l/x"})},
		{"member through a relative link", tarOf(t, tar.FormatGNU, &tar.Header{Name: "d/l", Typeflag: tar.TypeSymlink, Linkname: "../../x"}, &tar.Header{Name: "d/l/x"})},
		{"content in a directory", resum(at(tarOf(t, tar.FormatGNU, &tar.Header{Name: "d", Typeflag: tar.TypeDir}, &tar.Header{Name: "a"}), 124, []byte("00000000104")...), 0)},
		{"sparse", resum(at(good, 156, 'S'), 0)},
		{"star's sparse", localPax(eicar(), "SCHILY.realsize", "20")},
		{"one path for all members", globalPax("path", "../x")},
		{"checksum in binary", resummed(good, func(sum int) string { return fmt.Sprintf("\x80\x00\x00\x00\x00\x00%c%c", sum>>8, sum&0xff) })},
		{"checksum of Python's", resummed(good, func(sum int) string { return fmt.Sprintf("0o%05o\x00", sum) })},
		{"checksum with an underscore", resummed(good, func(sum int) string { return fmt.Sprintf("0_%05o\x00", sum) })},
		{"checksum behind a tab", resummed(good, func(sum int) string { return fmt.Sprintf("\t%06o\x00", sum) })},
		{"continued on another volume", resum(at(good, 156, 'M'), 0)},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			u := unwrap(t, row.body, labelled(""), scan.ContentLimits{}, content.Config{})
			u.wantVerdict(t, scan.OutcomePolicy, scan.CauseAmbiguousArchive)
		})
	}
}

func TestTarWithTooManyMembers(t *testing.T) {
	var members []*tar.Header
	for i := range 50 {
		members = append(members, &tar.Header{Name: fmt.Sprint(i)})
	}
	unwrap(t, tarOf(t, tar.FormatGNU, members...), labelled(""), scan.ContentLimits{MaxObjects: 20}, content.Config{}).
		wantVerdict(t, scan.OutcomeUnscannable, scan.CauseTooManyObjects)
}
