package fleet

import (
	"context"
	"sync"
	"time"

	"github.com/portcullis-av/portcullis/scan"
)

// retryInterval is the time between probes of an instance that is down: a fleet
// must be back within 5 s of its engine. Each one begins in time whether or not
// the one before has ended, since an engine that hung may never answer that one.
// One that refuses us wants its operator, and may bill each call.
const (
	retryInterval   = time.Second
	refusedInterval = 10 * time.Second
)

// Run probes every instance at once, and then again and again until ctx ends.
// While it runs, probes alone put an instance back that was taken out of use.
func (f *Fleet) Run(ctx context.Context) {
	f.watched.Add(1)
	defer f.watched.Add(-1)
	var all sync.WaitGroup
	for _, m := range f.members {
		all.Go(func() { f.watch(ctx, m) })
	}
	all.Wait()
}

// watch probes m at a constant rate, sooner when somebody asks, but never within
// the retry interval of the last probe.
func (f *Fleet) watch(ctx context.Context, m *member) {
	var probes sync.WaitGroup
	defer probes.Wait()
	last := time.Now()
	next := last
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case d := <-m.sooner:
			wanted := time.Now().Add(d)
			if earliest := last.Add(retryInterval); wanted.Before(earliest) {
				wanted = earliest
			}
			if wanted.Before(next) {
				next = wanted
				timer.Reset(time.Until(next))
			}
		case <-timer.C:
			probes.Go(func() { f.probe(ctx, m) })
			last = time.Now()
			f.mu.Lock()
			next = last.Add(f.pause(m))
			f.mu.Unlock()
			timer.Reset(time.Until(next))
		}
	}
}

// pause is the time from one probe of m to the next. The lock must be held.
func (f *Fleet) pause(m *member) time.Duration {
	h := m.health.Load()
	switch {
	case h.OK && !m.breaker.open:
		return f.opts.CanaryInterval
	case h.Err != nil && scan.KindOf(h.Err) == scan.KindRefused:
		return min(refusedInterval, f.opts.CanaryInterval)
	}
	return min(retryInterval, f.opts.CanaryInterval)
}
