package clamd_test

import (
	"testing"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/clamd/clamdtest"
	"github.com/portcullis-av/portcullis/scan/scantest"
)

func BenchmarkScan(b *testing.B) {
	fake := clamdtest.Start(b, clamdtest.Options{})
	for _, c := range []struct {
		name    string
		address string
		size    int
	}{
		{"fake unix 10KiB", fake.Address(), 10 << 10},
		{"fake unix 10MiB", fake.Address(), 10 << 20},
	} {
		b.Run(c.name, func(b *testing.B) { benchmark(b, c.address, c.size) })
	}
	b.Run("real", func(b *testing.B) {
		r := clamdtest.StartReal(b, clamdtest.RealOptions{Conf: []string{"DisableCache yes"}})
		for name, address := range map[string]string{"unix": r.Unix(), "tcp": r.TCP()} {
			b.Run(name+" 10KiB", func(b *testing.B) { benchmark(b, address, 10<<10) })
			b.Run(name+" 10MiB", func(b *testing.B) { benchmark(b, address, 10<<20) })
		}
	})
}

func benchmark(b *testing.B, address string, size int) {
	e, o := newEngine(b, address), scantest.Object(scantest.Text(size, 1))
	b.SetBytes(o.Size)
	b.ReportAllocs()
	for b.Loop() {
		if v, err := e.Scan(b.Context(), o); err != nil || v.Outcome != scan.OutcomeClean {
			b.Fatal(v, err)
		}
	}
}
