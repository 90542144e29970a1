package content

import (
	"bytes"
	"errors"

	"github.com/portcullis-av/portcullis/scan"
)

// compressedFile opens a compressed file that is recognised by its magic number.
//
// No label promises that these bytes decode. A receiver who opens the file gets
// what decodes up to the first fault and no more, so all of that is an object
// and a fault is no reason to refuse: a truncated download, padding after the
// data and plain content that happens to begin like gzip are all read whole.
// A format that is valid but beyond our decoder is refused, because others can
// read it.
func (w *walk) compressedFile(n *node, head []byte) error {
	if oldZstd(head) {
		w.refuse(n, scan.CauseUnknownCoding, "a compressed file in a format of zstd before 1.0")
	}
	gzip := hasAnyPrefix(head, gzipMagic, gzipOldMagic)
	d, ok := w.u.pools.fileDecoder(head)
	if !gzip && !ok {
		return w.chunkedFile(n, head)
	}
	if n.levels[byArchive] >= maxArchives {
		w.refuse(n, scan.CauseTooDeep, "archives inside each other beyond the limit")
		return nil
	}
	if gzip {
		return w.gzipFile(n)
	}
	res, err := w.decode(n, d)
	if err != nil {
		return err
	}
	if beyond(res.err) {
		w.refuse(n, scan.CauseUnknownCoding, "a compressed file that needs more memory, a dictionary or filters: "+d.word)
	}
	if res.layer == nil {
		return nil
	}
	n.whole = res.err == nil
	return w.layer(n, piece{word: d.word, kind: byArchive}, res.layer)
}

// fileDecoder returns how a file that begins like this is decompressed.
func (p *pools) fileDecoder(head []byte) (decoder, bool) {
	switch {
	case bytes.HasPrefix(head, []byte("BZh")):
		return decoder{"bzip2", openBzip2}, true
	case bytes.HasPrefix(head, []byte(xzMagic)):
		return decoder{"xz", openXZ}, true
	case bytes.HasPrefix(head, []byte("\x28\xb5\x2f\xfd")), isSkippable(head):
		return decoder{"zstd", p.openZstd}, true
	}
	return decoder{}, false
}

// oldZstd recognises the formats 0.2 to 0.7, which some decoders still read.
func oldZstd(head []byte) bool {
	return len(head) >= 4 && head[0] >= 0x22 && head[0] <= 0x27 && string(head[1:4]) == "\xb5\x2f\xfd"
}

// chunkedFile removes the framing of S3's streaming uploads where no
// Content-Encoding announces it: S3 goes by another header, and clients differ.
// What comes out before a fault counts too.
func (w *walk) chunkedFile(n *node, head []byte) error {
	digits := 0
	for digits < len(head) && unhex(head[digits]) >= 0 {
		digits++
	}
	if digits == 0 || digits > 12 || !hasAnyPrefix(head[digits:], "\r\n", ";") {
		return nil
	}
	res, err := w.decode(n, decoder{codingAWSChunked, openLooseAWSChunked})
	if err != nil || res.layer == nil || faulty(res.err) && res.layer.Size() < minPiece {
		return err
	}
	return w.layer(n, piece{word: codingAWSChunked, name: n.obj.Name, contentType: n.obj.ContentType, kind: byArchive}, res.layer)
}

func faulty(err error) bool { return err != nil && !errors.Is(err, errTrailing) }

// isSkippable recognises a skippable frame, which may stand before zstd data
// (RFC 8878 section 3.1.2).
func isSkippable(head []byte) bool {
	return len(head) >= 4 && head[0]&0xf0 == 0x50 && string(head[1:4]) == "\x2a\x4d\x18"
}
