package cache

import (
	"fmt"
	"runtime"
	"testing"
)

func BenchmarkHit(b *testing.B) {
	for name, content := range map[string]string{"clean": "fine", "infected": marker} {
		e, _ := newEngine(b, judge)
		o := object(content)
		if _, err := e.Scan(b.Context(), o); err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := e.Scan(b.Context(), o); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// BenchmarkMiss is what the cache adds to a scan that costs nothing.
func BenchmarkMiss(b *testing.B) {
	e, _ := newEngine(b, clean)
	o := object("fine")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		o.SHA256 = object(fmt.Sprint(i)).SHA256
		if _, err := e.Scan(b.Context(), o); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRedisHit is a verdict from a real Redis over a unix socket.
func BenchmarkRedisHit(b *testing.B) {
	s := startRedis(b)
	r := startReplica(b, Redis{Address: s.address()}, judge)
	k := key{size: 1}
	r.cache.shared.put(k, entry{}, MaxCleanTTL)
	r.flush(b, 1)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, ok := r.cache.shared.get(b.Context(), k); !ok {
			b.Fatal("a miss")
		}
	}
}

// BenchmarkMemory reports what an entry takes.
func BenchmarkMemory(b *testing.B) {
	const entries = 100_000
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		m := newMemory(entries)
		for i := range entries {
			m.put(key{size: int64(i), sum: object(fmt.Sprint(i)).SHA256}, entry{}, MaxCleanTTL)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/entries, "B/entry")
		runtime.KeepAlive(m)
	}
}
