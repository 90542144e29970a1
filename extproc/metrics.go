package extproc

import "github.com/prometheus/client_golang/prometheus"

// Ends are how a stream can end: the closed vocabulary of [gate.Record]'s End
// and of the metric's label.
const (
	endComplete = "complete" // Envoy closed, nothing was undecided
	endRefused  = "refused"  // answered by us
	endAborted  = "aborted"  // Envoy or the client left while something was undecided
	endFailed   = "failed"   // Envoy said something unlawful, or a body could not be released
	endExpired  = "expired"  // over MaxExchange, or Envoy took no answer
)

// Metrics are the door's own; what became of bodies is counted by the observer.
type Metrics struct {
	streams *prometheus.CounterVec
	open    prometheus.Gauge
}

// NewMetrics registers the metrics with r.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		streams: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "portcullis_extproc_streams_total",
			Help: "ext_proc streams that ended, by how.",
		}, []string{"end"}),
		open: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "portcullis_extproc_streams_open",
			Help: "ext_proc streams open right now.",
		}),
	}
	for _, end := range []string{endComplete, endRefused, endAborted, endFailed, endExpired} {
		m.streams.WithLabelValues(end)
	}
	r.MustRegister(m.streams, m.open)
	return m
}
