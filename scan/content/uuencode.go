package content

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

const transferUU = "x-uuencode"

var errUU = errors.New("not well-formed uuencode")

func openUU(src *bufio.Reader) (io.Reader, func(), error) {
	return &uuReader{src: src}, func() {}, nil
}

// uuReader decodes the first uuencoded file (POSIX uuencode) in a text: the
// lines after "begin mode name", up to "end".
type uuReader struct {
	src   *bufio.Reader
	begun bool
	out   []byte
	err   error
}

func (r *uuReader) Read(p []byte) (int, error) {
	for len(r.out) == 0 && r.err == nil {
		r.line()
	}
	if len(r.out) > 0 {
		k := copy(p, r.out)
		r.out = r.out[k:]
		return k, nil
	}
	return 0, r.err
}

func (r *uuReader) line() {
	line, err := r.src.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		err = nil
		if r.begun {
			r.err = errUU
			return
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
		return
	}
	line = bytes.TrimRight(line, "\r\n")
	switch {
	case !r.begun:
		r.begun = bytes.HasPrefix(line, []byte("begin")) && len(line) > 5 && isSpace(line[5])
	case bytes.Equal(line, []byte("end")):
		_, _ = r.src.WriteTo(io.Discard)
		r.err = io.EOF
		return
	case len(line) > 0:
		r.decode(line)
	}
	if errors.Is(err, io.EOF) && r.err == nil {
		r.err = errUU
	}
}

func (r *uuReader) decode(line []byte) { r.out = decodeUULine(line) }

// decodeUULine decodes a line whose first character tells its length. Blanks at its
// end, which stand for zeros, may have been removed on the way.
func decodeUULine(line []byte) []byte {
	want := int(line[0]-' ') & 0x3f
	var out []byte
	for q := line[1:]; len(q) > 0 && len(out) < want; q = q[min(4, len(q)):] {
		var v [4]byte
		for i := range min(4, len(q)) {
			v[i] = (q[i] - ' ') & 0x3f
		}
		out = append(out, v[0]<<2|v[1]>>4, v[1]<<4|v[2]>>2, v[2]<<6|v[3])
	}
	if len(out) < want {
		return append(out, make([]byte, want-len(out))...)
	}
	return out[:want]
}
