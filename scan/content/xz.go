package content

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

const (
	xzMagic      = "\xfd7zXZ\x00"
	xzHeaderSize = 12
	xzLZMA2      = 0x21
	// Each block costs the memory of its dictionary, so their number is bounded
	// by the size of the data: some, and one more for so many bytes.
	xzFreeBlocks = 64
	xzBlockBytes = 64 << 10
)

var errXZ = errors.New("not well-formed xz")

func openXZ(src *bufio.Reader) (io.Reader, func(), error) {
	r := &xzReader{src: &counter{r: src}}
	return r, func() {}, r.stream()
}

// xzReader decodes xz files (format 1.2): all streams and blocks. It reads the
// container itself because the library takes whatever memory a header asks for;
// integrity checks are stepped over, since what they would prove is that a file
// is damaged, and the data is looked into either way.
type xzReader struct {
	src    *counter
	check  int64 // size of a block's check
	blocks int64
	body   int64 // where the data of the block began
	data   io.Reader
	small  bool // the decoder has less memory than the encoder had
	err    error
}

// counter counts the bytes that were read.
type counter struct {
	r *bufio.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func (c *counter) ReadByte() (byte, error) {
	b, err := c.r.ReadByte()
	if err == nil {
		c.n++
	}
	return b, err
}

func (r *xzReader) Read(p []byte) (int, error) {
	for r.err == nil {
		if r.data == nil {
			r.err = r.block()
			continue
		}
		n, err := r.data.Read(p)
		if errors.Is(err, io.EOF) {
			r.data = nil
			err = r.skip(-(r.src.n-r.body)&3 + r.check)
		}
		if err != nil && r.small && r.data != nil {
			err = errBeyond // most likely a reference too far back
		}
		r.err = err
		if n > 0 {
			return n, nil
		}
	}
	return 0, r.err
}

// stream reads a stream header.
func (r *xzReader) stream() error {
	var h [xzHeaderSize]byte
	if _, err := io.ReadFull(r.src, h[:]); err != nil {
		return noEOF(err)
	}
	if string(h[:6]) != xzMagic || h[6] != 0 || h[7] > 15 || binary.LittleEndian.Uint32(h[8:]) != crc32.ChecksumIEEE(h[6:8]) {
		return errXZ
	}
	r.check = 0
	if h[7] > 0 {
		r.check = 4 << ((h[7] - 1) / 3)
	}
	return nil
}

// block reads a block header, or the end of the stream.
func (r *xzReader) block() error {
	size, err := r.src.ReadByte()
	if err != nil {
		return noEOF(err)
	}
	if size == 0 {
		return r.index()
	}
	if r.blocks++; r.blocks > xzFreeBlocks+r.src.n/xzBlockBytes {
		return errBeyond
	}
	h := make([]byte, (int(size)+1)*4)
	h[0] = size
	if _, err := io.ReadFull(r.src, h[1:]); err != nil {
		return noEOF(err)
	}
	sum := len(h) - 4
	if binary.LittleEndian.Uint32(h[sum:]) != crc32.ChecksumIEEE(h[:sum]) {
		return errXZ
	}
	dictionary, err := xzDictionary(h[1:sum])
	if err != nil {
		return err
	}
	// A dictionary matters only as far back as references go, so that with less
	// memory than announced most files decode; the others end with an error.
	r.small = dictionary > maxDictionary
	r.body = r.src.n
	r.data, err = lzma.Reader2Config{DictCap: int(min(max(dictionary, lzma.MinDictCap), maxDictionary))}.NewReader2(r.src)
	return err
}

// xzDictionary reads the flags, sizes and filters of a block header and returns
// the size of the dictionary.
func xzDictionary(h []byte) (int64, error) {
	flags, b := h[0], bytes.NewReader(h[1:])
	if flags&0x3c != 0 {
		return 0, errBeyond
	}
	for _, present := range []byte{0x40, 0x80} {
		if flags&present != 0 {
			if _, err := binary.ReadUvarint(b); err != nil {
				return 0, errXZ
			}
		}
	}
	filter, err1 := binary.ReadUvarint(b)
	size, err2 := binary.ReadUvarint(b)
	exponent, err3 := b.ReadByte()
	switch {
	case err1 != nil || err2 != nil || err3 != nil || exponent > 40:
		return 0, errXZ
	case flags&3 != 0 || filter != xzLZMA2 || size != 1:
		return 0, errBeyond // filters for machine code
	}
	return (2 | int64(exponent)&1) << (exponent/2 + 11), nil
}

// index steps over the index and the footer, and goes on with the next stream.
func (r *xzReader) index() error {
	start := r.src.n - 1
	count, err := binary.ReadUvarint(r.src)
	if err != nil || count > uint64(r.blocks) {
		return errXZ
	}
	for range 2 * count {
		if _, err := binary.ReadUvarint(r.src); err != nil {
			return errXZ
		}
	}
	if err := r.skip(-(r.src.n-start)&3 + 4 + xzHeaderSize); err != nil {
		return err
	}
	for { // padding between streams: zeros in fours
		next, err := r.src.r.Peek(4)
		if len(next) == 0 && errors.Is(err, io.EOF) {
			return io.EOF
		}
		if string(next) != "\x00\x00\x00\x00" {
			return r.stream()
		}
		if err := r.skip(4); err != nil {
			return err
		}
	}
}

func (r *xzReader) skip(n int64) error {
	_, err := io.CopyN(io.Discard, r.src, n)
	return noEOF(err)
}

// noEOF makes an end that comes too early an error.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// openLZMA decodes a zip member of method 14: a version, the size of the
// properties, the properties, and a stream (APPNOTE.TXT 5.8).
func (e *zipEntry) openLZMA(src *bufio.Reader) (io.Reader, func(), error) {
	var h [9]byte
	if _, err := io.ReadFull(src, h[:]); err != nil {
		return nil, nil, noEOF(err)
	}
	le := binary.LittleEndian
	if le.Uint16(h[2:]) != 5 {
		return nil, nil, errXZ
	}
	if le.Uint32(h[5:]) > maxDictionary {
		return nil, nil, errBeyond // this reader takes what the header says
	}
	size := uint64(e.size)
	const endMarked = 1 << 1
	if e.flags&endMarked != 0 {
		size = 1<<64 - 1
	}
	header := le.AppendUint64(bytes.Clone(h[4:]), size)
	r, err := lzma.ReaderConfig{DictCap: maxDictionary}.NewReader(io.MultiReader(bytes.NewReader(header), src))
	return r, func() {}, err
}
