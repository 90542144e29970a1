package main

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"sync"
)

// block is what bodies are made of: incompressible and of no file type.
//
//nolint:gochecknoglobals // made once, never changed
var block = sync.OnceValue(func() []byte {
	p := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(p) // never fails
	return p
})

// newBody is size bytes that differ from those of every other n in their first
// eight, so that no verdict can come from a cache. Making it costs next to nothing.
func newBody(n uint64, size int64) io.Reader {
	stamp := make([]byte, 8)
	binary.BigEndian.PutUint64(stamp, n|1<<63) // not the start of any known format
	return io.LimitReader(io.MultiReader(bytes.NewReader(stamp), &endless{}), size)
}

type endless struct{ at int }

func (e *endless) Read(p []byte) (int, error) {
	b := block()
	n := copy(p, b[e.at:])
	e.at = (e.at + n) % len(b)
	return n, nil
}
