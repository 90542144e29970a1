package content_test

import (
	"archive/tar"
	"bytes"
	"fmt"
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
