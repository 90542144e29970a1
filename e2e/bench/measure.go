package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-av/portcullis/envoy"
)

// cell is one load through one profile.
type cell struct {
	Profile envoy.Profile `json:"profile"`
	load
}

// cells are all combinations that make sense: huge bodies alone and in the
// duplex profile only, empty ones on one leg only, and the adaptive profile, in
// which a null processor never sees a body, at the highest concurrency only. Forms
// and coded bodies are of one size, in the duplex profile.
func cells(profiles []envoy.Profile, sizes []int64, concurrencies []int) []cell {
	var all []cell
	for _, p := range profiles {
		for _, size := range sizes {
			for _, c := range concurrencies {
				for _, leg := range []string{"request", "response"} {
					huge := size > 16<<20
					alone := p == envoy.Adaptive && c < slices.Max(concurrencies)
					if huge && (p != envoy.Duplex || c > 1) || size == 0 && leg == "request" || alone {
						continue
					}
					all = append(all, cell{Profile: p, load: load{Leg: leg, Size: size, Concurrency: c}})
				}
			}
		}
	}
	for _, p := range profiles {
		for _, leg := range []string{"multipart", "gzip"} {
			if p == envoy.Duplex && slices.Contains(sizes, wrappedSize) {
				all = append(all, cell{Profile: p, load: load{Leg: leg, Size: wrappedSize, Concurrency: slices.Max(concurrencies)}})
			}
		}
	}
	return all
}

// wrappedSize is the size of bodies that must be unwrapped.
const wrappedSize = 1 << 20

// row is the result of one cell and variant.
type row struct {
	cell
	Variant   string        `json:"variant"`
	PerSecond float64       `json:"per_second"` // medians over the repeats
	P50       time.Duration `json:"p50_ns"`
	P99       time.Duration `json:"p99_ns"`
	CPU       time.Duration `json:"cpu_ns"`         // of the processor, for one exchange
	PeakRSS   int64         `json:"peak_rss"`       // of the processor, bytes
	EnvoyCPU  time.Duration `json:"envoy_cpu_ns"`   // of Envoy, for one exchange
	EnvoyRSS  int64         `json:"envoy_peak_rss"` // of Envoy, bytes
	OfNull    float64       `json:"of_null"`        // exchanges per second, as a ratio
	OfNone    float64       `json:"of_none"`        // likewise
	RatioLow  float64       `json:"ratio_low"`      // the lowest OfNull of a repeat
	RatioHigh float64       `json:"ratio_high"`     // the highest
}

// measure runs every variant of a cell in turn, repeat by repeat.
func (s *stage) measure(ctx context.Context, c cell, repeats int, long time.Duration) ([]row, error) {
	variants := append([]string{variantNone, variantNull}, s.engines...)
	if s.bare != nil && c.Size > 0 && (c.Leg == "request" || c.Leg == "response") {
		variants = append(variants, variantBare)
	}
	samples := map[string][]sample{}
	for range repeats {
		for _, v := range variants {
			t := s.targets[v][c.Profile]
			if v == variantBare {
				t = target{direct: s.bare}
			}
			one, err := c.run(ctx, t, long)
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", c, v, err)
			}
			samples[v] = append(samples[v], one)
		}
	}
	var rows []row
	for _, v := range variants {
		rows = append(rows, summary(c, v, samples[v], samples[variantNull], samples[variantNone]))
	}
	return rows, nil
}

func summary(c cell, variant string, own, null, none []sample) row {
	var perSecond, ofNull, ofNone []float64
	var p50, p99, cpu, envoyCPU []time.Duration
	var rss, envoyRSS []int64
	for i, s := range own {
		perSecond = append(perSecond, s.PerSecond)
		ofNull = append(ofNull, s.PerSecond/null[i].PerSecond)
		ofNone = append(ofNone, s.PerSecond/none[i].PerSecond)
		p50, p99, cpu = append(p50, s.P50), append(p99, s.P99), append(cpu, s.CPU)
		rss = append(rss, s.PeakRSS)
		envoyCPU, envoyRSS = append(envoyCPU, s.Envoy.CPU), append(envoyRSS, s.Envoy.PeakRSS)
	}
	return row{
		cell: c, Variant: variant, PerSecond: median(perSecond), P50: median(p50), P99: median(p99),
		CPU: median(cpu), PeakRSS: slices.Max(rss),
		EnvoyCPU: median(envoyCPU), EnvoyRSS: slices.Max(envoyRSS), OfNull: median(ofNull), OfNone: median(ofNone),
		RatioLow: slices.Min(ofNull), RatioHigh: slices.Max(ofNull),
	}
}

// median sorts values; of an even number it is the lower of the two in the middle.
func median[T cmp.Ordered](values []T) T {
	slices.Sort(values)
	return values[(len(values)-1)/2]
}

func (c cell) String() string {
	return fmt.Sprintf("%s %s %s c=%d", c.Profile, c.Leg, sizeText(c.Size), c.Concurrency)
}

func sizeText(n int64) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}

func slug(name string) string { return strings.ReplaceAll(name, " ", "-") }
