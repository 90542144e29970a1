package icap

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"io"
	"strings"

	"github.com/portcullis-av/portcullis/scan"
)

// knownBad is a zip archive of exactly size bytes whose first member is the
// EICAR test file; the second fills it up. Neither is compressed, so every
// scanner that opens archives finds the first, whatever the size.
func knownBad(size int64) scan.Object {
	// Joined here, so that neither source nor binary is taken for the file.
	eicar := []byte(strings.Join([]string{`X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD`, `ANTIVIRUS-TEST-FILE!$H+H*`}, "-"))
	bad := member{name: "eicar.com", size: uint32(len(eicar)), crc: crc32.ChecksumIEEE(eicar)}
	fill := member{name: "zeros.bin"}
	overhead := int64(len(bad.local()) + len(eicar) + len(fill.local()) + len(bad.central(0)) + len(fill.central(0)) + endSize)
	zeros := size - overhead
	fill.size, fill.crc = uint32(zeros), crcOfZeros(zeros)

	head := append(bad.local(), eicar...)
	second := len(head)
	head = append(head, fill.local()...)
	directory := int64(len(head)) + zeros
	tail := append(bad.central(0), fill.central(uint32(second))...)
	tail = append(tail, end(len(tail), uint32(directory))...)

	content := &padded{head: head, zeros: zeros, tail: tail}
	digest := sha256.New()
	_, _ = io.Copy(digest, io.NewSectionReader(content, 0, size)) // neither can fail
	return scan.Object{Path: "canary", Size: size, SHA256: [32]byte(digest.Sum(nil)), Content: content}
}

// member is one uncompressed member of an archive (PKWARE's APPNOTE 4.3).
type member struct {
	name      string
	size, crc uint32
}

const endSize = 22

// common are the fields from the version needed to the name's length.
func (m member) common() []byte {
	b := binary.LittleEndian.AppendUint16(nil, 20) // version 2.0
	b = append(b, 0, 0, 0, 0)                      // no flags, stored
	b = append(b, 0, 0, 0x21, 0)                   // midnight, 1 January 1980
	b = binary.LittleEndian.AppendUint32(b, m.crc)
	b = binary.LittleEndian.AppendUint32(b, m.size)
	b = binary.LittleEndian.AppendUint32(b, m.size)
	return binary.LittleEndian.AppendUint16(b, uint16(len(m.name)))
}

func (m member) local() []byte {
	b := append([]byte("PK\x03\x04"), m.common()...)
	b = append(b, 0, 0) // no extra field
	return append(b, m.name...)
}

func (m member) central(offset uint32) []byte {
	b := append([]byte("PK\x01\x02"), 20, 0)
	b = append(b, m.common()...)
	b = append(b, make([]byte, 2+2+2+2+4)...) // extra, comment, disk, attributes
	b = binary.LittleEndian.AppendUint32(b, offset)
	return append(b, m.name...)
}

func end(directorySize int, directory uint32) []byte {
	b := append([]byte("PK\x05\x06"), 0, 0, 0, 0, 2, 0, 2, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(directorySize))
	b = binary.LittleEndian.AppendUint32(b, directory)
	return append(b, 0, 0)
}

func crcOfZeros(n int64) uint32 {
	var block [64 << 10]byte
	var crc uint32
	for n > 0 {
		part := min(n, int64(len(block)))
		crc = crc32.Update(crc, crc32.IEEETable, block[:part])
		n -= part
	}
	return crc
}

// padded is head, zeros and tail without the memory for the zeros.
type padded struct {
	head, tail []byte
	zeros      int64
}

// ReadAt implements [io.ReaderAt].
func (c *padded) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	start := int64(len(c.head))
	size := start + c.zeros + int64(len(c.tail))
	if off >= size {
		return 0, io.EOF
	}
	if off < start {
		copy(p, c.head[off:])
	}
	if at := start + c.zeros - off; at < int64(len(p)) {
		_, _ = bytes.NewReader(c.tail).ReadAt(p[max(at, 0):], max(-at, 0))
	}
	if left := size - off; left < int64(len(p)) {
		return int(left), io.EOF
	}
	return len(p), nil
}
