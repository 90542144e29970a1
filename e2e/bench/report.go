package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/portcullis-av/portcullis/e2e/rig"
)

// report is the whole result.
type report struct {
	Envoy   string        `json:"envoy"`
	Go      string        `json:"go"`
	CPUs    int           `json:"cpus"`
	Repeats int           `json:"repeats"`
	Long    time.Duration `json:"run_ns"`
	Rows    []row         `json:"rows"`
	Memory  *memory       `json:"memory,omitempty"`
	Own     []own         `json:"own"`
	Figures []figure      `json:"figures"`
}

func newReport(repeats int, long time.Duration) *report {
	return &report{Envoy: rig.EnvoyVersion, Go: runtime.Version(), CPUs: runtime.NumCPU(), Repeats: repeats, Long: long}
}

func (r *report) writeJSON(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644) //nolint:gosec // figures, for everyone
}

func (r *report) writeHead(w io.Writer) {
	fmt.Fprintf(w, "Envoy %s, %s, %d cores for client, origin, Envoy and processor together; medians of %d runs of %v.\n\n",
		r.Envoy, r.Go, r.CPUs, r.Repeats, r.Long)
	fmt.Fprintln(w, "| profile | leg | body | at once | through | exchanges/s | of null (lowest to highest) | of no filter | p50 ms | p99 ms | CPU µs | peak MiB | Envoy's CPU µs | Envoy's peak MiB |")
	fmt.Fprintln(w, "|---|---|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
}

func writeRow(w io.Writer, r row) {
	cpu, rss := used(r.CPU, r.PeakRSS)
	envoyCPU, envoyRSS := used(r.EnvoyCPU, r.EnvoyRSS)
	fmt.Fprintf(w, "| %s | %s | %s | %d | %s | %s | %.2f (%.2f to %.2f) | %.2f | %s | %s | %s | %s | %s | %s |\n",
		r.Profile, r.Leg, sizeText(r.Size), r.Concurrency, r.Variant, rate(r.PerSecond),
		r.OfNull, r.RatioLow, r.RatioHigh, r.OfNone, milliseconds(r.P50), milliseconds(r.P99), cpu, rss, envoyCPU, envoyRSS)
}

// used is what a process took, if there is one.
func used(cpu time.Duration, peak int64) (micros, mebibytes string) {
	if peak == 0 {
		return "-", "-"
	}
	return microseconds(cpu), fmt.Sprint(peak >> 20)
}

func (r *report) writeMemory(w io.Writer) {
	fmt.Fprintf(w, "\n%d uploads of %s at once, scanned by builtin: Portcullis peaks at %d MiB.\n",
		r.Memory.Uploads, sizeText(r.Memory.Size), r.Memory.PeakRSS>>20)
}

func rate(perSecond float64) string {
	if perSecond < 10 {
		return fmt.Sprintf("%.2f", perSecond)
	}
	return fmt.Sprintf("%.0f", perSecond)
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()*1e3) }
