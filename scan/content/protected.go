package content

import (
	"encoding/binary"

	"github.com/portcullis-av/portcullis/scan"
)

// protected recognises containers that are left to the engines but that no
// engine can open: encrypted or split ones. It reads headers only.
func (w *walk) protected(n *node, head []byte) error {
	switch {
	case hasAnyPrefix(head, "Rar!\x1a\x07\x00"):
		w.rar4(n, head)
	case hasAnyPrefix(head, "Rar!\x1a\x07\x01\x00"):
		w.rar5(n, head)
	case hasAnyPrefix(head, "7z\xbc\xaf\x27\x1c"):
		return w.sevenZip(n, head)
	case hasAnyPrefix(head, oleMagic):
		return w.ole(n)
	}
	return nil
}

func (w *walk) encrypted(n *node, detail string) {
	w.note(n, scan.OutcomePolicy, scan.CauseEncrypted, detail)
}

func (w *walk) volume(n *node) {
	w.note(n, scan.OutcomePolicy, scan.CausePartialArchive, "rar: a volume of a split archive")
}

// rar4 reads the archive header of RAR 1.5 to 4 (technical note of unrar): flags
// 0x0001 volume, 0x0080 encrypted headers; then the first file header: flag
// 0x0004 encrypted.
func (w *walk) rar4(n *node, head []byte) {
	const archive = 7
	if len(head) < archive+7 {
		return
	}
	le := binary.LittleEndian
	flags, size := le.Uint16(head[archive+3:]), int(le.Uint16(head[archive+5:]))
	if flags&0x0001 != 0 {
		w.volume(n)
	}
	if flags&0x0080 != 0 {
		w.encrypted(n, "rar: encrypted")
		return
	}
	file := archive + size
	if len(head) >= file+5 && head[file+2] == 0x74 && le.Uint16(head[file+3:])&0x0004 != 0 {
		w.encrypted(n, "rar: an encrypted member")
	}
}

// rar5 reads the first header of RAR 5: type 4 is the header of an encrypted
// archive, type 1 that of an archive with flag 1 for a volume.
func (w *walk) rar5(n *node, head []byte) {
	p := head[8:]
	if len(p) < 4 {
		return
	}
	p = p[4:] // CRC-32
	var fields [5]uint64
	for i := range fields {
		v, k := binary.Uvarint(p)
		if k <= 0 {
			return
		}
		fields[i], p = v, p[k:]
		if i == 2 && fields[2]&1 == 0 && fields[1] == 1 {
			fields[3] = 0 // no extra area: archive flags follow at once
			v, k := binary.Uvarint(p)
			if k > 0 {
				fields[4] = v
			}
			break
		}
	}
	switch kind, flags := fields[1], fields[4]; {
	case kind == 4:
		w.encrypted(n, "rar: encrypted")
	case kind == 1 && flags&1 != 0:
		w.volume(n)
	}
}

// sevenZip looks for the AES coder (7zFormat.txt, codec 06 F1 07 01) in the
// header at the end of the archive. Where the header itself is compressed, its
// own coder is all that can be seen.
func (w *walk) sevenZip(n *node, head []byte) error {
	if len(head) < 32 {
		return nil
	}
	le := binary.LittleEndian
	off, size := int64(le.Uint64(head[12:])), int64(le.Uint64(head[20:]))
	if off < 0 || size <= 0 || off > n.obj.Size-32 || size > n.obj.Size-32-off {
		return nil
	}
	p := make([]byte, min(size, blockSize))
	if err := readAt(n.obj.Content, p, 32+off); err != nil {
		return err
	}
	for i := 0; i+4 <= len(p); i++ {
		if string(p[i:i+4]) == "\x06\xf1\x07\x01" {
			w.encrypted(n, "7z: encrypted")
			return nil
		}
	}
	return nil
}

// ole looks for the stream in which Office keeps an encrypted document
// (MS-OFFCRYPTO section 2.3.4).
func (w *walk) ole(n *node) error {
	var name []byte
	for _, c := range "EncryptedPackage" {
		name = append(name, byte(c), 0)
	}
	return w.each(n, name, len(name), func(hit) bool {
		w.encrypted(n, "office: encrypted")
		return false
	})
}
