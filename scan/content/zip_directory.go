package content

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"github.com/portcullis-av/portcullis/scan"
)

// Signatures and sizes of APPNOTE.TXT 6.3.10.
const (
	zipLocal        = "PK\x03\x04"
	zipCentral      = "PK\x01\x02"
	zipEnd          = "PK\x05\x06"
	zipSpanned      = "PK\x07\x08" // also a data descriptor
	zipEnd64        = "PK\x06\x06"
	zipEnd64Locator = "PK\x06\x07"

	zipLocalSize     = 30
	zipCentralSize   = 46
	zipEndSize       = 22
	zipLocatorSize   = 20
	zipEnd64Size     = 56
	zipMaxComment    = 1<<16 - 1
	zipMaxMemberName = 4 << 10
	// zipMaxTail is how far from the end readers look for the end record: Info-ZIP's
	// goes some blocks beyond the longest comment.
	zipMaxTail = zipEndSize + zipMaxComment + 16<<10

	zipSizes64     = 0x0001 // tags of extra fields
	zipUnicodePath = 0x7075
)

// zipFault is a violation of the rules for archives.
type zipFault struct {
	outcome scan.Outcome
	cause   scan.Cause
	detail  string
}

func (f *zipFault) Error() string { return "zip: " + f.detail }

func ambiguous(detail string) error {
	return &zipFault{scan.OutcomePolicy, scan.CauseAmbiguousArchive, detail}
}

// zipEntry is one entry of the directory. Offsets are from the first byte of
// the object.
type zipEntry struct {
	record     int64 // where its directory record begins
	local      int64 // where its local header begins
	data       int64 // where its content begins, known once the local header was read
	compressed int64
	size       int64
	crc        uint32
	method     uint16
	flags      uint16
	nameLen    uint16
}

// zipArchive is a directory and where it was found.
type zipArchive struct {
	at      io.ReaderAt
	size    int64
	prefix  int64 // bytes in front of the archive that offsets do not count
	start   int64 // of the directory
	end     int64 // of the directory
	count   int64
	entries []zipEntry
}

var (
	errNoZip     = errors.New("no zip archive")
	errZipWithin = errors.New("a zip archive with other bytes around it")
)

// openZipEnd finds the end record of an archive in tail, which is the end of
// the object. begins says that the object begins like a zip; strict that an
// archive with other bytes around it makes the object ambiguous even when bytes
// follow it; else it returns errZipWithin for such a one. It returns errNoZip for
// anything else than an archive.
func openZipEnd(at io.ReaderAt, size int64, tail []byte, begins, strict bool) (*zipArchive, error) {
	a := &zipArchive{at: at, size: size}
	base := size - int64(len(tail))
	central := firstEntry(tail)
	found, exact := -1, 0
	for i := 0; ; i++ {
		k := bytes.Index(tail[i:], []byte(zipEnd))
		if k < 0 {
			break
		}
		i += k
		if len(tail)-i < zipEndSize || !begins && central > i && !leadsToEntry(at, base+int64(i), tail[i:]) {
			continue
		}
		found = i
		if i+zipEndSize+int(binary.LittleEndian.Uint16(tail[i+20:])) == len(tail) {
			exact++
		}
	}
	switch {
	case found < 0 && !begins:
		return nil, errNoZip
	case found < 0:
		return nil, ambiguous("no end record")
	case exact == 0 && !begins && !strict:
		return nil, errZipWithin
	case exact != 1 || found+zipEndSize+int(binary.LittleEndian.Uint16(tail[found+20:])) != len(tail):
		return nil, ambiguous("not exactly one end record at the end")
	}
	if comment := tail[found+zipEndSize:]; hasZipSignature(comment) {
		return nil, ambiguous("an archive in the comment")
	}
	return a, a.readEnd(tail[found:found+zipEndSize], base+int64(found))
}

