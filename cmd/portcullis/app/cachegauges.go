package app

import (
	"github.com/prometheus/client_golang/prometheus"
)

// cacheGauges tell what the cache saves, and how its Redis does. Without a cache,
// or without Redis, there is nothing to tell.
type cacheGauges struct {
	parts func() *parts

	objects, stored, entries, up, failures, rejected, writes *prometheus.Desc
}

var _ prometheus.Collector = (*cacheGauges)(nil)

func newCacheGauges(p func() *parts) *cacheGauges {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("portcullis_cache_"+name, help, labels, nil)
	}
	return &cacheGauges{
		parts:    p,
		objects:  desc("objects_total", "Objects given to an engine's cache, by where the verdict came from.", "engine", "result"),
		stored:   desc("stored_total", "Verdicts kept.", "engine"),
		entries:  desc("entries", "Verdicts in memory."),
		up:       desc("redis_up", "1 when Redis is being asked."),
		failures: desc("redis_errors_total", "Calls of Redis that failed or were too slow."),
		rejected: desc("redis_rejected_total", "Entries in Redis that were not believed: garbage, or signed by nobody we know."),
		writes:   desc("redis_writes_total", "Verdicts for Redis.", "result"),
	}
}

// Describe implements [prometheus.Collector].
func (g *cacheGauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{g.objects, g.stored, g.entries, g.up, g.failures, g.rejected, g.writes} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (g *cacheGauges) Collect(ch chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, t prometheus.ValueType, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, t, v, labels...)
	}
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		send(d, prometheus.CounterValue, float64(v), labels...)
	}
	now := g.parts()
	for _, e := range now.cached {
		s := e.Stats()
		count(g.objects, s.MemoryHits, e.Name(), "memory")
		count(g.objects, s.SharedHits, e.Name(), "redis")
		count(g.objects, s.Merged, e.Name(), "merged")
		count(g.objects, s.Misses, e.Name(), "miss")
		count(g.stored, s.Stored, e.Name())
	}
	s := now.cache.Stats()
	send(g.entries, prometheus.GaugeValue, float64(s.Entries))
	if !s.Shared.Configured {
		return
	}
	up := 0.0
	if s.Shared.Up {
		up = 1
	}
	send(g.up, prometheus.GaugeValue, up)
	count(g.failures, s.Shared.Errors)
	count(g.rejected, s.Shared.Rejected)
	count(g.writes, s.Shared.Written, "stored")
	count(g.writes, s.Shared.Dropped, "dropped")
}
