package content

import (
	"bufio"
	"errors"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/flate"

	"github.com/portcullis-av/portcullis/scan"
)

const (
	gzipMagic    = "\x1f\x8b\x08"
	gzipOldMagic = "\x1f\x9e\x08" // of gzip 0.5, which GNU's still reads

	gzipHeaderSum = 1 << 1
	gzipExtra     = 1 << 2
	gzipName      = 1 << 3
	gzipComment   = 1 << 4
	gzipReserved  = 0xe0

	// maxPlainName is the longest name in a header that all readers take.
	maxPlainName = 511
	// maxGzipCuts is how many times readers may part ways over one file.
	maxGzipCuts = 16
)

var errGzip = errors.New("not well-formed gzip")

// gzipFile opens a gzip file. One that is well-formed to the strict reader is what
// that makes of it. Over any other readers part ways: they check the header's sum or
// do not, take a name of any length or do not, stop at a wrong checksum, at zeros
// between members, or go on. What each has when it stops is an object, and so is
// what one has that stops at nothing.
func (w *walk) gzipFile(n *node) error {
	strict := decoder{"gzip", w.u.pools.openGzip}
	res, err := w.decode(n, strict)
	if err != nil {
		return err
	}
	if res.layer != nil {
		if err := w.layer(n, piece{word: strict.word, kind: byArchive}, res.layer); err != nil {
			return err
		}
	}
	if res.err == nil {
		n.whole = res.layer != nil
		return nil
	}
	var r *looseGzip
	loose := decoder{"gzip-lenient", func(src *bufio.Reader) (io.Reader, func(), error) {
		r = &looseGzip{src: src}
		return r, func() {}, r.member()
	}}
	if res, err = w.decode(n, loose); err != nil || res.layer == nil {
		return err
	}
	if len(r.cuts) > maxGzipCuts {
		w.refuse(n, scan.CauseMalformedBody, "gzip: too many faults over which readers part ways")
		return nil
	}
	for _, cut := range r.cuts {
		p := piece{word: "gzip-cut", kind: byArchive}
		whole := &node{obj: scan.Object{Path: n.obj.Path, Content: res.layer}, up: n, depth: n.depth, levels: n.levels}
		if err := w.window(whole, p, 0, cut); err != nil {
			return err
		}
	}
	return w.layer(n, piece{word: loose.word, kind: byArchive}, res.layer)
}

// looseGzip reads gzip files (RFC 1952) as the most tolerant readers do, and
// remembers after how many bytes others stop.
type looseGzip struct {
	src  *bufio.Reader
	data io.ReadCloser
	sum  uint32
	size uint32 // of the member so far
	out  int64  // of all members so far
	cuts []int64
	err  error
}

func (r *looseGzip) Read(p []byte) (int, error) {
	for r.err == nil {
		k, err := r.data.Read(p)
		r.sum = crc32.Update(r.sum, crc32.IEEETable, p[:k])
		r.size += uint32(k) //nolint:gosec // modulo 2^32, as the format has it
		r.out += int64(k)
		if errors.Is(err, io.EOF) {
			err = r.next()
		}
		r.err = err
		if k > 0 {
			return k, nil
		}
	}
	return 0, r.err
}

// cut notes that some readers stop here.
func (r *looseGzip) cut() {
	if r.out == 0 || len(r.cuts) > 0 && r.cuts[len(r.cuts)-1] == r.out || len(r.cuts) > maxGzipCuts {
		return
	}
	r.cuts = append(r.cuts, r.out)
}

// next reads the trailer of a member and goes on with the next one, also behind
// zeros, as Python does.
func (r *looseGzip) next() error {
	var t [8]byte
	if _, err := io.ReadFull(r.src, t[:]); err != nil {
		return noEOF(err)
	}
	if le32u(t[:]) != r.sum || le32u(t[4:]) != r.size {
		r.cut()
	}
	for {
		c, err := r.src.ReadByte()
		if err != nil {
			return err
		}
		if c == 0 {
			r.cut()
			continue
		}
		if err := r.src.UnreadByte(); err != nil {
			return err
		}
		break
	}
	if p, _ := r.src.Peek(len(gzipMagic)); !hasAnyPrefix(p, gzipMagic, gzipOldMagic) {
		return errTrailing
	}
	return r.member()
}

// member reads the header of a member.
func (r *looseGzip) member() error {
	var h [10]byte
	if _, err := io.ReadFull(r.src, h[:]); err != nil {
		return noEOF(err)
	}
	if !hasAnyPrefix(h[:], gzipMagic, gzipOldMagic) {
		return errGzip
	}
	flags := h[3]
	// Whether a sum over the header is right matters to some.
	odd := h[1] != gzipMagic[1] || flags&(gzipReserved|gzipHeaderSum) != 0
	if flags&gzipExtra != 0 {
		var size [2]byte
		if _, err := io.ReadFull(r.src, size[:]); err != nil {
			return noEOF(err)
		}
		if _, err := r.src.Discard(int(size[0]) | int(size[1])<<8); err != nil {
			return noEOF(err)
		}
	}
	for _, field := range []byte{gzipName, gzipComment} {
		if flags&field == 0 {
			continue
		}
		n, err := r.text()
		if err != nil {
			return err
		}
		odd = odd || n > maxPlainName
	}
	if flags&gzipHeaderSum != 0 {
		if _, err := r.src.Discard(2); err != nil {
			return noEOF(err)
		}
	}
	if odd {
		r.cut()
	}
	r.sum, r.size = 0, 0
	if again, ok := r.data.(flate.Resetter); ok {
		return again.Reset(r.src, nil)
	}
	r.data = flate.NewReader(r.src)
	return nil
}

// text steps over a text that ends with NUL, and returns its length.
func (r *looseGzip) text() (int, error) {
	for n := 0; ; n++ {
		c, err := r.src.ReadByte()
		if err != nil {
			return 0, noEOF(err)
		}
		if c == 0 {
			return n, nil
		}
	}
}

func le32u(b []byte) uint32 { return uint32(le32(b)) } //nolint:gosec // the same bits
