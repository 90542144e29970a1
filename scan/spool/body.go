package spool

import (
	"crypto/sha256"
	"errors"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"sort"
	"sync"

	"github.com/portcullis-av/portcullis/scan"
)

// body implements [scan.Body]. Until it is sealed it has one user; afterwards
// readers share it.
type body struct {
	pool  *Pool
	limit int64
	size  int64
	hash  hash.Hash // nil: the digest is taken when somebody asks for it
	crc   uint32
	sum   [sha256.Size]byte
	asked sync.Once

	// In memory: slabs[i] ends at offset ends[i], and the last may have room
	// left; charged is what the memory budget was charged.
	slabs   [][]byte
	ends    []int64
	charged int64

	// On disk: everything, once spilled.
	file   *os.File
	onDisk int64

	failed error
	closed sync.Once
	gone   bool
	sealed bool
}

var errClosed = &scan.Error{Kind: scan.KindInternal, Op: "read a body that was closed"}

func newBody(p *Pool, limit int64, digest bool) *body {
	b := &body{pool: p, limit: limit}
	if digest {
		b.hash = sha256.New()
	}
	return b
}

func (b *body) Write(p []byte) (int, error) {
	if err := b.admit(len(p)); err != nil {
		return 0, err
	}
	if err := b.add(p); err != nil {
		if scan.KindOf(err) != scan.KindOverload {
			b.failed = err
		}
		return 0, err
	}
	if b.hash != nil {
		b.hash.Write(p)
	}
	b.crc = crc32.Update(b.crc, castagnoli, p)
	return len(p), nil
}

//nolint:gochecknoglobals // a table, never changed
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (b *body) admit(n int) error {
	switch {
	case b.failed != nil:
		return b.failed
	case b.sealed || b.gone:
		return &scan.Error{Kind: scan.KindInternal, Op: "add to a body that is complete"}
	case int64(n) > b.limit-b.size:
		b.failed = scan.ErrTooLarge
		return b.failed
	}
	return nil
}

// add keeps a copy of p, in memory as long as it may.
func (b *body) add(p []byte) error {
	if b.file == nil {
		kept, err := b.addMemory(p)
		if kept || err != nil {
			return err
		}
		if err := b.spill(); err != nil {
			return err
		}
	}
	if err := b.addDisk(p); err != nil {
		return err
	}
	b.size += int64(len(p))
	return nil
}

// addMemory keeps p in memory, or reports that it must go to disk. It keeps all
// of p or nothing.
func (b *body) addMemory(p []byte) (bool, error) {
	need := len(p) - b.room()
	if need > 0 {
		ok, err := b.grow(need)
		if !ok {
			return false, err
		}
	}
	for len(p) > 0 {
		i := b.tail()
		n := copy(b.slabs[i][len(b.slabs[i]):cap(b.slabs[i])], p)
		b.slabs[i] = b.slabs[i][:len(b.slabs[i])+n]
		b.size += int64(n)
		b.ends[i] = b.size
		p = p[n:]
	}
	return true, nil
}

// room is how much more fits into the slabs there are.
func (b *body) room() int {
	if len(b.slabs) == 0 {
		return 0
	}
	last := b.slabs[len(b.slabs)-1]
	return cap(last) - len(last)
}

// tail is the index of the first slab with room.
func (b *body) tail() int {
	i := len(b.slabs) - 1
	for i > 0 && len(b.slabs[i]) == 0 && len(b.slabs[i-1]) < cap(b.slabs[i-1]) {
		i--
	}
	return i
}

// grow adds slabs for need more bytes, or none.
func (b *body) grow(need int) (bool, error) {
	sizes, cost := slabSizes(need, b.size)
	if !b.mayUse(cost) {
		return false, nil
	}
	if !b.pool.memory.take(cost) {
		if b.pool.cfg.DiskBytes > 0 {
			return false, nil
		}
		return false, &scan.Error{Kind: scan.KindOverload, Op: "hold a body in memory", Err: errMemory}
	}
	b.charged += cost
	for _, size := range sizes {
		b.slabs, b.ends = append(b.slabs, newSlab(size)), append(b.ends, b.size)
	}
	return true, nil
}

