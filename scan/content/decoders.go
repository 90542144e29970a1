package content

import (
	"bufio"
	"compress/bzip2"
	"errors"
	"io"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// maxZstdWindow is the largest window a receiver must support (RFC 9659); the
// library's default would take 128 MiB for one frame.
const maxZstdWindow = 8 << 20

// maxDictionary is the largest dictionary for which LZMA decoders get memory.
const maxDictionary = 8 << 20

// errBeyond is the end of data that is well-formed as far as we can tell, but
// that our decoders do not read: others can.
var errBeyond = errors.New("data beyond our decoders")

// beyond reports whether err says so.
func beyond(err error) bool {
	// The library has no randomised blocks, and is stricter than others on tables.
	var odd bzip2.StructuralError
	if errors.As(err, &odd) {
		for _, broken := range []string{"magic", "checksum", "level", "non-Huffman"} { // to everyone
			if strings.Contains(odd.Error(), broken) {
				return false
			}
		}
		return true
	}
	return errors.Is(err, errBeyond) || errors.Is(err, errDefect) ||
		errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrUnknownDictionary)
}

// decodersOf returns the readings of a coding. "deflate" has two, since
// receivers differ on whether the zlib wrapper is there; each that decodes is
// an object.
func (p *pools) decodersOf(coding string) []decoder {
	switch coding {
	case codingGzip:
		return []decoder{{"gzip", p.openGzip}}
	case codingDeflate:
		return []decoder{{"deflate", openZlib}, {"deflate-raw", openFlate}}
	case codingBrotli:
		return []decoder{{"br", p.openBrotli}}
	case codingZstd:
		return []decoder{{"zstd", p.openZstd}}
	case codingAWSChunked:
		return []decoder{{"aws-chunked", openAWSChunked}}
	}
	return nil
}

// openGzip reads all members; reserved flags, a wrong checksum and bytes after
// the last member are errors.
func (p *pools) openGzip(src *bufio.Reader) (io.Reader, func(), error) {
	r := p.gzips.Get().(*gzip.Reader)
	done := func() { p.gzips.Put(r) }
	if err := r.Reset(src); err != nil {
		done()
		return nil, nil, err
	}
	return r, done, nil
}

func openZlib(src *bufio.Reader) (io.Reader, func(), error) {
	r, err := zlib.NewReader(src)
	if err != nil {
		return nil, nil, err
	}
	return r, func() { _ = r.Close() }, nil
}

func openFlate(src *bufio.Reader) (io.Reader, func(), error) {
	r := flate.NewReader(src)
	return r, func() { _ = r.Close() }, nil
}

func (p *pools) openBrotli(src *bufio.Reader) (io.Reader, func(), error) {
	r := p.brotlis.Get().(*brotli.Reader)
	return r, func() { p.brotlis.Put(r) }, r.Reset(src)
}

func (p *pools) openZstd(src *bufio.Reader) (io.Reader, func(), error) {
	r, err := p.zstd()
	if err != nil {
		return nil, nil, err
	}
	done := func() {
		if r.Reset(nil) == nil {
			p.zstds.Put(r)
		}
	}
	if err := r.Reset(src); err != nil {
		done()
		return nil, nil, err
	}
	return r, done, nil
}

func (p *pools) zstd() (*zstd.Decoder, error) {
	if r, ok := p.zstds.Get().(*zstd.Decoder); ok {
		return r, nil
	}
	return zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(1), // no goroutine
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxZstdWindow))
}

func openBzip2(src *bufio.Reader) (io.Reader, func(), error) {
	return bzip2.NewReader(src), func() {}, nil
}
