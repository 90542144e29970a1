package fleet

import "github.com/portcullis-av/portcullis/scan"

// Result is what became of a scan that an instance was given.
type Result struct {
	// Name is "verdict", or the word of the error's [scan.Kind].
	Name  string
	Count uint64
}

// results counts verdicts, and then errors by their kind.
type results [1 + int(scan.KindSpool) + 1]uint64

func (r *results) count(err error) {
	if err == nil {
		r[0]++
		return
	}
	r[1+int(scan.KindOf(err))]++
}

func (r *results) named() []Result {
	all := []Result{{Name: "verdict", Count: r[0]}}
	for kind, n := range r[1:] {
		all = append(all, Result{Name: scan.Kind(kind).String(), Count: n}) //nolint:gosec // a handful
	}
	return all
}

// Stats is what a fleet does right now and has done since it was made.
type Stats struct {
	// Queued scans wait for a slot of any instance.
	Queued int
	// Refused counts UNSCANNABLE verdicts about content that had hurt the engine.
	Refused   uint64
	Instances []InstanceStats
}

// InstanceStats is that of one instance.
type InstanceStats struct {
	Label string
	// InFlight scans hold a slot; probes do not count.
	InFlight int
	// Open says that the breaker is: the instance is out of use.
	Open bool
	// Transitions of the breaker, in either direction.
	Transitions uint64
	// Outlier says that the instance is much slower than the others, and so is
	// asked only when no other has a slot.
	Outlier   bool
	Ejections uint64 // how often it became one
	// Retries are second tries that this instance got.
	Retries uint64
	// Results holds each name once, always in the same order.
	Results []Result
}

// Stats may be called at any time.
func (f *Fleet) Stats() Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	s := Stats{Queued: len(f.waiting), Refused: f.refused}
	for _, m := range f.members {
		s.Instances = append(s.Instances, InstanceStats{
			Label: m.Label, InFlight: len(m.calls),
			Open: m.breaker.open, Transitions: m.breaker.transitions,
			Outlier: f.outlier(m, now), Ejections: m.pace.ejections, Retries: m.retries,
			Results: m.results.named(),
		})
	}
	return s
}
