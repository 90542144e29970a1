package extproc

import (
	"errors"
	"hash/crc32"

	"github.com/portcullis-av/portcullis/scan"
)

// outflow sends one held body in chunks, in the turns its owner gives it.
type outflow struct {
	leg  scan.Leg
	body scan.Body
	tail tail
	off  int64
	crc  uint32
	// admitted says that weight bytes were taken of what may be released at once.
	admitted bool
	weight   int64
	// late says that the headers went out before the verdict, so that the first
	// chunk carries the metadata.
	late bool
}

func newOutflow(l scan.Leg, b scan.Body, t tail) *outflow {
	return &outflow{leg: l, body: b, tail: t}
}

var errChanged = errors.New("the spooled bytes are not the bytes that were scanned")

//nolint:gochecknoglobals // a table, never changed
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// next reads the next chunk, nil if nothing is left; last says that the held
// body ends with it. A body that is not what was scanned gives an error instead
// of its last chunk.
func (r *outflow) next() (c *outChunk, last bool, err error) {
	left := r.body.Size() - r.off
	if left == 0 {
		return nil, true, nil
	}
	c = newChunk(r.leg, int(min(left, maxChunk)))
	if n, err := r.body.ReadAt(c.bytes(), r.off); n < c.length {
		return nil, false, err
	}
	r.off += int64(c.length)
	last = r.off == r.body.Size()
	r.crc = crc32.Update(r.crc, castagnoli, c.bytes())
	if last && r.crc != r.body.Checksum() {
		return nil, false, errChanged
	}
	return c, last, nil
}
