package content

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/portcullis-av/portcullis/scan"
)

const (
	tarBlock = 512
	// maxTarLinks bounds the names of links that are kept, in bytes.
	maxTarLinks = 1 << 20
)

// tarWalk reads one archive.
type tarWalk struct {
	w   *walk
	n   *node
	src *source
	// leading holds the names of links that point out of the archive; a member
	// below one would be written somewhere else.
	leading map[string]bool
	kept    int
}

// isTar checks the header checksum, as every reader does (POSIX ustar). The number
// in it is read in all ways that readers have.
func isTar(head []byte) bool {
	if len(head) < tarBlock {
		return false
	}
	want, ok := tarChecksum(head[148:156])
	if !ok || want > tarBlock*0xff || want < -tarBlock*0x80 { // what no block adds up to
		return false
	}
	var unsigned, signed int64
	for i, c := range head[:tarBlock] {
		if i >= 148 && i < 156 {
			c = ' '
		}
		unsigned += int64(c)
		signed += int64(int8(c))
	}
	return want == unsigned || want == signed
}

// tarChecksum reads octal digits behind blanks, up to the first character that is
// none, as GNU's tar and npm's do; with Python's prefixes and underscores; or in the
// binary form, which it takes here as well.
func tarChecksum(field []byte) (int64, bool) {
	if field[0]&0x80 != 0 {
		return tarNumber(field)
	}
	digits := bytes.TrimLeft(field, " \t\n\v\f\r\x00+")
	for _, prefix := range []string{"0o", "0O"} {
		digits = bytes.TrimPrefix(digits, []byte(prefix))
	}
	v, some := int64(0), false
	for _, c := range digits {
		switch {
		case c >= '0' && c <= '7':
			v, some = v<<3|int64(c-'0'), true
		case c != '_':
			return v, some
		}
	}
	return v, some
}

// tar reports the members of a tar archive as windows. Whatever readers are
// known to take differently makes it ambiguous: two sizes for one member, data
// after the end, sparse members, names that lead elsewhere.
func (w *walk) tar(n *node) error {
	if n.levels[byArchive] >= maxArchives {
		w.refuse(n, scan.CauseTooDeep, "archives inside each other beyond the limit")
		return nil
	}
	t := &tarWalk{w: w, n: n, src: newSource(w.ctx, n.obj.Content, 0, n.obj.Size)}
	r := tar.NewReader(t.src)
	for i := 0; ; i++ {
		h, err := r.Next()
		if t.src.err != nil {
			return t.src.err
		}
		if errors.Is(err, io.EOF) {
			return t.rest()
		}
		if err != nil {
			t.ambiguous("a header or the end is missing or broken")
			return nil //nolint:nilerr // a fault of the content, which is noted
		}
		if i >= w.limits.MaxObjects {
			w.refuse(n, scan.CauseTooManyObjects, "tar: more members than the limit")
			return nil
		}
		fault, err := t.fault(h)
		if err != nil {
			return err
		}
		if fault != "" {
			t.ambiguous(fault)
			return nil
		}
		if h.Size > n.obj.Size-t.src.off {
			t.ambiguous("a member is cut")
			return nil
		}
		p := piece{word: fmt.Sprintf("tar[%d]", i), name: h.Name, kind: byArchive}
		if err := w.window(n, p, t.src.off, t.src.off+h.Size); err != nil {
			return err
		}
	}
}

// tarBehindZeros looks for an archive behind blocks of zeros: to most readers they
// are its end, others step over them. What is found there is an object.
func (w *walk) tarBehindZeros(n *node) error {
	off := int64(0)
	var head []byte
	err := w.blocks(n, func(p []byte) error {
		rest := bytes.TrimLeft(p, "\x00")
		if len(rest) == 0 {
			off += int64(len(p))
			return nil
		}
		off += int64(len(p)-len(rest)) / tarBlock * tarBlock
		head = make([]byte, min(tarBlock, n.obj.Size-off))
		return errFound
	})
	if head == nil || !errors.Is(err, errFound) {
		return err
	}
	if err := readAt(n.obj.Content, head, off); err != nil || !isTar(head) {
		return err
	}
	return w.window(n, piece{word: "tar-behind-zeros", kind: byArchive}, off, n.obj.Size)
}

