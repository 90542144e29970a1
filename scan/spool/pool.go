package spool

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/portcullis-av/portcullis/scan"
)

// Config bounds a [Pool]. All sizes are bytes.
type Config struct {
	// MemoryBytes is the budget of memory over all bodies.
	MemoryBytes int64
	// BodyMemoryBytes is how much of one body stays in memory before the whole
	// body moves to disk. It is ignored where DiskBytes is 0.
	BodyMemoryBytes int64
	// DiskDir is where files are made; each is unlinked at once, so nothing is
	// left behind whatever happens. Empty means the system's temporary folder.
	DiskDir string
	// DiskBytes is the budget of disk over all bodies; 0 keeps bodies in memory.
	DiskBytes int64
}

// Pool is the budget that all bodies share. It implements [scan.Store].
type Pool struct {
	cfg    Config
	memory budget
	disk   budget
	bodies atomic.Int64
}

var _ scan.Store = (*Pool)(nil)

// New checks cfg and that files can be made where it says.
func New(cfg Config) (*Pool, error) {
	if cfg.MemoryBytes <= 0 {
		return nil, fmt.Errorf("spool memory_bytes is %d: give the bodies at least some memory", cfg.MemoryBytes)
	}
	if cfg.DiskDir == "" {
		cfg.DiskDir = os.TempDir()
	}
	p := &Pool{cfg: cfg}
	p.memory.limit, p.disk.limit = cfg.MemoryBytes, cfg.DiskBytes
	if cfg.DiskBytes > 0 {
		f, err := unlinkedFile(cfg.DiskDir)
		if err != nil {
			return nil, fmt.Errorf("spool disk_dir: %w (make the folder, or set disk_bytes to 0 to keep bodies in memory)", err)
		}
		if err := f.Close(); err != nil {
			return nil, fmt.Errorf("spool disk_dir: %w", err)
		}
	}
	return p, nil
}

// Open returns an empty body that takes at most limit bytes.
func (p *Pool) Open(limit int64, digest bool) scan.Body {
	p.bodies.Add(1)
	return newBody(p, limit, digest)
}

// Usage is a snapshot of what is held, in bytes and bodies.
type Usage struct {
	Memory, Disk int64
	Bodies       int64
}

// Usage returns what is held right now.
func (p *Pool) Usage() Usage {
	return Usage{Memory: p.memory.used.Load(), Disk: p.disk.used.Load(), Bodies: p.bodies.Load()}
}

// Full reports that nineteen twentieths of all there is are used: what disk may
// hold where there is one, else memory. New bodies should not be begun then; the
// rest is for those that have.
func (p *Pool) Full() bool {
	b := &p.memory
	if p.cfg.DiskBytes > 0 {
		b = &p.disk
	}
	return b.used.Load() > b.limit/20*19
}

// budget hands out bytes up to a limit.
type budget struct {
	limit int64
	used  atomic.Int64
}

func (b *budget) take(n int64) bool {
	if b.used.Add(n) > b.limit {
		b.used.Add(-n)
		return false
	}
	return true
}

func (b *budget) give(n int64) { b.used.Add(-n) }

// unlinkedFile makes a file that has no name any more: only its descriptor
// keeps it, so a crash leaves nothing on disk. Mode 0600 comes from CreateTemp.
func unlinkedFile(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "portcullis-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
