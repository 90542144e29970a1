package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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

// measured is a small report, as if of a run.
func measured() *report {
	r := newReport(1, time.Second)
	for _, leg := range []string{"request", "response"} {
		for _, size := range []int64{10 << 10, 100 << 20} {
			concurrency := 16
			if size > 1<<20 {
				concurrency = 1
			}
			for variant, ratio := range map[string]float64{variantNone: 2, variantNull: 1, engineSkip: 0.96, "builtin": 0.9, "clamd": 0.5, engineHit: 0.89, variantBare: 0.6} {
				r.Rows = append(r.Rows, row{
					cell:    cell{Profile: envoy.Duplex, load: load{Leg: leg, Size: size, Concurrency: concurrency}},
					Variant: variant, PerSecond: 1000 * ratio, OfNull: ratio, P50: time.Duration(float64(time.Millisecond) / ratio),
				})
			}
		}
	}
	r.Memory = &memory{Uploads: 100, Size: 10 << 20, PeakRSS: 200 << 20, Budget: 256 << 20}
	r.Own = []own{{Variant: "builtin", Size: ownSize, Added: 101 * time.Microsecond}}
	return r
}

// A figure is met only by the worst of its rows.
func TestFigures(t *testing.T) {
	var text strings.Builder
	for _, f := range measured().figures() {
		text.WriteString(f.Name + ": " + f.Measured)
		if f.Met {
			text.WriteString(", met")
		}
		text.WriteString("\n")
	}
	want := `bodies out of scope or empty, every profile: 0.96 and 0.96, met
10 KiB scanned by builtin: 0.90 and 0.90, met
10 KiB scanned by clamd: 0.83 and 0.83
10 KiB, verdict from the cache: 0.89 and 0.89
100 MiB scanned by builtin: 0.90 and 0.90
memory, 100 uploads of 10 MiB at once: 200 MiB, met
own time of a 10 KiB exchange, scan by builtin included: 101 µs
`
	if diff := cmp.Diff(want, text.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// The plot is well-formed and shows every variant but the one it is measured from.
func TestPlot(t *testing.T) {
	file := filepath.Join(t.TempDir(), "plot.svg")
	if err := measured().writePlot(file); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Count(string(text), "<polyline")
	d := xml.NewDecoder(strings.NewReader(string(text)))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if lines != 2*5 { // the large bodies went one at a time
		t.Errorf("%d lines:\n%s", lines, text)
	}
}

// The page holds the figures, the plot and every row.
func TestPage(t *testing.T) {
	r, dir := measured(), t.TempDir()
	r.Figures = r.figures()
	page := filepath.Join(dir, "cost.md")
	if err := r.writePage(page, filepath.Join(dir, "cost.svg")); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if rows := strings.Count(string(text), "| duplex |"); rows != len(r.Rows) {
		t.Errorf("%d rows of %d", rows, len(r.Rows))
	}
	for _, want := range []string{"](cost.svg)", "| 10 KiB scanned by builtin |", "| builtin | 0 | 101 |"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}
