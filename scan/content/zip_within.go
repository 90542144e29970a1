package content

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/portcullis-av/portcullis/scan"
)

// maxWithin is how many archives are looked for within one file of another kind.
const maxWithin = 16

// zipsWithin looks for archives that end near the end of n, which is a file of
// another kind that may well hold some. Most readers of zip open such a file all the
// same: an installer with a Java program behind it is both. Members are objects;
// what is wrong with them is no reason to refuse the file around them.
func (w *walk) zipsWithin(n *node) error {
	if n.levels[byArchive] >= maxArchives {
		w.refuse(n, scan.CauseTooDeep, "archives inside each other beyond the limit")
		return nil
	}
	tail := make([]byte, min(n.obj.Size, zipMaxTail))
	base := n.obj.Size - int64(len(tail))
	if err := readAt(n.obj.Content, tail, base); err != nil {
		return err
	}
	found, members := 0, 0
	for i := 0; ; i++ {
		k := bytes.Index(tail[i:], []byte(zipEnd))
		if k < 0 || len(tail)-i-k < zipEndSize {
			return nil
		}
		i += k
		if !leadsToEntry(n.obj.Content, base+int64(i), tail[i:]) {
			continue
		}
		if found++; found > maxWithin {
			w.refuse(n, scan.CauseTooManyObjects, "zip: more archives within a file than the limit")
			return nil
		}
		if err := w.zipWithin(n, tail[i:i+zipEndSize], base+int64(i), &members); err != nil {
			return err
		}
	}
}

// zipWithin reports the members of the archive whose end record r stands at end, and
// counts them.
func (w *walk) zipWithin(n *node, r []byte, end int64, members *int) error {
	le := binary.LittleEndian
	start, prefix := end-int64(le.Uint32(r[12:])), int64(0)
	if signatureAt(n.obj.Content, start, zipCentral) {
		prefix = start - int64(le.Uint32(r[16:])) // offsets may count from the archive's first byte
	} else {
		start = int64(le.Uint32(r[16:]))
	}
	var h [zipCentralSize]byte
	for ; start+zipCentralSize <= end; *members++ {
		if *members >= w.limits.MaxObjects {
			w.refuse(n, scan.CauseTooManyObjects, "zip: more members within a file than the limit")
			return nil
		}
		if err := readAt(n.obj.Content, h[:], start); err != nil {
			return err
		}
		if string(h[:4]) != zipCentral {
			return nil
		}
		e := zipEntry{
			flags: le.Uint16(h[8:]), method: le.Uint16(h[10:]), compressed: int64(le.Uint32(h[20:])), size: int64(le.Uint32(h[24:])), local: int64(le.Uint32(h[42:])) + prefix,
		}
		if err := w.memberWithin(n, &e, *members); err != nil {
			return err
		}
		start += zipCentralSize + int64(le.Uint16(h[28:])) + int64(le.Uint16(h[30:])) + int64(le.Uint16(h[32:]))
	}
	return nil
}

func (w *walk) memberWithin(n *node, e *zipEntry, i int) error {
	var h [zipLocalSize]byte
	if !signatureAt(n.obj.Content, e.local, zipLocal) || e.local+zipLocalSize > n.obj.Size {
		return nil
	}
	if err := readAt(n.obj.Content, h[:], e.local); err != nil {
		return err
	}
	le := binary.LittleEndian
	e.data = e.local + zipLocalSize + int64(le.Uint16(h[26:])) + int64(le.Uint16(h[28:]))
	end := min(e.data+e.compressed, n.obj.Size)
	if e.data >= end {
		return nil
	}
	p := piece{word: fmt.Sprintf("zip-within[%d]", i), kind: byArchive}
	if e.method == zipStored {
		return w.window(n, p, e.data, end)
	}
	open := w.u.pools.zipMethod(e)
	if open == nil {
		w.refuse(n, scan.CauseUnknownCoding, "zip: a member whose method is not decoded")
		return nil
	}
	res, err := w.decodeRange(n, decoder{word: p.word, open: open}, e.data, end)
	if err != nil || res.layer == nil {
		return err
	}
	if res.err != nil && !errors.Is(res.err, errTrailing) && res.layer.Size() < minPiece {
		return nil // it only looked like a member
	}
	return w.layer(n, p, res.layer)
}
