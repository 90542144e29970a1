package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-av/portcullis/envoy"
)

// figure is one of the promises about cost, and what this run measured.
type figure struct {
	Name     string `json:"name"`
	Target   string `json:"target"`
	Measured string `json:"measured"` // "-" if the run did not measure it
	Met      bool   `json:"met"`
}

// ratioFigure promises a ratio of exchanges per second for every row it selects.
type ratioFigure struct {
	name, of string
	atLeast  float64
	rows     func(row) bool
	ratio    func(r *report, one row) float64
}

func ofNull(_ *report, one row) float64 { return one.OfNull }

// ofSlower compares with the slower of null processor and clamd driven directly:
// no gate with that engine can be faster than both.
func ofSlower(r *report, one row) float64 {
	null, _ := r.find(one.cell, variantNull)
	bare, _ := r.find(one.cell, variantBare)
	return one.PerSecond / min(null.PerSecond, bare.PerSecond)
}

// ratioFigures are those that the design promises, at 16 exchanges at once for
// small bodies and one at a time for large ones.
func ratioFigures() []ratioFigure {
	const small, large, crowd = 10 << 10, 100 << 20, 16
	is := func(variant string, size int64, c int) func(row) bool {
		return func(r row) bool {
			return r.Variant == variant && r.Size == size && r.Concurrency == c && r.Profile == envoy.Duplex
		}
	}
	untouched := func(r row) bool {
		empty := r.Size == 0 && r.Variant == "builtin"
		return r.Concurrency == crowd && (empty || r.Variant == engineSkip && r.Size <= small)
	}
	return []ratioFigure{
		{"bodies out of scope or empty, every profile", "null processor", 0.95, untouched, ofNull},
		{"10 KiB scanned by builtin", "null processor", 0.85, is("builtin", small, crowd), ofNull},
		{"10 KiB scanned by clamd", "the slower of null processor and clamd alone", 0.9, is("clamd", small, crowd), ofSlower},
		{"10 KiB, verdict from the cache", "null processor", 0.9, is(engineHit, small, crowd), ofNull},
		{"100 MiB scanned by builtin", "null processor", 0.95, is("builtin", large, 1), ofNull},
	}
}

func (f ratioFigure) measured(r *report) figure {
	var all []string
	lowest := 1e9
	for _, one := range r.Rows {
		if !f.rows(one) {
			continue
		}
		ratio := f.ratio(r, one)
		lowest = min(lowest, ratio)
		all = append(all, fmt.Sprintf("%.2f", ratio))
	}
	out := figure{Name: f.name, Target: fmt.Sprintf("at least %.2f of %s", f.atLeast, f.of), Measured: "-"}
	switch {
	case len(all) > 2: // every profile, leg and size
		slices.Sort(all)
		out.Measured = fmt.Sprintf("%s to %s, median %s", all[0], all[len(all)-1], median(all))
	case len(all) > 0:
		out.Measured = strings.Join(all, " and ")
	}
	out.Met = len(all) > 0 && lowest >= f.atLeast-0.005 // as it is printed
	return out
}

const (
	memorySlack = 64 << 20
	ownTarget   = 100 * time.Microsecond
)

// figures are the promises, each with what was measured.
func (r *report) figures() []figure {
	var all []figure
	for _, f := range ratioFigures() {
		all = append(all, f.measured(r))
	}
	if r.Memory != nil {
		bound := r.Memory.Budget + memorySlack
		all = append(all, figure{
			Name:     fmt.Sprintf("memory, %d uploads of %s at once", r.Memory.Uploads, sizeText(r.Memory.Size)),
			Target:   fmt.Sprintf("at most %d MiB (spool.memory_bytes + 64 MiB)", bound>>20),
			Measured: fmt.Sprintf("%d MiB", r.Memory.PeakRSS>>20), Met: r.Memory.PeakRSS <= bound,
		})
	}
	for _, o := range r.Own {
		if o.Variant == "builtin" {
			all = append(all, figure{
				Name: "own time of a 10 KiB exchange, scan by builtin included", Target: "p50 at most 100 µs",
				Measured: microseconds(o.Added) + " µs", Met: o.Added <= ownTarget,
			})
		}
	}
	return all
}

func (r *report) writeFigures(w io.Writer) {
	fmt.Fprintf(w, "\n| figure | promised | measured | |\n|---|---|---:|---|\n")
	for _, f := range r.Figures {
		met := "met"
		if !f.Met {
			met = "not met"
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s |\n", f.Name, f.Target, f.Measured, met)
	}
}
