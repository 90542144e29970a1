package content

import (
	"encoding/binary"
	"errors"
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

// grpc looks into the messages of a gRPC body. Compressed ones are decoded by their
// first bytes, since the label (grpc-encoding) is not a content coding.
func (w *walk) grpc(n *node, essence string) error {
	if strings.HasPrefix(essence, "application/grpc-web-text") {
		return w.grpcText(n, essence)
	}
	m := newMessages(w, n, essence)
	whole, err := w.frames(n, essence, m)
	if err != nil {
		return err
	}
	if !whole {
		w.refuse(n, scan.CauseMalformedBody, "grpc: not made of whole frames")
	}
	return m.end()
}

// frames hands all messages of n to m and reports whether n is made of whole
// frames.
func (w *walk) frames(n *node, essence string, m *messages) (whole bool, err error) {
	buf := w.u.pools.buffer(newSource(w.ctx, n.obj.Content, 0, n.obj.Size))
	defer w.u.pools.giveBuffer(buf)
	last := byte(grpcTrailers)
	if strings.HasPrefix(essence, "application/connect+") {
		last |= connectEnd
	}
	for off := int64(0); off < n.obj.Size; {
		var h [grpcFrame]byte
		if _, err := io.ReadFull(buf, h[:]); err != nil {
			if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
				return false, nil
			}
			return false, err
		}
		length := int64(binary.BigEndian.Uint32(h[1:]))
		start, end := off+grpcFrame, off+grpcFrame+length
		if h[0]&^(last|grpcCompressed) != 0 || end > n.obj.Size {
			return false, nil
		}
		if err := m.add(buf, h[0]&grpcCompressed != 0, h[0]&last != 0, start, end); err != nil {
			return false, err
		}
		if _, err := buf.Discard(int(length)); err != nil {
			return false, err
		}
		off = end
	}
	return true, nil
}

// grpcMessage decodes one compressed message and reports it.
func (w *walk) grpcMessage(n *node, p piece, magic []byte, start, end int64) (scan.Body, error) {
	d := decoder{word: p.word}
	switch {
	case hasAnyPrefix(magic, "\x1f\x8b"):
		d.open = w.u.pools.openGzip
	case hasAnyPrefix(magic, "\x28\xb5\x2f\xfd"):
		d.open = w.u.pools.openZstd
	case len(magic) >= 2 && magic[0]&0x0f == 8 && binary.BigEndian.Uint16(magic)%31 == 0:
		d.open = openZlib
	default:
		w.refuse(n, scan.CauseUnknownCoding, "grpc: a message compression that is not decoded")
		return nil, nil //nolint:nilnil // the reason is noted
	}
	res, err := w.decodeRange(n, d, start, end)
	if err != nil {
		return nil, err
	}
	if res.err != nil {
		w.refuse(n, scan.CauseMalformedCoding, "grpc: "+res.err.Error())
	}
	if res.layer == nil {
		return nil, nil //nolint:nilnil // the reason is noted
	}
	return res.layer, w.layer(n, p, res.layer)
}

// grpcText decodes the base64 form of gRPC-Web, in which each flush of the
// sender may end with padding.
func (w *walk) grpcText(n *node, essence string) error {
	d := decoder{"grpc-web-text", openLooseBase64}
	res, err := w.decode(n, d)
	if err != nil || res.layer == nil {
		return err
	}
	label := "application/grpc-web" + strings.TrimPrefix(essence, "application/grpc-web-text")
	return w.layer(n, piece{word: d.word, contentType: label, kind: byCoding}, res.layer)
}
