package extproc

import (
	"crypto/sha256"
	"errors"
	"hash"
	"io"

	"github.com/portcullis-av/portcullis/scan"
)

// maxChunk is the largest chunk sent to Envoy in FULL_DUPLEX, as its API asks.
const maxChunk = 64 << 10

// outflow sends one held body in chunks, in the turns its owner gives it.
type outflow struct {
	body   scan.Body
	tail   tail
	off    int64
	digest hash.Hash
}

func newOutflow(b scan.Body, t tail) *outflow {
	return &outflow{body: b, tail: t, digest: sha256.New()}
}

var errChanged = errors.New("the spooled bytes are not the bytes that were scanned")

// next returns the next chunk; last says that the held body ends with it. A body
// that is not what was scanned gives an error instead of its last chunk.
func (r *outflow) next() (chunk []byte, last bool, err error) {
	size := r.body.Size()
	if r.off == size {
		return nil, true, nil
	}
	chunk, err = r.body.Slice(r.off, maxChunk)
	if err != nil {
		return nil, false, err
	}
	if len(chunk) == 0 {
		return nil, false, io.ErrUnexpectedEOF
	}
	r.off += int64(len(chunk))
	r.digest.Write(chunk)
	last = r.off == size
	if last && r.tail != tailMore && [sha256.Size]byte(r.digest.Sum(nil)) != r.body.SHA256() {
		return nil, false, errChanged
	}
	return chunk, last, nil
}
