package content

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/portcullis-av/portcullis/scan"
)

// oleMagic begins a compound file (MS-CFB section 2.2).
const oleMagic = "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

// zip opens n if it is a zip archive, or if one stands at its end. Only an
// archive that every reader lists alike is taken apart; an ambiguous one is
// refused, since engines unpack what one reader sees and applications another.
func (w *walk) zip(n *node, head []byte, tail bool) error {
	begins := hasAnyPrefix(head, zipLocal, zipEnd, zipSpanned)
	if !begins && !tail {
		return nil
	}
	a, err := w.zipArchive(n, head, begins)
	var fault *zipFault
	switch {
	case errors.Is(err, errNoZip):
		return nil
	case errors.Is(err, errZipWithin):
		return w.zipsWithin(n)
	case errors.As(err, &fault):
		w.note(n, fault.outcome, fault.cause, fault.Error())
		return nil
	case err != nil:
		return err
	}
	if n.levels[byArchive] >= maxArchives {
		w.refuse(n, scan.CauseTooDeep, "archives inside each other beyond the limit")
		return nil
	}
	for i := range a.entries {
		if err := w.zipMember(n, a, i); err != nil {
			return err
		}
	}
	return nil
}

func hasAnyPrefix(p []byte, prefixes ...string) bool {
	for _, x := range prefixes {
		if len(p) >= len(x) && string(p[:len(x)]) == x {
			return true
		}
	}
	return false
}

// zipArchive reads and checks the directory.
func (w *walk) zipArchive(n *node, head []byte, begins bool) (*zipArchive, error) {
	if hasAnyPrefix(head, zipSpanned) {
		return nil, &zipFault{scan.OutcomePolicy, scan.CausePartialArchive, "the first volume of a split archive"}
	}
	block := w.u.pools.block()
	defer w.u.pools.giveBlock(block)
	tail := (*block)[:min(n.obj.Size, zipMaxTail)]
	if err := readAt(n.obj.Content, tail, n.obj.Size-int64(len(tail))); err != nil {
		return nil, err
	}
	// Office documents of the old format hold zip archives, often near their end, and
	// compressed files may hold one in a block that did not get smaller.
	strict := !hasAnyPrefix(head, oleMagic) && !n.whole
	a, err := openZipEnd(n.obj.Content, n.obj.Size, tail, begins, strict)
	if err != nil {
		return nil, err
	}
	if a.count > int64(w.limits.MaxObjects) {
		return nil, &zipFault{scan.OutcomeUnscannable, scan.CauseTooManyObjects, "more members than the limit"}
	}
	buf := w.u.pools.buffer(newSource(w.ctx, n.obj.Content, a.start, a.end))
	defer w.u.pools.giveBuffer(buf)
	if err := a.readDirectory(buf); err != nil {
		return nil, err
	}
	if err := a.bombFault(w.limits); err != nil {
		return nil, err
	}
	return a, a.tile(w.limits.SelfExtracting && !begins)
}

// zipMember reports the content of one member.
func (w *walk) zipMember(n *node, a *zipArchive, i int) error {
	e := &a.entries[i]
	name := make([]byte, min(int(e.nameLen), maxName))
	if err := readAt(n.obj.Content, name, e.record+zipCentralSize); err != nil {
		return err
	}
	p := piece{word: fmt.Sprintf("zip[%d]", i), name: string(name), kind: byArchive}
	if e.method == zipStored {
		return w.storedMember(n, p, e)
	}
	open := w.u.pools.zipMethod(e)
	if open == nil { // Deflate64
		w.refuse(n, scan.CauseUnknownCoding, "zip: a member whose method is not decoded")
		return nil
	}
	sum := crc32.NewIEEE()
	var out int64
	d := decoder{word: p.word, open: func(src *bufio.Reader) (io.Reader, func(), error) {
		r, done, err := open(src)
		return &meter{r: io.TeeReader(r, sum), n: &out, limit: e.size}, done, err
	}}
	res, err := w.decodeRange(n, d, e.data, e.data+e.compressed)
	if err != nil || res.layer == nil && res.err == nil {
		return err
	}
	switch {
	case beyond(res.err):
		w.refuse(n, scan.CauseUnknownCoding, "zip: a member that needs more memory, a dictionary or filters")
	case res.err != nil || out != e.size || sum.Sum32() != e.crc:
		w.note(n, scan.OutcomePolicy, scan.CauseAmbiguousArchive, "zip: the data of a member is not what the directory says")
	}
	if res.layer == nil {
		return nil
	}
	return w.layer(n, p, res.layer)
}

func (w *walk) storedMember(n *node, p piece, e *zipEntry) error {
	sum := storedSum{described: e.flags&zipFlagDescriptor != 0}
	if err := w.window(n, p, e.data, e.data+e.compressed, &sum); err != nil {
		return err
	}
	if sum.sum() != e.crc && e.compressed > 0 && n.depth < w.limits.MaxDepth {
		w.note(n, scan.OutcomePolicy, scan.CauseAmbiguousArchive, "zip: the checksum of a stored member is wrong")
	}
	if sum.ends {
		w.note(n, scan.OutcomePolicy, scan.CauseAmbiguousArchive, "zip: a data descriptor inside a stored member")
	}
	return nil
}

// storedSum takes the checksum of a stored member. Readers of a stream look for the
// descriptor of one that has it behind its data: four bytes and the checksum of all
// before them.
type storedSum struct {
	described bool
	ends      bool // such a descriptor stands inside the data
	crc       uint32
	held      []byte // the last bytes, not in crc yet
}

// Write implements [io.Writer]. It never fails.
func (s *storedSum) Write(p []byte) (int, error) {
	if !s.described {
		s.crc = crc32.Update(s.crc, crc32.IEEETable, p)
		return len(p), nil
	}
	const descriptor = len(zipSpanned) + 4
	q := append(s.held, p...) //nolint:gocritic // held is set below
	for {
		k := bytes.Index(q, []byte(zipSpanned))
		if k < 0 || len(q)-k < descriptor {
			break
		}
		s.crc = crc32.Update(s.crc, crc32.IEEETable, q[:k])
		s.ends = s.ends || binary.LittleEndian.Uint32(q[k+len(zipSpanned):]) == s.crc
		s.crc = crc32.Update(s.crc, crc32.IEEETable, q[k:k+1])
		q = q[k+1:]
	}
	keep := max(0, len(q)-descriptor+1)
	s.crc = crc32.Update(s.crc, crc32.IEEETable, q[:keep])
	s.held = append(s.held[:0], q[keep:]...)
	return len(p), nil
}

func (s *storedSum) sum() uint32 { return crc32.Update(s.crc, crc32.IEEETable, s.held) }

// zipMethod returns the decoder of a member, nil if we have none.
func (p *pools) zipMethod(e *zipEntry) func(*bufio.Reader) (io.Reader, func(), error) {
	switch e.method {
	case zipDeflate:
		return openFlate
	case zipBzip2:
		return openBzip2
	case zipZstd:
		return p.openZstd
	case zipXZ:
		return openXZ
	case zipLZMA:
		return e.openLZMA
	}
	return nil
}

var errLonger = errors.New("more data than the directory says")

// meter counts what is read and stops one byte after limit.
type meter struct {
	r     io.Reader
	n     *int64
	limit int64
}

func (m *meter) Read(p []byte) (int, error) {
	if *m.n > m.limit {
		return 0, errLonger
	}
	k, err := m.r.Read(p[:min(int64(len(p)), m.limit+1-*m.n)])
	*m.n += int64(k)
	return k, err
}
