package clamd

import (
	"encoding/binary"
	"io"
	"net"

	"github.com/portcullis-av/portcullis/scan"
)

const (
	command    = "zINSTREAM\x00"
	headerSize = 4 // a chunk's length, 32 bit big-endian
	frameSize  = 64 << 10
)

// buffer is what one scan needs of memory. A frame has room for the command
// before it and the closing zero chunk after it, so an object of up to
// frameSize bytes leaves in a single write.
type buffer struct {
	frame [len(command) + headerSize + frameSize + headerSize]byte
	reply [maxReply + 1]byte
}

// stream sends the command, the content in frames, and the zero chunk. It
// returns how many bytes of content were written as whole frames. An error is
// an [*scan.Error] if the content could not be read, else what the connection said.
func (b *buffer) stream(conn net.Conn, o scan.Object) (sent int64, err error) {
	const header, data = len(command), len(command) + headerSize
	copy(b.frame[:], command)
	from := 0 // the first frame goes with the command before it
	for sent < o.Size {
		n := int(min(frameSize, o.Size-sent))
		if err := readFull(o.Content, b.frame[data:data+n], sent); err != nil {
			return sent, err
		}
		binary.BigEndian.PutUint32(b.frame[header:], uint32(n)) //nolint:gosec // n <= frameSize
		end := data + n
		if sent+int64(n) == o.Size {
			clear(b.frame[end : end+headerSize])
			end += headerSize
		}
		if _, err := conn.Write(b.frame[from:end]); err != nil {
			return sent, err
		}
		sent += int64(n)
		from = header
	}
	return sent, nil
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
