package content

import (
	"context"
	"errors"
	"io"

	"github.com/portcullis-av/portcullis/scan"
)

// source reads a range of an object from front to back. It keeps the failures
// of our own side (an ended context, a body that cannot be read back) apart
// from those of the content, which decoders report.
type source struct {
	ctx      context.Context //nolint:containedctx // a source lives within one call of Unwrap
	at       io.ReaderAt
	off, end int64
	err      error
}

func newSource(ctx context.Context, at io.ReaderAt, off, end int64) *source {
	return &source{ctx: ctx, at: at, off: off, end: end}
}

// Read implements [io.Reader]. An error other than io.EOF is a failure of our
// side and stays in s.err.
func (s *source) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	if s.off >= s.end {
		return 0, io.EOF
	}
	if s.err = s.ctx.Err(); s.err != nil {
		return 0, s.err
	}
	p = p[:min(int64(len(p)), s.end-s.off)]
	if s.err = readAt(s.at, p, s.off); s.err != nil {
		return 0, s.err
	}
	s.off += int64(len(p))
	return len(p), nil
}

// readAt fills p from off. A body that is shorter than it said is a failure to
// keep it, not a property of the content.
func readAt(at io.ReaderAt, p []byte, off int64) error {
	n, err := at.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = &scan.Error{Kind: scan.KindSpool, Op: "read back a body", Err: io.ErrUnexpectedEOF}
	}
	return err
}
