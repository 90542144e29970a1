package content

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/portcullis-av/portcullis/scan"
)

// Flags of a message frame: compressed (gRPC over HTTP/2), end of the stream
// (Connect) and trailers (gRPC-Web).
const (
	grpcCompressed = 1 << 0
	connectEnd     = 1 << 1
	grpcTrailers   = 1 << 7
	grpcFrame      = 5
)

// isGRPC reports whether a body is made of the frames of gRPC, or of a stream of
// the Connect protocol.
func isGRPC(essence string) bool {
	return strings.HasPrefix(essence, "application/grpc") || strings.HasPrefix(essence, "application/connect+")
}

// grpc looks into the messages of a gRPC body. Messages that are not compressed
// are judged with the raw body; compressed ones are decoded, by their first
// bytes since the label (grpc-encoding) is not a content coding.
func (w *walk) grpc(n *node, essence string) error {
	if strings.HasPrefix(essence, "application/grpc-web-text") {
		return w.grpcText(n)
	}
	buf := w.u.pools.buffer(newSource(w.ctx, n.obj.Content, 0, n.obj.Size))
	defer w.u.pools.giveBuffer(buf)
	found, flags := 0, byte(grpcCompressed|grpcTrailers)
	if strings.HasPrefix(essence, "application/connect+") {
		flags |= connectEnd
	}
	for off := int64(0); off < n.obj.Size; {
		var h [grpcFrame]byte
		if _, err := io.ReadFull(buf, h[:]); err != nil {
			return w.grpcFault(n, err)
		}
		length := int64(binary.BigEndian.Uint32(h[1:]))
		start, end := off+grpcFrame, off+grpcFrame+length
		if h[0]&^flags != 0 || end > n.obj.Size {
			return w.grpcFault(n, io.ErrUnexpectedEOF)
		}
		if h[0]&grpcCompressed != 0 && length > 0 {
			magic, err := buf.Peek(int(min(length, 4)))
			if err != nil {
				return err
			}
			if err := w.grpcMessage(n, found, magic, start, end); err != nil {
				return err
			}
			found++
		}
		if _, err := buf.Discard(int(length)); err != nil {
			return err
		}
		off = end
	}
	return nil
}

// grpcFault refuses a body that is not made of whole frames; any other error is
// ours.
func (w *walk) grpcFault(n *node, err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		w.refuse(n, scan.CauseMalformedBody, "grpc: not made of whole frames")
		return nil
	}
	return err
}

// grpcMessage decodes one compressed message.
func (w *walk) grpcMessage(n *node, i int, magic []byte, start, end int64) error {
	d := decoder{word: fmt.Sprintf("message[%d]", i)}
	switch {
	case hasAnyPrefix(magic, "\x1f\x8b"):
		d.open = w.u.pools.openGzip
	case hasAnyPrefix(magic, "\x28\xb5\x2f\xfd"):
		d.open = w.u.pools.openZstd
	case len(magic) >= 2 && magic[0]&0x0f == 8 && binary.BigEndian.Uint16(magic)%31 == 0:
		d.open = openZlib
	default:
		w.refuse(n, scan.CauseUnknownCoding, "grpc: a message compression that is not decoded")
		return nil
	}
	res, err := w.decodeRange(n, d, start, end)
	if err != nil {
		return err
	}
	if res.err != nil {
		w.refuse(n, scan.CauseMalformedCoding, "grpc: "+res.err.Error())
	}
	if res.layer == nil {
		return nil
	}
	return w.layer(n, piece{word: d.word, kind: byCoding}, res.layer)
}

// grpcText decodes the base64 form of gRPC-Web, in which each flush of the
// sender may end with padding.
func (w *walk) grpcText(n *node) error {
	d := decoder{"grpc-web-text", openLooseBase64}
	res, err := w.decode(n, d)
	if err != nil || res.layer == nil {
		return err
	}
	return w.layer(n, piece{word: d.word, contentType: "application/grpc-web", kind: byCoding}, res.layer)
}
