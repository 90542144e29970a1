package app

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// What can come of a changed configuration.
const (
	reloadApplied = "applied"
	reloadInvalid = "invalid" // it cannot be read, or something in it is wrong
	reloadRestart = "restart" // it changes what only a restart can
)

// reloadMetrics tell which configuration is in use and what came of changes.
type reloadMetrics struct {
	reloads *prometheus.CounterVec
	good    prometheus.Gauge
	at      prometheus.Gauge
	info    *prometheus.GaugeVec
}

func newReloadMetrics(r prometheus.Registerer) *reloadMetrics {
	m := &reloadMetrics{
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "portcullis_config_reloads_total", Help: "Changes of the configuration or of its files, by what came of them.",
		}, []string{"result"}),
		good: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "portcullis_config_current", Help: "1 when what the files say is in use, 0 when it was refused and the old configuration stays.",
		}),
		at: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "portcullis_config_last_success_timestamp_seconds", Help: "When the configuration in use was taken.",
		}),
		info: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "portcullis_config_info", Help: "1 for the hash of the configuration in use.",
		}, []string{"hash"}),
	}
	for _, result := range []string{reloadApplied, reloadInvalid, reloadRestart} {
		m.reloads.WithLabelValues(result)
	}
	r.MustRegister(m.reloads, m.good, m.at, m.info)
	return m
}

// inUse tells that p is in use instead of before, which is nil at the start.
func (m *reloadMetrics) inUse(p, before *parts) {
	if before != nil {
		m.reloads.WithLabelValues(reloadApplied).Inc()
		m.info.DeleteLabelValues(before.hash)
	}
	m.info.WithLabelValues(p.hash).Set(1)
	m.good.Set(1)
	m.at.Set(float64(time.Now().UnixMilli()) / 1000)
}

func (m *reloadMetrics) refused(result string) {
	m.reloads.WithLabelValues(result).Inc()
	m.good.Set(0)
}
