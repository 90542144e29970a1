package spool_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"testing"
	"testing/iotest"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/spool"
)

func newPool(t *testing.T, cfg spool.Config) *spool.Pool {
	t.Helper()
	cfg.DiskDir = t.TempDir()
	p, err := spool.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if u := p.Usage(); u != (spool.Usage{}) {
			t.Errorf("something is still held when all bodies are closed: %+v", u)
		}
		left, err := os.ReadDir(cfg.DiskDir)
		if err != nil || len(left) != 0 {
			t.Errorf("the spool folder is not empty: %v %v", left, err)
		}
	})
	return p
}

func random(n int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// Whatever the cuts and wherever the bytes end up, they come back as they came.
func TestBytesComeBackAsTheyCame(t *testing.T) {
	for _, size := range []int{0, 1, 4095, 4096, 70_000, 300_000} {
		for _, cut := range []int{1, 100, 4096, 65536, 1 << 20} {
			if cut == 1 && size > 70_000 {
				continue
			}
			for _, mark := range []int64{0, 20_000, 1 << 20} {
				// Twice the mark, so that no more than it stays in memory.
				p := newPool(t, spool.Config{MemoryBytes: max(2*mark, 1), BodyMemoryBytes: mark, DiskBytes: 1 << 30})
				want := random(size)
				b := p.Open(int64(size), cut%2 == 0) // the digest on the way in, or when asked for
				for at := 0; at < size; at += cut {
					if err := write(b, want[at:min(at+cut, size)]); err != nil {
						t.Fatal(err)
					}
				}
				if err := b.Seal(); err != nil {
					t.Fatal(err)
				}
				if b.Size() != int64(size) || b.SHA256() != sha256.Sum256(want) ||
					b.Checksum() != crc32.Checksum(want, crc32.MakeTable(crc32.Castagnoli)) {
					t.Fatalf("size %d cut %d mark %d: wrong size or digest", size, cut, mark)
				}
				if err := iotest.TestReader(io.NewSectionReader(b, 0, b.Size()), want); err != nil {
					t.Fatalf("size %d cut %d mark %d: %v", size, cut, mark, err)
				}
				if err := errors.Join(b.Close(), b.Close()); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

func write(b scan.Body, p []byte) error {
	_, err := b.Write(p)
	return err
}

func readAll(t *testing.T, b scan.Body) []byte {
	t.Helper()
	var got []byte
	for {
		p := make([]byte, 1000)
		n, err := b.ReadAt(p, int64(len(got)))
		got = append(got, p[:n]...)
		if errors.Is(err, io.EOF) {
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Write keeps a copy, so the caller may use its buffer again.
func TestWriteCopies(t *testing.T) {
	p := newPool(t, spool.Config{MemoryBytes: 1 << 20})
	b := p.Open(1<<20, true)
	defer b.Close()
	buf := random(8192)
	want := bytes.Clone(buf)
	if _, err := b.Write(buf); err != nil {
		t.Fatal(err)
	}
	clear(buf)
	if got := readAll(t, b); !bytes.Equal(got, want) {
		t.Fatal("the body changed with the caller's buffer")
	}
}

// One byte over the limit is refused, the bytes before it stay readable.
func TestLimit(t *testing.T) {
	p := newPool(t, spool.Config{MemoryBytes: 1 << 20})
	b := p.Open(10, true)
	defer b.Close()
	if err := write(b, []byte("0123456789")); err != nil {
		t.Fatal(err)
	}
	if err := write(b, []byte("x")); !errors.Is(err, scan.ErrTooLarge) {
		t.Fatalf("got %v, want ErrTooLarge", err)
	}
	if err := write(b, nil); !errors.Is(err, scan.ErrTooLarge) {
		t.Fatalf("a failed body took more: %v", err)
	}
	if got := readAll(t, b); string(got) != "0123456789" {
		t.Fatalf("the held prefix is %q", got)
	}
}

// Without disk, a used-up memory budget is overload; with disk, the body moves.
func TestBudgets(t *testing.T) {
	t.Run("memory only", func(t *testing.T) {
		p := newPool(t, spool.Config{MemoryBytes: 150_000})
		a, b := p.Open(1<<20, true), p.Open(1<<20, true)
		defer a.Close()
		defer b.Close()
		if err := write(a, random(90_000)); err != nil {
			t.Fatal(err)
		}
		if err := write(b, random(20_000)); scan.KindOf(err) != scan.KindOverload {
			t.Fatalf("got %v, want overload", err)
		}
	})
	t.Run("disk takes over, then is full", func(t *testing.T) {
		p := newPool(t, spool.Config{MemoryBytes: 10_000, BodyMemoryBytes: 10_000, DiskBytes: 50_000})
		b := p.Open(1<<20, true)
		defer b.Close()
		want := random(45_000)
		if err := errors.Join(write(b, want[:9000]), write(b, want[9000:])); err != nil {
			t.Fatal(err)
		}
		if u := p.Usage(); u.Memory != 0 || u.Disk != 45_000 {
			t.Fatalf("usage %+v, want all on disk", u)
		}
		if err := write(b, random(6000)); scan.KindOf(err) != scan.KindOverload {
			t.Fatalf("got %v, want overload", err)
		}
		if got := readAll(t, b); !bytes.Equal(got, want) {
			t.Fatal("what was held before the failure is not readable")
		}
	})
	t.Run("folder gone", func(t *testing.T) {
		dir := t.TempDir() + "/spool"
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		p, err := spool.New(spool.Config{MemoryBytes: 8 << 10, BodyMemoryBytes: 10, DiskDir: dir, DiskBytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
		b := p.Open(1<<20, true)
		defer b.Close()
		if err := write(b, random(6000)); scan.KindOf(err) != scan.KindSpool {
			t.Fatalf("got %v, want spool", err)
		}
	})
}

// A body beyond its mark stays in memory while half of the budget is free, and
// moves to disk when it is not.
func TestMark(t *testing.T) {
	p := newPool(t, spool.Config{MemoryBytes: 1 << 20, BodyMemoryBytes: 64 << 10, DiskBytes: 1 << 30})
	a, b := p.Open(1<<30, true), p.Open(1<<30, true)
	defer a.Close()
	defer b.Close()
	if err := write(a, random(400<<10)); err != nil {
		t.Fatal(err)
	}
	if u := p.Usage(); u.Disk != 0 {
		t.Errorf("usage %+v: a lone body went to disk", u)
	}
	want := random(400 << 10)
	if err := write(b, want); err != nil {
		t.Fatal(err)
	}
	if u := p.Usage(); u.Disk != 400<<10 || u.Memory > 512<<10 {
		t.Errorf("usage %+v: the second body did not go to disk", u)
	}
	if got := readAll(t, b); !bytes.Equal(got, want) {
		t.Error("the body came back changed")
	}
}

// A trickle of single bytes costs no more than what it holds, and a little.
func TestTrickle(t *testing.T) {
	p := newPool(t, spool.Config{MemoryBytes: 1 << 20, BodyMemoryBytes: 1 << 20, DiskBytes: 1 << 20})
	b := p.Open(1<<20, true)
	defer b.Close()
	for i := range 60 {
		if err := write(b, []byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if u := p.Usage(); u.Memory > 4<<10 {
		t.Errorf("60 bytes cost %d", u.Memory)
	}
}

// Bad settings say what to do.
func TestNewRefuses(t *testing.T) {
	for _, cfg := range []spool.Config{{}, {MemoryBytes: 1, DiskBytes: 1, DiskDir: "/nonexistent/portcullis"}} {
		if _, err := spool.New(cfg); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
}

// A closed body gives an error, never old bytes.
func TestClosedBody(t *testing.T) {
	p := newPool(t, spool.Config{MemoryBytes: 1 << 20})
	b := p.Open(100, true)
	if err := errors.Join(write(b, []byte("abc")), b.Seal(), b.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.ReadAt(make([]byte, 1), 0); scan.KindOf(err) != scan.KindInternal || err == nil {
		t.Errorf("ReadAt: %v", err)
	}
	if err := write(b, []byte("d")); err == nil {
		t.Error("Append took bytes")
	}
}

func BenchmarkHold100MiB(b *testing.B) {
	for name, mark := range map[string]int64{"memory": 200 << 20, "disk": 1 << 20} {
		b.Run(name, func(b *testing.B) {
			p, err := spool.New(spool.Config{MemoryBytes: mark, BodyMemoryBytes: mark, DiskDir: b.TempDir(), DiskBytes: 1 << 30})
			if err != nil {
				b.Fatal(err)
			}
			chunk := random(64 << 10)
			b.SetBytes(100 << 20)
			b.ReportAllocs()
			for b.Loop() {
				body := p.Open(1<<30, true)
				for range 1600 {
					if err := write(body, chunk); err != nil {
						b.Fatal(err)
					}
				}
				if err := errors.Join(body.Seal(), body.Close()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A digest that was not taken on the way in is taken once, of sealed bytes only,
// and is none at all where they cannot be read.
func TestLateDigest(t *testing.T) {
	p := newPool(t, spool.Config{MemoryBytes: 1 << 20})
	b, gone := p.Open(10, false), p.Open(10, false)
	for _, one := range []scan.Body{b, gone} {
		if err := write(one, []byte("abc")); err != nil {
			t.Fatal(err)
		}
		if one.SHA256() != [32]byte{} {
			t.Error("a digest before the end")
		}
		if err := one.Seal(); err != nil {
			t.Fatal(err)
		}
	}
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	if gone.SHA256() != [32]byte{} {
		t.Error("a digest of what is gone")
	}
	want := sha256.Sum256([]byte("abc"))
	if first, second := b.SHA256(), b.SHA256(); first != want || second != want {
		t.Errorf("%x, then %x", first, second)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}
