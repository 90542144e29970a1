package app

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/portcullis-av/portcullis/scan/gate"
)

// gauges are read when somebody looks: what is held and how the engines are.
type gauges struct {
	gate  *gate.Gate
	parts func() *parts

	exchanges, memory, disk, bodies, up, built *prometheus.Desc
}

var _ prometheus.Collector = (*gauges)(nil)

func newGauges(g *gate.Gate, p func() *parts) *gauges {
	engine := []string{"engine", "kind", "instance"}
	return &gauges{
		gate: g, parts: p,
		exchanges: prometheus.NewDesc("portcullis_exchanges_open", "Exchanges at the gate right now.", nil, nil),
		memory:    prometheus.NewDesc("portcullis_spool_memory_bytes", "Bytes of bodies held in memory.", nil, nil),
		disk:      prometheus.NewDesc("portcullis_spool_disk_bytes", "Bytes of bodies held on disk.", nil, nil),
		bodies:    prometheus.NewDesc("portcullis_spool_bodies", "Bodies held.", nil, nil),
		up:        prometheus.NewDesc("portcullis_engine_up", "1 when the instance passed its last canary.", engine, nil),
		built:     prometheus.NewDesc("portcullis_engine_signatures_timestamp_seconds", "When the signatures were built.", engine, nil),
	}
}

// Describe implements [prometheus.Collector].
func (g *gauges) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(g, ch) }

// Collect implements [prometheus.Collector].
func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	now := g.parts()
	usage := now.spool.Usage()
	send(g.exchanges, float64(g.gate.Open()))
	send(g.memory, float64(usage.Memory))
	send(g.disk, float64(usage.Disk))
	send(g.bodies, float64(usage.Bodies))
	for _, f := range now.fleets {
		for _, s := range f.Status() {
			up := 0.0
			if s.OK {
				up = 1
			}
			labels := []string{f.Name(), now.kinds[f.Name()], s.Label}
			send(g.up, up, labels...)
			if !s.Signatures.Built.IsZero() {
				send(g.built, float64(s.Signatures.Built.Unix()), labels...)
			}
		}
	}
}
