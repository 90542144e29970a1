package content

import (
	"bufio"
	stdgzip "compress/gzip"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// maxZstdWindow is the largest window a receiver must support (RFC 9659); the
// library's default would take 128 MiB for one frame.
const maxZstdWindow = 8 << 20

// decodersOf returns the readings of a coding. "deflate" has two, since
// receivers differ on whether the zlib wrapper is there; each that decodes is
// an object.
func decodersOf(coding string) []decoder {
	switch coding {
	case codingGzip:
		return []decoder{{"gzip", openGzip}}
	case codingDeflate:
		return []decoder{{"deflate", openZlib}, {"deflate-raw", openFlate}}
	case codingBrotli:
		return []decoder{{"br", openBrotli}}
	case codingZstd:
		return []decoder{{"zstd", openZstd}}
	case codingAWSChunked:
		return []decoder{{"aws-chunked", openAWSChunked}}
	}
	return nil
}

// openGzip reads all members; reserved flags, a wrong checksum and bytes after
// the last member are errors.
func openGzip(src *bufio.Reader) (io.Reader, func(), error) {
	r, err := gzip.NewReader(src)
	if err != nil {
		return nil, nil, err
	}
	return r, func() { _ = r.Close() }, nil
}

// openGzipLenient accepts reserved flags, as some receivers do; it is for files
// that the strict reader gave up on.
func openGzipLenient(src *bufio.Reader) (io.Reader, func(), error) {
	r, err := stdgzip.NewReader(src)
	if err != nil {
		return nil, nil, err
	}
	return r, func() { _ = r.Close() }, nil
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

func openBrotli(src *bufio.Reader) (io.Reader, func(), error) {
	return brotli.NewReader(src), func() {}, nil
}

func openZstd(src *bufio.Reader) (io.Reader, func(), error) {
	r, err := zstd.NewReader(src,
		zstd.WithDecoderConcurrency(1), // no goroutine
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxZstdWindow))
	if err != nil {
		return nil, nil, err
	}
	return r, r.Close, nil
}
