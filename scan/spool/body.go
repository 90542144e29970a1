package spool

import (
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"os"
	"sort"
	"sync"

	"github.com/portcullis-av/portcullis/scan"
)

const (
	// adopt is the size from which a slice is kept as it is; smaller ones are
	// gathered, so that a body of 1-byte chunks costs no slice header each.
	adopt = 4 << 10
	// gatherMax bounds the buffer in which small slices are gathered.
	gatherMax = 64 << 10
	// readBlock is how much Slice reads from disk at once.
	readBlock = 64 << 10
)

// body implements [scan.Body]. Until it is sealed it has one user; afterwards
// readers share it.
type body struct {
	pool  *Pool
	limit int64
	size  int64
	hash  hash.Hash
	sum   [sha256.Size]byte

	// In memory: chunks[i] ends at offset ends[i]; charged is what the memory
	// budget was charged. The last chunk may have room left (gathering).
	chunks  [][]byte
	ends    []int64
	charged int64
	gather  bool

	// On disk: everything, once spilled.
	file   *os.File
	onDisk int64
	block  []byte

	failed error
	closed sync.Once
	gone   bool
	sealed bool
}

var errClosed = &scan.Error{Kind: scan.KindInternal, Op: "read a body that was closed"}

func newBody(p *Pool, limit int64) *body {
	return &body{pool: p, limit: limit, hash: sha256.New()}
}

func (b *body) Append(p []byte) error {
	if err := b.admit(len(p)); err != nil {
		return err
	}
	return b.add(p, true)
}

func (b *body) Write(p []byte) (int, error) {
	if err := b.admit(len(p)); err != nil {
		return 0, err
	}
	if err := b.add(p, false); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (b *body) admit(n int) error {
	switch {
	case b.failed != nil:
		return b.failed
	case b.sealed || b.gone:
		return &scan.Error{Kind: scan.KindInternal, Op: "add to a body that is complete"}
	case int64(n) > b.limit-b.size:
		return b.fail(scan.ErrTooLarge)
	}
	return nil
}

func (b *body) fail(err error) error {
	b.failed = err
	return err
}

// add keeps p; owned says that p may be adopted without a copy.
func (b *body) add(p []byte, owned bool) error {
	if len(p) == 0 {
		return nil
	}
	if b.file == nil {
		kept, err := b.addMemory(p, owned)
		if err != nil {
			return b.fail(err)
		}
		if kept {
			b.hash.Write(p)
			return nil
		}
		if err := b.spill(); err != nil {
			return b.fail(err)
		}
	}
	if err := b.addDisk(p); err != nil {
		return b.fail(err)
	}
	b.hash.Write(p)
	b.size += int64(len(p))
	return nil
}

// addMemory keeps p in memory, or reports that it must go to disk.
func (b *body) addMemory(p []byte, owned bool) (bool, error) {
	if b.fitsTail(len(p)) {
		last := len(b.chunks) - 1
		b.chunks[last] = append(b.chunks[last], p...)
		b.size += int64(len(p))
		b.ends[last] = b.size
		return true, nil
	}
	gather := len(p) < adopt
	cost := int64(len(p))
	if owned && !gather {
		cost = int64(cap(p))
	}
	if gather {
		cost = gatherSize(b.size)
	}
	disk := b.pool.cfg.DiskBytes > 0
	if disk && b.charged+cost > b.pool.cfg.BodyMemoryBytes {
		return false, nil
	}
	if !b.pool.memory.take(cost) {
		if disk {
			return false, nil
		}
		return false, &scan.Error{Kind: scan.KindOverload, Op: "hold a body in memory", Err: errMemory}
	}
	b.charged += cost
	switch {
	case gather:
		p = append(make([]byte, 0, cost), p...)
	case !owned:
		p = append(make([]byte, 0, len(p)), p...)
	}
	b.gather = gather
	b.size += int64(len(p))
	b.chunks, b.ends = append(b.chunks, p), append(b.ends, b.size)
	return true, nil
}

var (
	errMemory = errors.New("spool memory_bytes is used up")
	errDisk   = errors.New("spool disk_bytes is used up")
)

func (b *body) fitsTail(n int) bool {
	if !b.gather || len(b.chunks) == 0 {
		return false
	}
	tail := b.chunks[len(b.chunks)-1]
	return cap(tail)-len(tail) >= n
}

// gatherSize grows with the body, so that a tiny body costs little and a long
// trickle few allocations.
func gatherSize(size int64) int64 {
	return min(max(size, adopt), gatherMax)
}

// spill moves what memory holds to a new file and gives the memory back.
func (b *body) spill() error {
	f, err := unlinkedFile(b.pool.cfg.DiskDir)
	if err != nil {
		return &scan.Error{Kind: scan.KindSpool, Op: "make a spool file", Err: err}
	}
	b.file = f
	for _, c := range b.chunks {
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
	b.chunks, b.ends, b.charged, b.gather = nil, nil, 0, false
}

func (b *body) Seal() error {
	if b.failed != nil {
		return b.failed
	}
	if !b.sealed {
		b.hash.Sum(b.sum[:0])
		b.sealed = true
	}
	return nil
}

func (b *body) Size() int64 { return b.size }

func (b *body) SHA256() [sha256.Size]byte { return b.sum }

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
	for i := b.chunkAt(off); i < len(b.chunks) && n < len(p); i++ {
		start := b.ends[i] - int64(len(b.chunks[i]))
		n += copy(p[n:], b.chunks[i][off+int64(n)-start:])
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

// chunkAt returns the index of the chunk that holds offset off.
func (b *body) chunkAt(off int64) int {
	return sort.Search(len(b.ends), func(i int) bool { return b.ends[i] > off })
}

func (b *body) Slice(off int64, limit int) ([]byte, error) {
	switch {
	case b.gone:
		return nil, errClosed
	case off >= b.size:
		return nil, io.EOF
	case b.file == nil:
		i := b.chunkAt(off)
		rest := b.chunks[i][off-(b.ends[i]-int64(len(b.chunks[i]))):]
		return rest[:min(len(rest), limit)], nil
	}
	if b.block == nil {
		b.block = make([]byte, readBlock)
	}
	want := min(int64(limit), int64(len(b.block)), b.size-off)
	n, err := b.readDisk(b.block[:want], off)
	if int64(n) == want {
		return b.block[:n], nil
	}
	return nil, err
}

func (b *body) Close() error {
	var err error
	b.closed.Do(func() {
		b.gone = true
		b.freeMemory()
		b.pool.disk.give(b.onDisk)
		b.pool.bodies.Add(-1)
		b.block = nil
		if b.file != nil {
			err = b.file.Close()
		}
	})
	return err
}
