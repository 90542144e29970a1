package content

import (
	"bufio"
	"io"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
)

const (
	blockSize  = 96 << 10 // more than a zip's end record with its comment
	bufferSize = 32 << 10
)

// pools keeps what every walk needs for a moment, so that small bodies cost no
// large allocation.
type pools struct {
	blocks  sync.Pool // *[]byte of blockSize
	buffers sync.Pool // *bufio.Reader of bufferSize
	gzips   sync.Pool // *gzip.Reader
	brotlis sync.Pool // *brotli.Reader
	zstds   sync.Pool // *zstd.Decoder; without one to spare, nil
}

func newPools() *pools {
	return &pools{
		blocks:  sync.Pool{New: func() any { b := make([]byte, blockSize); return &b }},
		buffers: sync.Pool{New: func() any { return bufio.NewReaderSize(nil, bufferSize) }},
		gzips:   sync.Pool{New: func() any { return new(gzip.Reader) }},
		brotlis: sync.Pool{New: func() any { return new(brotli.Reader) }},
	}
}

func (p *pools) block() *[]byte      { return p.blocks.Get().(*[]byte) }
func (p *pools) giveBlock(b *[]byte) { p.blocks.Put(b) }
func (p *pools) giveBuffer(b *bufio.Reader) {
	b.Reset(nil)
	p.buffers.Put(b)
}

// buffer returns a reader that also reads single bytes, so that decoders take
// no byte more than they decode and the rest can be seen.
func (p *pools) buffer(r io.Reader) *bufio.Reader {
	b := p.buffers.Get().(*bufio.Reader)
	b.Reset(r)
	return b
}
