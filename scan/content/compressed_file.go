package content

import (
	"bytes"
	"errors"

	"github.com/klauspost/compress/zstd"

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
	for _, f := range compressedFiles() {
		if !bytes.HasPrefix(head, []byte(f.magic)) {
			continue
		}
		if n.levels[byArchive] >= maxArchives {
			w.refuse(n, scan.CauseTooDeep, "archives inside each other beyond the limit")
			return nil
		}
		return w.readings(n, f.readings)
	}
	return nil
}

func (w *walk) readings(n *node, readings []decoder) error {
	for _, d := range readings {
		res, err := w.decode(n, d)
		if err != nil {
			return err
		}
		if errors.Is(res.err, zstd.ErrWindowSizeExceeded) || errors.Is(res.err, zstd.ErrUnknownDictionary) {
			w.refuse(n, scan.CauseUnknownCoding, "a compressed file that needs a larger window or a dictionary")
		}
		if res.layer == nil {
			continue
		}
		if err := w.layer(n, piece{word: d.word, kind: byArchive}, res.layer); err != nil {
			return err
		}
		if res.err == nil {
			return nil // the other readings are for damaged files
		}
	}
	return nil
}

type compressedFile struct {
	magic    string
	readings []decoder
}

func compressedFiles() []compressedFile {
	return []compressedFile{
		{"\x1f\x8b\x08", []decoder{{"gzip", openGzip}, {"gzip-lenient", openGzipLenient}}},
		{"BZh", []decoder{{"bzip2", openBzip2}}},
		{"\x28\xb5\x2f\xfd", []decoder{{"zstd", openZstd}}},
	}
}
