package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-av/portcullis/envoy"
)

// A plot shows what a processor adds to the median time of one exchange alone on
// the machine, by the size of the body; both axes are logarithmic.
const (
	plotWidth, plotHeight = 480, 300 // of one panel
	plotLeft, plotBottom  = 64, 44
	plotTop, plotRight    = 34, 32
	smallestAdded         = 20 * time.Microsecond // less is noise
)

// colours of the variants, told apart also without red and green.
func colour(variant string) string {
	return map[string]string{
		variantNull: "#777777", engineSkip: "#56b4e9", "builtin": "#0072b2", "clamd": "#d55e00", engineHit: "#e69f00",
	}[variant]
}

func (r *report) writePlot(path string) error {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", 2*plotWidth, plotHeight+24)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/>`+"\n")
	for i, leg := range []string{"request", "response"} {
		p := panel{report: r, leg: leg, left: float64(i*plotWidth + plotLeft)}
		p.write(&b)
	}
	r.writeLegend(&b)
	b.WriteString("</svg>\n")
	return os.WriteFile(path, []byte(b.String()), 0o644) //nolint:gosec // figures, for everyone
}

// panel is the plot of one leg.
type panel struct {
	report *report
	leg    string
	left   float64
}

const (
	leastSize, mostSize = 1 << 10, 100 << 20
	mostAdded           = 10 * time.Second
)

func (p panel) x(size int64) float64 {
	return p.left + (plotWidth-plotLeft-plotRight)*math.Log(float64(size)/leastSize)/math.Log(float64(mostSize)/leastSize)
}

func (p panel) y(added time.Duration) float64 {
	at := math.Log(float64(added)/float64(smallestAdded)) / math.Log(float64(mostAdded)/float64(smallestAdded))
	return plotHeight - plotBottom - (plotHeight-plotBottom-plotTop)*at
}

func (p panel) write(w io.Writer) {
	title := map[string]string{"request": "uploads", "response": "downloads"}[p.leg]
	fmt.Fprintf(w, `<text x="%.0f" y="18" font-weight="bold">Added to the median time of an exchange, %s</text>`+"\n", p.left, title)
	for _, added := range []time.Duration{100 * time.Microsecond, time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond, time.Second, 10 * time.Second} {
		y := p.y(added)
		fmt.Fprintf(w, `<path d="M%.1f %.1fH%.1f" stroke="#dddddd"/><text x="%.1f" y="%.1f" text-anchor="end">%s</text>`+"\n",
			p.left, y, p.x(mostSize), p.left-6, y+4, strings.Replace(added.String(), "µ", "&#181;", 1))
	}
	for _, size := range []int64{1 << 10, 10 << 10, 1 << 20, 100 << 20} {
		x := p.x(size)
		fmt.Fprintf(w, `<path d="M%.1f %.1fV%.1f" stroke="#dddddd"/><text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
			x, p.y(mostAdded), p.y(smallestAdded), x, plotHeight-plotBottom+18, sizeText(size))
	}
	for _, variant := range p.report.variants() {
		p.line(w, variant)
	}
}

// line draws one variant, as far as it was measured.
func (p panel) line(w io.Writer, variant string) {
	var points []string
	for _, r := range p.report.Rows {
		none, ok := p.report.find(r.cell, variantNone)
		if r.Variant != variant || r.Profile != envoy.Duplex || r.Leg != p.leg || r.Concurrency != 1 || r.Size < leastSize || !ok {
			continue
		}
		added := max(r.P50-none.P50, smallestAdded)
		points = append(points, fmt.Sprintf("%.1f,%.1f", p.x(r.Size), p.y(min(added, mostAdded))))
	}
	if len(points) == 0 {
		return
	}
	fmt.Fprintf(w, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(points, " "), colour(variant))
	for _, at := range points {
		x, y, _ := strings.Cut(at, ",")
		fmt.Fprintf(w, `<circle cx="%s" cy="%s" r="3" fill="%s"/>`+"\n", x, y, colour(variant))
	}
}

// variants are those that are drawn, in the order of the result.
func (r *report) variants() []string {
	var all []string
	for _, row := range r.Rows {
		if colour(row.Variant) != "" && !slices.Contains(all, row.Variant) {
			all = append(all, row.Variant)
		}
	}
	return all
}

func (r *report) find(c cell, variant string) (row, bool) {
	for _, row := range r.Rows {
		if row.cell == c && row.Variant == variant {
			return row, true
		}
	}
	return row{}, false
}

func (r *report) writeLegend(w io.Writer) {
	x := plotLeft
	for _, v := range r.variants() {
		fmt.Fprintf(w, `<rect x="%d" y="%d" width="14" height="4" fill="%s"/><text x="%d" y="%d">%s</text>`+"\n",
			x, plotHeight+6, colour(v), x+20, plotHeight+12, v)
		x += 46 + 7*len(v)
	}
}
