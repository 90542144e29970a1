package icap

import (
	"io"
	"strconv"

	"github.com/portcullis-av/portcullis/scan"
)

const (
	frameSize = 64 << 10
	lastChunk = "0\r\n\r\n"
	// wholeInPreview ends a preview that was the whole object (RFC 3507 section 4.5).
	wholeInPreview = "0; ieof\r\n\r\n"
)

// buffer is what the writing side of one scan needs of memory: one frame, and
// beside it a head or the end.
type buffer struct{ frame [frameSize + 8<<10]byte }

// upload writes one object as HTTP chunks.
type upload struct {
	to      io.Writer
	content io.ReaderAt
	buffer  *buffer
	size    int64
	sent    int64
}

// first writes head, the object up to n bytes and the end.
func (u *upload) first(head []byte, n int64, end string) error {
	return u.chunks(append(u.buffer.frame[:0], head...), n, end)
}

// rest writes what is left of the object and the end.
func (u *upload) rest() error { return u.chunks(u.buffer.frame[:0], u.size, lastChunk) }

// chunks writes what b holds already, the object from where it stands up to the
// offset upTo, and the end. An error is an [*scan.Error] if the content could
// not be read, else what the connection said.
func (u *upload) chunks(b []byte, upTo int64, end string) error {
	for u.sent < upTo {
		n := int(min(frameSize, upTo-u.sent))
		b = strconv.AppendUint(b, uint64(n), 16)
		b = append(b, "\r\n"...)
		at := len(b)
		b = append(b, make([]byte, n)...)
		if err := readFull(u.content, b[at:], u.sent); err != nil {
			return err
		}
		b = append(b, "\r\n"...)
		if u.sent+int64(n) == upTo {
			b = append(b, end...)
		}
		if _, err := u.to.Write(b); err != nil {
			return err
		}
		u.sent += int64(n)
		b = u.buffer.frame[:0]
	}
	if len(b) == 0 {
		return nil
	}
	_, err := u.to.Write(append(b, end...)) // an empty preview
	return err
}

// readFull fills p from off. io.EOF beside a full p is no error; content that
// ends early is one.
func readFull(content io.ReaderAt, p []byte, off int64) error {
	n, err := content.ReadAt(p, off)
	if n == len(p) && (err == nil || err == io.EOF) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	kind := scan.KindOf(err)
	if kind == scan.KindInternal {
		kind = scan.KindSpool // a reader's error without a kind of its own
	}
	return &scan.Error{Kind: kind, Op: "read the object to scan", Err: err}
}