// firstEntry returns where the first entry of a directory stands in tail, or its
// length. An end record behind one is taken for one whatever it says: readers differ
// on what they check. Programs that read archives hold such signatures too, but no
// entry behind them.
func firstEntry(tail []byte) int {
	le := binary.LittleEndian
	for i := 0; ; i++ {
		k := bytes.Index(tail[i:], []byte(zipCentral))
		if k < 0 || len(tail)-i-k < zipCentralSize {
			return len(tail)
		}
		i += k
		h := tail[i:]
		length := zipCentralSize + int(le.Uint16(h[28:])) + int(le.Uint16(h[30:])) + int(le.Uint16(h[32:]))
		if le.Uint16(h[28:]) > 0 && le.Uint16(h[34:]) == 0 && le.Uint16(h[10:]) <= zipAES && i+length+zipEndSize <= len(tail) {
			return i
		}
	}
}

// leadsToEntry tells an end record r at pos from four bytes that look like one: there
// is an entry of a directory where it says, counted from either end, or a locator
// before it.
func leadsToEntry(at io.ReaderAt, pos int64, r []byte) bool {
	le := binary.LittleEndian
	return signatureAt(at, pos-zipLocatorSize, zipEnd64Locator) ||
		signatureAt(at, pos-int64(le.Uint32(r[12:])), zipCentral) || signatureAt(at, int64(le.Uint32(r[16:])), zipCentral)
}

func signatureAt(at io.ReaderAt, off int64, signature string) bool {
	var p [len(zipEnd)]byte
	if off < 0 {
		return false
	}
	_, err := at.ReadAt(p[:], off) // what cannot be read is met again
	return err == nil && string(p[:]) == signature
}

func hasZipSignature(p []byte) bool {
	for _, s := range []string{zipLocal, zipCentral, zipEnd, zipSpanned, zipEnd64, zipEnd64Locator} {
		if bytes.Contains(p, []byte(s)) {
			return true
		}
	}
	return false
}

// readEnd reads the end record r found at pos, and its zip64 extension.
func (a *zipArchive) readEnd(r []byte, pos int64) error {
	le := binary.LittleEndian
	disk, dirDisk := le.Uint16(r[4:]), le.Uint16(r[6:])
	here, count := int64(le.Uint16(r[8:])), int64(le.Uint16(r[10:]))
	size, offset := int64(le.Uint32(r[12:])), int64(le.Uint32(r[16:]))
	if disk != 0 && disk != 1<<16-1 || disk != dirDisk || here != count {
		return &zipFault{scan.OutcomePolicy, scan.CausePartialArchive, "a volume of a split archive"}
	}
	a.end = pos
	if pos >= zipLocatorSize {
		var l [zipLocatorSize]byte
		if err := readAt(a.at, l[:], pos-zipLocatorSize); err != nil {
			return err
		}
		if string(l[:4]) == zipEnd64Locator {
			return a.readEnd64(l[:], pos, count, size, offset)
		}
	}
	if count == 1<<16-1 || size == 1<<32-1 || offset == 1<<32-1 {
		return ambiguous("zip64 sizes without a zip64 record")
	}
	return a.place(count, size, offset)
}

// readEnd64 reads the zip64 end record. It must stand directly before its
// locator, and agree with the plain record where that holds a value.
func (a *zipArchive) readEnd64(locator []byte, end, count, size, offset int64) error {
	le := binary.LittleEndian
	pos := end - zipLocatorSize - zipEnd64Size
	if pos < 0 {
		return ambiguous("zip64 record")
	}
	var r [zipEnd64Size]byte
	if err := readAt(a.at, r[:], pos); err != nil {
		return err
	}
	if string(r[:4]) != zipEnd64 || le.Uint64(r[4:]) != zipEnd64Size-12 || le.Uint32(locator[4:]) != 0 || le.Uint32(locator[16:]) > 1 {
		return ambiguous("zip64 record")
	}
	if le.Uint32(r[16:]) != 0 || le.Uint32(r[20:]) != 0 {
		return &zipFault{scan.OutcomePolicy, scan.CausePartialArchive, "a volume of a split archive"}
	}
	here, count64, size64, offset64 := int64(le.Uint64(r[24:])), int64(le.Uint64(r[32:])), int64(le.Uint64(r[40:])), int64(le.Uint64(r[48:]))
	agree := here == count64 && count64 >= 0 && size64 >= 0 && offset64 >= 0 &&
		(count == 1<<16-1 || count == count64) && (size == 1<<32-1 || size == size64) && (offset == 1<<32-1 || offset == offset64)
	if !agree {
		return ambiguous("the zip64 record and the end record disagree")
	}
	a.end = pos
	if err := a.place(count64, size64, offset64); err != nil {
		return err
	}
	if int64(le.Uint64(locator[8:]))+a.prefix != pos {
		return ambiguous("zip64 locator")
	}
	return nil
}

