package scantest

import (
	"io"
	"sync/atomic"
)

// watched counts reads that come after the scan returned.
type watched struct {
	io.ReaderAt
	returned atomic.Bool
	late     atomic.Int64
}

func (w *watched) ReadAt(p []byte, off int64) (int, error) {
	if w.returned.Load() {
		w.late.Add(1)
	}
	return w.ReaderAt.ReadAt(p, off)
}

// failingAt fails every read that touches a byte at or after its offset.
type failingAt struct {
	io.ReaderAt
	off int64
	err error
}

func (f failingAt) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) <= f.off {
		return f.ReaderAt.ReadAt(p, off)
	}
	n, err := f.ReaderAt.ReadAt(p[:max(f.off-off, 0)], off)
	if err != nil && err != io.EOF {
		return n, err
	}
	return n, f.err
}

// eagerEOF returns io.EOF together with the last byte of its size.
type eagerEOF struct {
	io.ReaderAt
	size int64
}

func (e eagerEOF) ReadAt(p []byte, off int64) (int, error) {
	n, err := e.ReaderAt.ReadAt(p, off)
	if err == nil && off+int64(n) == e.size {
		err = io.EOF
	}
	return n, err
}
