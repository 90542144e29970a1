package builtin

import (
	"bytes"
	"crypto/md5"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/scantest"
)

func BenchmarkScan(b *testing.B) {
	noise := make([]byte, 100<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(noise)
	hostile := bytes.Repeat([]byte("AR"), 50<<20) // every look needs a second one
	listed := newEngine(b, fmt.Sprintf("%x:*:x:73", md5.Sum([]byte("listed"))))
	for _, c := range []struct {
		name    string
		engine  *Engine
		content []byte
	}{
		{"text 10KiB", newEngine(b), scantest.Text(10<<10, 1)},
		{"text 100MiB", newEngine(b), scantest.Text(100<<20, 1)},
		{"noise 10KiB", newEngine(b), noise[:10<<10]},
		{"noise 100MiB", newEngine(b), noise},
		{"hostile 100MiB", newEngine(b), hostile},
		{"noise 100MiB with MD5", listed, noise},
	} {
		o := scantest.Object(c.content)
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(o.Size)
			b.ReportAllocs()
			for b.Loop() {
				if v, err := c.engine.Scan(b.Context(), o); err != nil || v.Outcome != scan.OutcomeClean {
					b.Fatal(v, err)
				}
			}
		})
	}
}