// mayUse reports whether the body may hold cost more bytes in memory: up to its
// mark in any case, beyond it while half of the budget is free, so that a few
// large bodies are fast and many do not push each other out.
func (b *body) mayUse(cost int64) bool {
	cfg := &b.pool.cfg
	return cfg.DiskBytes == 0 || b.charged+cost <= cfg.BodyMemoryBytes ||
		b.pool.memory.used.Load()+cost <= cfg.MemoryBytes/2
}

var (
	errMemory = errors.New("spool memory_bytes is used up")
	errDisk   = errors.New("spool disk_bytes is used up")
)

// spill moves what memory holds to a new file and gives the memory back.
func (b *body) spill() error {
	f, err := unlinkedFile(b.pool.cfg.DiskDir)
	if err != nil {
		return &scan.Error{Kind: scan.KindSpool, Op: "make a spool file", Err: err}
	}
	b.file = f
	for _, c := range b.slabs {
		if err := b.addDisk(c); err != nil {
			b.unspill()
			return err
		}
	}
	b.freeMemory()
	return nil
}

// unspill goes back to memory, which still has every byte: a policy that passes
// what could not be kept needs them.
func (b *body) unspill() {
	_ = b.file.Close() // nothing in it is needed, and the first error tells more
	b.file = nil
	b.pool.disk.give(b.onDisk)
	b.onDisk = 0
}

func (b *body) addDisk(p []byte) error {
	n := int64(len(p))
	if !b.pool.disk.take(n) {
		return &scan.Error{Kind: scan.KindOverload, Op: "hold a body on disk", Err: errDisk}
	}
	b.onDisk += n
	if _, err := b.file.Write(p); err != nil {
		return &scan.Error{Kind: scan.KindSpool, Op: "write to a spool file", Err: err}
	}
	return nil
}

func (b *body) freeMemory() {
	b.pool.memory.give(b.charged)
	for _, s := range b.slabs {
		freeSlab(s)
	}
	b.slabs, b.ends, b.charged = nil, nil, 0
}

func (b *body) Seal() error {
	if b.failed != nil {
		return b.failed
	}
	if !b.sealed {
		b.sealed = true
	}
	return nil
}

func (b *body) Size() int64 { return b.size }

func (b *body) Checksum() uint32 { return b.crc }

func (b *body) SHA256() [sha256.Size]byte {
	if !b.sealed {
		return b.sum
	}
	b.asked.Do(func() {
		if b.hash == nil {
			b.hash = sha256.New()
			if n, err := io.Copy(b.hash, io.NewSectionReader(b, 0, b.size)); err != nil || n != b.size {
				return // whoever reads the content gets the error
			}
		}
		b.hash.Sum(b.sum[:0])
	})
	return b.sum
}

func (b *body) ReadAt(p []byte, off int64) (int, error) {
	switch {
	case b.gone:
		return 0, errClosed
	case off < 0:
		return 0, &scan.Error{Kind: scan.KindInternal, Op: "read a body before its start"}
	case b.file != nil:
		return b.readDisk(p, off)
	}
	n := 0
	for i := b.slabAt(off); i < len(b.slabs) && n < len(p); i++ {
		start := b.ends[i] - int64(len(b.slabs[i]))
		n += copy(p[n:], b.slabs[i][off+int64(n)-start:])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (b *body) readDisk(p []byte, off int64) (int, error) {
	if off >= b.size {
		return 0, io.EOF
	}
	// A failed write may have left bytes behind the end; they are not the body's.
	want := min(int64(len(p)), b.size-off)
	n, err := b.file.ReadAt(p[:want], off)
	switch {
	case int64(n) == want && want < int64(len(p)):
		return n, io.EOF
	case int64(n) == want:
		return n, nil
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	return n, &scan.Error{Kind: scan.KindSpool, Op: "read back a spool file", Err: err}
}

// slabAt returns the index of the slab that holds offset off.
func (b *body) slabAt(off int64) int {
	return sort.Search(len(b.ends), func(i int) bool { return b.ends[i] > off })
}

func (b *body) Close() error {
	var err error
	b.closed.Do(func() {
		b.gone = true
		b.freeMemory()
		b.pool.disk.give(b.onDisk)
		b.pool.bodies.Add(-1)
		if b.file != nil {
			err = b.file.Close()
		}
	})
	return err
}
