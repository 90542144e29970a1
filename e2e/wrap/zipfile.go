package wrap

import (
	"encoding/binary"
	"hash/crc32"
)

// zipEntry is a member of a zip archive whose every field may lie.
type zipEntry struct {
	name       string
	data       []byte // as stored
	method     uint16
	flags      uint16
	crc        uint32
	size       int64 // unpacked
	descriptor bool  // sizes follow the data
	bareDesc   bool  // the descriptor has no signature
	zip64      bool
	extra      []byte
	attributes uint32
	creator    byte
	// What the local header says instead, when set.
	localName   string
	localMethod *uint16
	localFlags  *uint16
	localSize   *uint32
	localCRC    *uint32
	noCentral   bool // not in the directory
}

// stored is a member without compression.
func stored(name string, p []byte) zipEntry {
	return zipEntry{name: name, data: p, crc: crc32.ChecksumIEEE(p), size: int64(len(p))}
}

// packed is a member compressed by a method.
func packed(name string, p []byte, method uint16, encode func([]byte) []byte) zipEntry {
	return zipEntry{name: name, data: encode(p), method: method, crc: crc32.ChecksumIEEE(p), size: int64(len(p))}
}

func deflated(name string, p []byte) zipEntry { return packed(name, p, 8, rawDeflate) }

// zipOptions change what stands around the members.
type zipOptions struct {
	prefix, gap, beforeEnd, comment, tail []byte
	countPrefix                           bool // offsets count the prefix
	zip64                                 bool
	end                                   func(record []byte) // edits the end record
}

// zipOf writes an archive.
func zipOf(entries ...zipEntry) []byte { return zipWith(zipOptions{}, entries...) }

func zipWith(o zipOptions, entries ...zipEntry) []byte {
	le := binary.LittleEndian
	out := append([]byte(nil), o.prefix...)
	base := 0
	if !o.countPrefix {
		base = len(o.prefix)
	}
	var dir []byte
	count := 0
	for _, e := range entries {
		offset := len(out) - base
		out = append(out, e.local()...)
		out = append(out, e.data...)
		out = append(out, e.trailer()...)
		out = append(out, o.gap...)
		if !e.noCentral {
			dir = append(dir, e.central(uint32(offset))...)
			count++
		}
	}
	out = append(out, o.beforeEnd...)
	start := len(out) - base
	out = append(out, dir...)
	if o.zip64 {
		pos := len(out) - base
		r := le.AppendUint64([]byte("PK\x06\x06"), 44)
		r = le.AppendUint16(le.AppendUint16(r, 45), 45)
		r = le.AppendUint32(le.AppendUint32(r, 0), 0)
		for _, v := range []int{count, count, len(dir), start} {
			r = le.AppendUint64(r, uint64(v))
		}
		r = append(le.AppendUint32(r, 0x07064b50), 0, 0, 0, 0)
		r = le.AppendUint64(r, uint64(pos))
		out = append(out, le.AppendUint32(r, 1)...)
	}
	end := []byte("PK\x05\x06\x00\x00\x00\x00")
	if o.zip64 {
		end = append(end, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	} else {
		end = le.AppendUint16(le.AppendUint16(end, uint16(count)), uint16(count))
		end = le.AppendUint32(le.AppendUint32(end, uint32(len(dir))), uint32(start))
	}
	end = le.AppendUint16(end, uint16(len(o.comment)))
	if o.end != nil {
		o.end(end)
	}
	return join(out, end, o.comment, o.tail)
}

func (e zipEntry) local() []byte {
	le := binary.LittleEndian
	method, flags, name := e.method, e.flags, e.name
	if e.descriptor {
		flags |= 8
	}
	crc, packedSize, size := e.crc, uint32(len(e.data)), uint32(e.size)
	extra := e.extra
	if e.descriptor {
		crc, packedSize, size = 0, 0, 0
	}
	if e.zip64 {
		f := le.AppendUint16(le.AppendUint16(nil, 1), 16)
		f = le.AppendUint64(le.AppendUint64(f, uint64(e.size)), uint64(len(e.data)))
		extra = join(f, extra)
		packedSize, size = 1<<32-1, 1<<32-1
	}
	if e.localMethod != nil {
		method = *e.localMethod
	}
	if e.localFlags != nil {
		flags = *e.localFlags
	}
	if e.localSize != nil {
		size = *e.localSize
	}
	if e.localCRC != nil {
		crc = *e.localCRC
	}
	if e.localName != "" {
		name = e.localName
	}
	h := append([]byte("PK\x03\x04"), 45, 0)
	h = le.AppendUint16(le.AppendUint16(h, flags), method)
	h = append(h, 0, 0x60, 0x76, 0x5b) // a time
	h = le.AppendUint32(le.AppendUint32(le.AppendUint32(h, crc), packedSize), size)
	h = le.AppendUint16(le.AppendUint16(h, uint16(len(name))), uint16(len(extra)))
	return join(h, name, extra)
}

func (e zipEntry) central(offset uint32) []byte {
	le := binary.LittleEndian
	flags := e.flags
	if e.descriptor {
		flags |= 8
	}
	packedSize, size := uint32(len(e.data)), uint32(e.size)
	extra := e.extra
	if e.zip64 {
		f := le.AppendUint16(le.AppendUint16(nil, 1), 24)
		f = le.AppendUint64(le.AppendUint64(le.AppendUint64(f, uint64(e.size)), uint64(len(e.data))), uint64(offset))
		extra = join(f, extra)
		packedSize, size, offset = 1<<32-1, 1<<32-1, 1<<32-1
	}
	h := append([]byte("PK\x01\x02"), 45, e.creator, 45, 0)
	h = le.AppendUint16(le.AppendUint16(h, flags), e.method)
	h = append(h, 0, 0x60, 0x76, 0x5b)
	h = le.AppendUint32(le.AppendUint32(le.AppendUint32(h, e.crc), packedSize), size)
	h = le.AppendUint16(le.AppendUint16(le.AppendUint16(h, uint16(len(e.name))), uint16(len(extra))), 0)
	h = le.AppendUint16(le.AppendUint16(h, 0), 0)
	h = le.AppendUint32(le.AppendUint32(h, e.attributes), offset)
	return join(h, e.name, extra)
}

func (e zipEntry) trailer() []byte {
	if !e.descriptor {
		return nil
	}
	le := binary.LittleEndian
	var d []byte
	if !e.bareDesc {
		d = append(d, "PK\x07\x08"...)
	}
	d = le.AppendUint32(d, e.crc)
	if e.zip64 {
		return le.AppendUint64(le.AppendUint64(d, uint64(len(e.data))), uint64(e.size))
	}
	return le.AppendUint32(le.AppendUint32(d, uint32(len(e.data))), uint32(e.size))
}
