package app

import (
	"github.com/prometheus/client_golang/prometheus"
)

// fleetGauges tell how work is spread over the instances of engines, and which of
// them are out of use or out of favour.
type fleetGauges struct {
	parts func() *parts

	queued, refused                                                *prometheus.Desc // by engine
	inFlight, scans, open, transitions, outlier, ejections, second *prometheus.Desc // by instance
}

var _ prometheus.Collector = (*fleetGauges)(nil)

func newFleetGauges(p func() *parts) *fleetGauges {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("portcullis_engine_"+name, help, append([]string{"engine", "kind"}, labels...), nil)
	}
	return &fleetGauges{
		parts:       p,
		queued:      desc("queued", "Scans that wait for a slot of any instance."),
		refused:     desc("harmful_objects_total", "Objects called UNSCANNABLE because they broke or exhausted the engine."),
		inFlight:    desc("scans_in_flight", "Scans that hold a slot of the instance.", "instance"),
		scans:       desc("scans_total", "Scans given to the instance, by what became of them.", "instance", "result"),
		open:        desc("breaker_open", "1 while the instance is out of use because it fails.", "instance"),
		transitions: desc("breaker_transitions_total", "Changes of the breaker, in either direction.", "instance"),
		outlier:     desc("outlier", "1 while the instance is much slower than the others and is spared.", "instance"),
		ejections:   desc("ejections_total", "How often the instance became an outlier.", "instance"),
		second:      desc("retries_total", "Scans that came to the instance because another one had failed.", "instance"),
	}
}

// Describe implements [prometheus.Collector].
func (g *fleetGauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		g.queued, g.refused, g.inFlight, g.scans, g.open, g.transitions, g.outlier, g.ejections, g.second,
	} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (g *fleetGauges) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	now := g.parts()
	for _, f := range now.fleets {
		s, engine, kind := f.Stats(), f.Name(), now.kinds[f.Name()]
		gauge(g.queued, s.Queued, engine, kind)
		count(g.refused, s.Refused, engine, kind)
		for _, i := range s.Instances {
			gauge(g.inFlight, i.InFlight, engine, kind, i.Label)
			gauge(g.open, oneIf(i.Open), engine, kind, i.Label)
			gauge(g.outlier, oneIf(i.Outlier), engine, kind, i.Label)
			count(g.transitions, i.Transitions, engine, kind, i.Label)
			count(g.ejections, i.Ejections, engine, kind, i.Label)
			count(g.second, i.Retries, engine, kind, i.Label)
			for _, r := range i.Results {
				count(g.scans, r.Count, engine, kind, i.Label, r.Name)
			}
		}
	}
}

func oneIf(b bool) int {
	if b {
		return 1
	}
	return 0
}
