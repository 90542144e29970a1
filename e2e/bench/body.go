package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
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

const formBoundary = "----WebKitFormBoundary7MA4YWxkTrZu0gW"

// formBody is newBody as the one file of a form, and the length of the form.
func formBody(n uint64, size int64) (io.Reader, int64) {
	head := "--" + formBoundary + "\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f.bin\"\r\nContent-Type: application/octet-stream\r\n\r\n"
	tail := "\r\n--" + formBoundary + "--\r\n"
	return io.MultiReader(strings.NewReader(head), newBody(n, size), strings.NewReader(tail)), int64(len(head)+len(tail)) + size
}

// gzipBody is text of that size in two members of gzip, the first of which differs
// from those of every other n, and the length of both.
func gzipBody(n uint64, size int64) (io.Reader, int64) {
	var first bytes.Buffer
	w := gzip.NewWriter(&first)
	fmt.Fprintf(w, "%016x\n", n)
	_ = w.Close() // into memory
	rest := gzipText(size)
	return io.MultiReader(&first, bytes.NewReader(rest)), int64(first.Len() + len(rest))
}

// gzipTexts are those made so far, by size.
//
//nolint:gochecknoglobals // made once each, never changed
var gzipTexts sync.Map

// gzipText is compressed once for each size: lines of a log.
func gzipText(size int64) []byte {
	if p, ok := gzipTexts.Load(size); ok {
		return p.([]byte)
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	r := rand.New(rand.NewPCG(1, 1))
	for left := size - 17; left > 0; {
		line := fmt.Sprintf("2026-11-22T17:00:00Z INFO request %08x took %d us, status 200, path /a/%d\n", r.Uint32(), r.IntN(1e6), r.IntN(1e3))
		line = line[:min(int64(len(line)), left)]
		_, _ = io.WriteString(w, line) // into memory
		left -= int64(len(line))
	}
	_ = w.Close()
	gzipTexts.Store(size, b.Bytes())
	return b.Bytes()
}

type endless struct{ at int }

func (e *endless) Read(p []byte) (int, error) {
	b := block()
	n := copy(p, b[e.at:])
	e.at = (e.at + n) % len(b)
	return n, nil
}
