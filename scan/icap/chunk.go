package icap

import (
	"bufio"
	"errors"
	"io"
	"strings"
)

const (
	maxChunkLine   = 4 << 10
	maxChunkDigits = 8
)

// chunked reads a body in HTTP's chunked coding, strictly: an answer that is
// cut or that two readers could cut differently is an error, never an end.
type chunked struct {
	in      *bufio.Reader
	left    int64 // bytes left of the current chunk
	started bool
	ended   bool   // the last chunk and the trailer were read
	trailer fields // valid once ended
}

// Read implements [io.Reader]; io.EOF means that the body is complete. Other
// errors are protocol errors, or the connection's own, io.ErrUnexpectedEOF
// among them.
func (c *chunked) Read(p []byte) (int, error) {
	if c.ended {
		return 0, io.EOF
	}
	if c.left == 0 {
		if err := c.next(); err != nil {
			return 0, err
		}
		if c.ended {
			return 0, io.EOF
		}
	}
	n, err := c.in.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, unexpected(err)
}

// next reads the end of one chunk and the beginning of the next.
func (c *chunked) next() error {
	if c.started {
		if err := c.expectLineEnd(); err != nil {
			return err
		}
	}
	c.started = true
	size, err := c.sizeLine()
	if err != nil {
		return err
	}
	if c.left = size; size > 0 {
		return nil
	}
	lines, err := readLines(c.in)
	if err != nil {
		return unexpected(err)
	}
	c.trailer, err = parseFields(lines)
	c.ended = err == nil
	return err
}

func (c *chunked) expectLineEnd() error {
	for _, want := range []byte("\r\n") {
		got, err := c.in.ReadByte()
		if err != nil {
			return unexpected(err)
		}
		if got != want {
			return protocolError("a chunk that is longer than it says")
		}
	}
	return nil
}

// sizeLine reads "1f4; name=value". Extensions mean nothing here.
func (c *chunked) sizeLine() (int64, error) {
	var line []byte
	for len(line) == 0 || line[len(line)-1] != '\n' {
		b, err := c.in.ReadByte()
		if err != nil {
			return 0, unexpected(err)
		}
		if line = append(line, b); len(line) > maxChunkLine {
			return 0, protocolError("a chunk size of more than %d bytes", maxChunkLine)
		}
	}
	text, ok := strings.CutSuffix(string(line), "\r\n")
	digits, _, _ := strings.Cut(strings.TrimRight(text, " \t"), ";")
	if !ok || strings.Contains(text, "\r") || digits == "" || len(digits) > maxChunkDigits {
		return 0, protocolError("no chunk size in %d bytes", len(text))
	}
	var size int64
	for _, d := range []byte(digits) {
		v := strings.IndexByte("0123456789abcdef", d|0x20)
		if v < 0 || d < '0' {
			return 0, protocolError("no chunk size in %d bytes", len(text))
		}
		size = size<<4 | int64(v)
	}
	return size, nil
}

// unexpected is an end of the connection where more had to come.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
