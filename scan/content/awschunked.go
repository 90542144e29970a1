package content

import (
	"bufio"
	"errors"
	"io"
)

var errChunk = errors.New("not well-formed aws-chunked framing")

func openAWSChunked(src *bufio.Reader) (io.Reader, func(), error) {
	return &chunkReader{src: src}, func() {}, nil
}

// openLooseAWSChunked takes bare line ends too, as some stores do.
func openLooseAWSChunked(src *bufio.Reader) (io.Reader, func(), error) {
	return &chunkReader{src: src, loose: true}, func() {}, nil
}

// maxChunkLine is as long as the line before a chunk may be to MinIO.
const maxChunkLine = 4 << 10

// chunkReader removes the framing of S3's streaming uploads: chunks of
// "size[;chunk-signature=…] CRLF data CRLF", the last of size 0, then trailer
// lines and an empty line. (AWS, Signature Version 4 streaming uploads.) MinIO's
// client ends a trailer with LF CR LF.
type chunkReader struct {
	src      *bufio.Reader
	loose    bool
	trailers bool // the last chunk is over
	left     int64
	err      error
}

func (r *chunkReader) Read(p []byte) (int, error) {
	if r.err == nil && r.left == 0 {
		r.err = r.next()
	}
	if r.err != nil {
		return 0, r.err
	}
	k, err := r.src.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(k)
	switch {
	case errors.Is(err, io.EOF):
		r.err = io.ErrUnexpectedEOF
	case err != nil:
		r.err = err
	case r.left == 0:
		r.err = r.lineEnd()
	}
	return k, nil
}

// next reads the line before a chunk, and after the last one the trailers.
func (r *chunkReader) next() error {
	line, err := r.line()
	if err != nil {
		return err
	}
	digits := 0
	for digits < len(line) && unhex(line[digits]) >= 0 {
		r.left = r.left<<4 | int64(unhex(line[digits]))
		digits++
	}
	if digits == 0 || digits > 12 || digits < len(line) && line[digits] != ';' {
		return errChunk
	}
	if r.left > 0 {
		return nil
	}
	r.trailers = true
	for range maxHeaderLines {
		switch line, err := r.line(); {
		case errors.Is(err, io.ErrUnexpectedEOF) && line == "":
			return io.EOF // the last CRLF is often left out
		case err != nil:
			return err
		case line == "":
			return io.EOF
		}
	}
	return errChunk
}

// line reads up to CRLF.
func (r *chunkReader) line() (string, error) {
	var line []byte
	for len(line) <= maxChunkLine {
		c, err := r.src.ReadByte()
		if errors.Is(err, io.EOF) {
			return string(line), io.ErrUnexpectedEOF
		}
		if err != nil {
			return "", err
		}
		switch {
		case c == '\r':
			return string(line), r.char('\n')
		case c == '\n' && r.trailers && len(line) > 0 && r.nextIs('\r'):
			continue
		case c == '\n' && r.loose:
			return string(line), nil
		case c < ' ' || c > '~':
			return "", errChunk
		}
		line = append(line, c)
	}
	return "", errChunk
}

func (r *chunkReader) nextIs(c byte) bool {
	next, err := r.src.Peek(1)
	return err == nil && next[0] == c
}

func (r *chunkReader) lineEnd() error {
	if r.loose && r.nextIs('\n') {
		return r.char('\n')
	}
	if err := r.char('\r'); err != nil {
		return err
	}
	return r.char('\n')
}

func (r *chunkReader) char(want byte) error {
	c, err := r.src.ReadByte()
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	if err == nil && c != want {
		return errChunk
	}
	return err
}
