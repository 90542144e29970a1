package main

import (
	"context"
	"time"

	"github.com/portcullis-av/portcullis/envoy"
)

// memory is what many large uploads at once cost.
type memory struct {
	Uploads int   `json:"uploads"`
	Size    int64 `json:"size"`
	PeakRSS int64 `json:"peak_rss"` // of Portcullis, bytes
	Budget  int64 `json:"budget"`   // spool.memory_bytes
}

// measureMemory sends all uploads at once through the builtin engine.
func (s *stage) measureMemory(ctx context.Context, uploads int, size int64) (memory, error) {
	l := load{Leg: "request", Size: size, Concurrency: uploads}
	one, err := l.run(ctx, s.targets["builtin"][envoy.Duplex], time.Nanosecond)
	return memory{Uploads: uploads, Size: size, PeakRSS: one.PeakRSS, Budget: spoolMemory}, err
}
