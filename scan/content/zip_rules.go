package content

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/portcullis-av/portcullis/scan"
)

// Methods that archives of today use (APPNOTE.TXT 4.4.5).
const (
	zipStored    = 0
	zipDeflate   = 8
	zipDeflate64 = 9
	zipBzip2     = 12
	zipLZMA      = 14
	zipZstd      = 93
	zipXZ        = 95
	zipAES       = 99
)

const (
	zipFlagEncrypted  = 1 << 0
	zipFlagDescriptor = 1 << 3
	zipFlagStrong     = 1 << 6
	zipFlagMasked     = 1 << 13
)

// memberFault applies the rules that one directory entry can break.
func memberFault(e zipEntry, name []byte, creator byte, attributes uint32) error {
	if e.flags&(zipFlagEncrypted|zipFlagStrong|zipFlagMasked) != 0 || e.method == zipAES {
		return &zipFault{scan.OutcomePolicy, scan.CauseEncrypted, "an encrypted member"}
	}
	switch e.method {
	case zipStored, zipDeflate, zipDeflate64, zipBzip2, zipLZMA, zipZstd, zipXZ:
	default:
		return ambiguous("an unusual method")
	}
	if e.method == zipStored && e.compressed != e.size {
		return ambiguous("a stored member whose sizes differ")
	}
	if len(name) == 0 || len(name) > zipMaxMemberName || unsafeName(string(name)) {
		return ambiguous("a member name")
	}
	const unix, macOS = 3, 19
	if creator == unix || creator == macOS {
		switch mode := attributes >> 16 & 0xf000; mode {
		case 0, 0x8000, 0x4000: // none, file, directory
		case 0x1000, 0xf000: // Info-ZIP's for its standard input; old Maven's for folders of its own
		default:
			return ambiguous("a member that is no file")
		}
	}
	return nil
}

