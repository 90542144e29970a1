package extproctest

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
)

// LoadConfig is a load of one exchange shape.
type LoadConfig struct {
	Config   Config
	Exchange Exchange
	// Concurrency is the number of exchanges in flight; 0 means 1.
	Concurrency int
	// Count is the number of exchanges in all.
	Count int
	// WantStatus is the client's status that counts as success; 0 means 200.
	WantStatus int
}

// LoadResult is what a load measured.
type LoadResult struct {
	// Done exchanges; less than Count when the context ended.
	Done int
	// Failed exchanges broke a rule of the protocol or ended with another status.
	Failed int
	// FirstFailure explains one of them.
	FirstFailure string
	Elapsed      time.Duration
	PerSecond    float64
	// P50, P99 and Max are times of whole exchanges, the fake's own work included.
	P50, P99, Max time.Duration
}

// Load runs lc.Count exchanges, lc.Concurrency at a time, and measures. Bodies
// are counted, not kept.
func Load(ctx context.Context, conn grpc.ClientConnInterface, lc LoadConfig) LoadResult {
	lc.Exchange.CountOnly = true
	lc.Concurrency, lc.WantStatus = or(lc.Concurrency, 1), or(lc.WantStatus, 200)
	envoy := New(conn, lc.Config)
	var (
		next    atomic.Int64
		workers sync.WaitGroup
		mu      sync.Mutex
		res     LoadResult
		times   []time.Duration
	)
	start := time.Now()
	for range lc.Concurrency {
		workers.Go(func() {
			for next.Add(1) <= int64(lc.Count) && ctx.Err() == nil {
				began := time.Now()
				r := envoy.Do(ctx, lc.Exchange)
				took := time.Since(began)
				mu.Lock()
				times = append(times, took)
				res.note(r, lc.WantStatus)
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	res.Elapsed, res.Done = time.Since(start), len(times)
	if res.Done == 0 {
		return res
	}
	slices.Sort(times)
	res.PerSecond = float64(res.Done) / res.Elapsed.Seconds()
	res.P50, res.P99, res.Max = times[len(times)/2], times[len(times)*99/100], times[len(times)-1]
	return res
}

func (l *LoadResult) note(r Result, want int) {
	var why string
	switch {
	case len(r.Violations) > 0:
		why = r.Violations[0].String()
	case r.Client.Status != want || r.Client.Reset || !r.Client.Complete:
		why = "the client got " + r.Client.String()
	default:
		return
	}
	l.Failed++
	l.FirstFailure = or(l.FirstFailure, why)
}
