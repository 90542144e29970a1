package main

import (
	"io"
	"testing"

	"github.com/portcullis-av/portcullis/envoy"
)

// Bodies have the size asked for and differ from each other, so no verdict of
// one serves another.
func TestBodiesDiffer(t *testing.T) {
	for _, size := range []int64{0, 1, 8, 9, 10 << 10, 3<<20 + 1} {
		a, errA := io.ReadAll(newBody(1, size))
		b, errB := io.ReadAll(newBody(2, size))
		if errA != nil || errB != nil || int64(len(a)) != size || int64(len(b)) != size {
			t.Errorf("size %d: %d and %d bytes", size, len(a), len(b))
		}
		if size >= 8 && string(a) == string(b) {
			t.Errorf("size %d: two bodies are the same", size)
		}
	}
}

// Huge bodies go through the duplex profile alone, one at a time.
func TestCells(t *testing.T) {
	all := cells(envoy.Profiles()[:2], []int64{0, 10 << 10, 100 << 20}, []int{1, 16})
	if len(all) != 2*2+2*2*2+2 {
		t.Errorf("%d cells: %v", len(all), all)
	}
}

// A ratio is made within a repeat, so that a slow minute does not count.
func TestRatioIsWithinARepeat(t *testing.T) {
	of := func(rates ...float64) []sample {
		var s []sample
		for _, r := range rates {
			s = append(s, sample{PerSecond: r})
		}
		return s
	}
	r := summary(cell{}, "x", of(90, 9, 45), of(100, 10, 50), of(200, 20, 100))
	if r.OfNull != 0.9 || r.OfNone != 0.45 || r.RatioLow != 0.9 || r.RatioHigh != 0.9 || r.PerSecond != 45 {
		t.Errorf("%+v", r)
	}
}