// unsafeName reports whether a member's name leads out of the folder it is
// extracted to.
func unsafeName(name string) bool {
	if strings.IndexByte(name, 0) >= 0 || strings.HasPrefix(name, "/") || strings.HasPrefix(name, `\`) {
		return true
	}
	if len(name) >= 2 && name[1] == ':' && isAlnum(name[0]) {
		return true
	}
	return slices.Contains(strings.FieldsFunc(name, func(r rune) bool { return r == '/' || r == '\\' }), "..")
}

// bombFault judges the sizes that the directory claims, before anything is
// decoded.
func (a *zipArchive) bombFault(l scan.ContentLimits) error {
	var total int64
	for _, e := range a.entries {
		if total += e.size; total < 0 || e.size > 1<<50 {
			return &zipFault{scan.OutcomePolicy, scan.CauseBomb, "claims to expand beyond all measure"}
		}
	}
	if total > ratioFrom && total/l.MaxRatio >= a.size {
		return &zipFault{scan.OutcomePolicy, scan.CauseBomb, "claims to expand beyond the permitted ratio"}
	}
	return nil
}

// tile checks that the members, each with its local header and descriptor,
// cover the file from its start to the directory without gap or overlap, and
// that local headers say what the directory says.
func (a *zipArchive) tile(selfExtracting bool) error {
	order := make([]int32, len(a.entries))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(x, y int32) int {
		switch d := a.entries[x].local - a.entries[y].local; {
		case d < 0:
			return -1
		case d > 0:
			return 1
		}
		return 0
	})
	first := a.start
	if len(order) > 0 {
		first = a.entries[order[0]].local
	}
	if first != 0 && !selfExtracting {
		return ambiguous("bytes in front of the archive")
	}
	// What lies between them is read on the way, so all must be where they say.
	if len(order) > 0 && (first < 0 || a.start-a.entries[order[len(order)-1]].local < zipLocalSize) {
		return ambiguous("members overlap")
	}
	for k, i := range order {
		next := a.start
		if k+1 < len(order) {
			next = a.entries[order[k+1]].local
		}
		if err := a.checkLocal(&a.entries[i], next, k+1 == len(order)); err != nil {
			return err
		}
	}
	return nil
}

// checkLocal compares a local header with its directory entry; next is where
// the following one, or the directory, begins.
func (a *zipArchive) checkLocal(e *zipEntry, next int64, last bool) error {
	if next-e.local < zipLocalSize {
		return ambiguous("members overlap")
	}
	var h [zipLocalSize]byte
	if err := readAt(a.at, h[:], e.local); err != nil {
		return err
	}
	le := binary.LittleEndian
	nameLen, extraLen := int64(le.Uint16(h[26:])), int64(le.Uint16(h[28:]))
	e.data = e.local + zipLocalSize + nameLen + extraLen
	switch {
	case string(h[:4]) != zipLocal:
		return ambiguous("no local header where the directory says")
	case le.Uint16(h[6:]) != e.flags || le.Uint16(h[8:]) != e.method || nameLen != int64(e.nameLen):
		return ambiguous("a local header and the directory disagree")
	case e.data > next || e.compressed > next-e.data:
		return ambiguous("members overlap")
	}
	variable := make([]byte, nameLen+extraLen+nameLen)
	local, central := variable[:nameLen+extraLen], variable[nameLen+extraLen:]
	if err := readAt(a.at, local, e.local+zipLocalSize); err != nil {
		return err
	}
	if err := readAt(a.at, central, e.record+zipCentralSize); err != nil {
		return err
	}
	if !bytes.Equal(local[:nameLen], central) {
		return ambiguous("a local header and the directory disagree on a name")
	}
	if !e.agrees(h[:], local[nameLen:]) {
		return ambiguous("a local header and the directory disagree on sizes")
	}
	return a.checkGap(e, next, last)
}

// agrees compares sizes and checksum. With a data descriptor the local header
// may leave them at zero.
func (e *zipEntry) agrees(h, extra []byte) bool {
	le := binary.LittleEndian
	local := zipEntry{compressed: int64(le.Uint32(h[18:])), size: int64(le.Uint32(h[22:])), crc: le.Uint32(h[14:])}
	if !local.zip64(extra) {
		return false
	}
	if e.flags&zipFlagDescriptor == 0 {
		return local.compressed == e.compressed && local.size == e.size && local.crc == e.crc
	}
	return (local.compressed == 0 || local.compressed == e.compressed) && (local.size == 0 || local.size == e.size) && (local.crc == 0 || local.crc == e.crc)
}

// checkGap allows nothing between a member and what follows but its data
// descriptor, and after the last one the signing block of Android packages.
func (a *zipArchive) checkGap(e *zipEntry, next int64, last bool) error {
	end := e.data + e.compressed
	gap := next - end
	if gap == 0 && e.flags&zipFlagDescriptor == 0 {
		return nil
	}
	var d [24]byte
	if e.flags&zipFlagDescriptor != 0 {
		p := d[:min(gap, int64(len(d)))]
		if err := readAt(a.at, p, end); err != nil {
			return err
		}
		used := e.descriptor(p, gap, last)
		if used == 0 {
			return ambiguous("a data descriptor")
		}
		end, gap = end+used, gap-used
	}
	if gap == 0 || last && a.signingBlock(end, gap) {
		return nil
	}
	return ambiguous("bytes between members")
}

// descriptor returns the length of the data descriptor that p begins with, 0
// if there is none that says what the directory says. It must fill the gap
// unless the member is the last one.
func (e *zipEntry) descriptor(p []byte, gap int64, last bool) int64 {
	le := binary.LittleEndian
	for _, length := range []int64{24, 20, 16, 12} {
		if gap < length || gap > length && !last {
			continue
		}
		q := p[:length]
		if length%8 == 0 {
			if string(q[:4]) != zipSpanned {
				continue
			}
			q = q[4:]
		}
		var compressed, size int64
		if len(q) == 20 {
			compressed, size = int64(le.Uint64(q[4:])), int64(le.Uint64(q[12:]))
		} else {
			compressed, size = int64(le.Uint32(q[4:])), int64(le.Uint32(q[8:]))
		}
		if le.Uint32(q) == e.crc && compressed == e.compressed && size == e.size {
			return length
		}
	}
	return 0
}

// signingBlock recognises the APK Signing Block (Android, signature scheme v2),
// which stands between the last member and the directory by design.
func (a *zipArchive) signingBlock(off, size int64) bool {
	const magic = "APK Sig Block 42"
	if size < 32 {
		return false
	}
	var head [8]byte
	var foot [24]byte
	if readAt(a.at, head[:], off) != nil || readAt(a.at, foot[:], off+size-24) != nil {
		return false
	}
	le := binary.LittleEndian
	return string(foot[8:]) == magic && le.Uint64(foot[:]) == uint64(size-8) && le.Uint64(head[:]) == uint64(size-8) &&
		!a.holds(zipLocal, off, off+size)
}

// holds looks for a signature in a range. Readers of a stream step over what they do
// not know to the next local header.
func (a *zipArchive) holds(signature string, off, end int64) bool {
	p := make([]byte, min(end-off, blockSize))
	for off < end {
		q := p[:min(end-off, int64(len(p)))]
		if readAt(a.at, q, off) != nil || bytes.Contains(q, []byte(signature)) {
			return true
		}
		if off += int64(len(q)); off < end {
			off -= int64(len(signature) - 1)
		}
	}
	return false
}