func (t *tarWalk) ambiguous(detail string) { t.w.tarAmbiguous(t.n, detail) }

func (w *walk) tarAmbiguous(n *node, detail string) {
	w.note(n, scan.OutcomePolicy, scan.CauseAmbiguousArchive, "tar: "+detail)
}

// fault names what readers could take differently about a member.
func (t *tarWalk) fault(h *tar.Header) (string, error) {
	for k := range h.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse.") || k == "SCHILY.realsize" { // star's, and libarchive's
			return "a sparse member", nil
		}
		// Python's reader applies them, Go's does not.
		if h.Typeflag == tar.TypeXGlobalHeader && (k == "size" || k == "path" || k == "linkpath") {
			return "one " + k + " for all members", nil
		}
	}
	switch {
	case h.Typeflag == tar.TypeGNUSparse:
		return "a sparse member", nil
	case h.Typeflag == 'M':
		return "a continued member", nil
	case h.Typeflag == 'X': // Solaris'; Python's reader applies it, Go's does not
		return "an extended header of an old form", nil
	case h.Size < 0 || len(h.Name) > zipMaxMemberName || unsafeName(h.Name) || t.throughLink(h.Name):
		return "a member name", nil
	}
	var raw [tarBlock]byte
	if t.src.off < tarBlock {
		return "a header", nil
	}
	if err := readAt(t.n.obj.Content, raw[:], t.src.off-tarBlock); err != nil {
		return "", err
	}
	if size, ok := tarNumber(raw[124:136]); h.Typeflag != tar.TypeXGlobalHeader && (!ok || size != h.Size) {
		return "two sizes for one member", nil
	}
	switch h.Typeflag {
	case tar.TypeLink, tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeDir, tar.TypeFifo:
		if h.Size != 0 {
			return "content in a member that has none", nil
		}
	}
	if h.Typeflag == tar.TypeSymlink || h.Typeflag == tar.TypeLink {
		return t.link(h), nil
	}
	return "", nil
}

// link remembers a link that leads out of the archive.
func (t *tarWalk) link(h *tar.Header) string {
	target := path.Join(path.Dir(h.Name), h.Linkname) //nolint:gosec // compared, never opened
	if h.Typeflag == tar.TypeLink {
		target = path.Clean(h.Linkname)
	}
	if !path.IsAbs(h.Linkname) && !unsafeName(target) {
		return ""
	}
	if t.leading == nil {
		t.leading = make(map[string]bool)
	}
	name := path.Clean(h.Name)
	if t.kept += len(name); t.kept > maxTarLinks {
		return "too many links that lead out of the archive"
	}
	t.leading[name] = true
	return ""
}

func (t *tarWalk) throughLink(name string) bool {
	for p := path.Clean(name); len(t.leading) > 0 && p != "." && p != "/"; p = path.Dir(p) {
		if t.leading[p] {
			return true
		}
	}
	return false
}

// rest checks that only zeros follow the end: some readers go on there.
func (t *tarWalk) rest() error {
	block := t.w.u.pools.block()
	defer t.w.u.pools.giveBlock(block)
	for {
		k, err := t.src.Read(*block)
		if len(bytes.Trim((*block)[:k], "\x00")) > 0 {
			t.ambiguous("content after the end")
			return nil
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// tarNumber reads a numeric field in octal digits, or in the binary form that GNU
// tar has for large sizes.
func tarNumber(field []byte) (int64, bool) {
	if field[0]&0x80 != 0 {
		v := int64(field[0] & 0x7f)
		for _, c := range field[1:] {
			if v >= 1<<54 {
				return 0, false
			}
			v = v<<8 | int64(c)
		}
		return v, true
	}
	s := strings.Trim(string(field), " \x00")
	if s == "" {
		return 0, true
	}
	v, err := strconv.ParseInt(s, 8, 64)
	return v, err == nil
}

var errSeek = errors.New("unsupported seek")

// Seek lets the tar reader step over contents without reading them.
func (s *source) Seek(offset int64, whence int) (int64, error) {
	if whence != io.SeekCurrent || s.off+offset < 0 {
		return 0, errSeek
	}
	s.off += offset
	return s.off, nil
}