// place checks that the directory ends where the end record begins.
func (a *zipArchive) place(count, size, offset int64) error {
	a.count, a.start = count, a.end-size
	a.prefix = a.start - offset
	switch {
	case size > a.end || a.prefix < 0 || size < count*zipCentralSize:
		return ambiguous("the directory is not where the end record says")
	case count == 0 && size != 0:
		return ambiguous("a directory without entries")
	}
	return nil
}

// readDirectory reads all entries. Nothing of it is kept but numbers.
func (a *zipArchive) readDirectory(r io.Reader) error {
	pos := a.start
	var h [zipCentralSize]byte
	extra := make([]byte, 0, 64)
	for range a.count {
		if _, err := io.ReadFull(r, h[:]); err != nil {
			return dirError(err)
		}
		le := binary.LittleEndian
		if string(h[:4]) != zipCentral {
			return ambiguous("directory entry")
		}
		nameLen, extraLen, commentLen := int(le.Uint16(h[28:])), int(le.Uint16(h[30:])), int(le.Uint16(h[32:]))
		e := zipEntry{
			record: pos, flags: le.Uint16(h[8:]), method: le.Uint16(h[10:]), crc: le.Uint32(h[16:]),
			compressed: int64(le.Uint32(h[20:])), size: int64(le.Uint32(h[24:])), local: int64(le.Uint32(h[42:])), nameLen: uint16(nameLen),
		}
		if cap(extra) < nameLen+extraLen+commentLen {
			extra = make([]byte, nameLen+extraLen+commentLen)
		}
		extra = extra[:nameLen+extraLen+commentLen]
		if _, err := io.ReadFull(r, extra); err != nil {
			return dirError(err)
		}
		if bytes.Contains(extra, []byte(zipEnd)) {
			return ambiguous("an end record inside the directory")
		}
		if le.Uint16(h[34:]) != 0 {
			return &zipFault{scan.OutcomePolicy, scan.CausePartialArchive, "a member on another volume"}
		}
		if !e.zip64(extra[nameLen : nameLen+extraLen]) {
			return ambiguous("zip64 sizes of a member")
		}
		if fault := memberFault(e, extra[:nameLen], h[5], le.Uint32(h[38:])); fault != nil {
			return fault
		}
		if field, _ := extraField(extra[nameLen:nameLen+extraLen], zipUnicodePath); len(field) > 5 && unsafeName(string(field[5:])) {
			return ambiguous("a member name in Unicode") // which most readers prefer
		}
		e.local += a.prefix
		a.entries = append(a.entries, e)
		pos += int64(zipCentralSize + nameLen + extraLen + commentLen)
	}
	if pos != a.end {
		return ambiguous("bytes after the last directory entry")
	}
	return nil
}

func dirError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ambiguous("the directory is cut")
	}
	return err
}

// zip64 takes the 64-bit values of the extra field for those that do not fit.
func (e *zipEntry) zip64(extra []byte) bool {
	field, once := extraField(extra, zipSizes64)
	if !once {
		return false // readers take the first or the last
	}
	for _, v := range []*int64{&e.size, &e.compressed, &e.local} {
		if *v != 1<<32-1 {
			continue
		}
		if len(field) < 8 {
			return false
		}
		*v = int64(binary.LittleEndian.Uint64(field))
		field = field[8:]
		if *v < 0 {
			return false
		}
	}
	return true
}

// extraField returns the field with this tag of an extra block, and whether there is
// no second one.
func extraField(extra []byte, tag uint16) (field []byte, once bool) {
	for len(extra) >= 4 {
		t, size := binary.LittleEndian.Uint16(extra), int(binary.LittleEndian.Uint16(extra[2:]))
		if size > len(extra)-4 {
			break
		}
		if t == tag {
			if field != nil {
				return field, false
			}
			field = extra[4 : 4+size : 4+size]
		}
		extra = extra[4+size:]
	}
	return field, true
}
