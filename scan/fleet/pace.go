package fleet

import (
	"slices"
	"time"
)

// An instance is an outlier when it takes more than outlierFactor times as long
// as the others do (their median), and longer by outlierMargin, below which
// differences are noise. It stays one for outlierTime and is then measured anew.
const (
	outlierFactor = 3
	outlierMargin = 25 * time.Millisecond
	outlierTime   = 20 * time.Second
	smoothing     = 0.3 // weight of the newest scan in the average
)

// workUnit is a part of an object that takes an engine about as long as its
// fixed costs do, so that an instance is not called slow for a large object.
const workUnit = 64 << 10

func workOf(size int64) float64 { return 1 + float64(size)/workUnit }

// pace is how fast an instance judges, for one unit of work.
type pace struct {
	average   time.Duration // exponentially weighted; 0 for unknown
	until     time.Duration // it is an outlier until then
	ejections uint64
}

// measure learns from a scan that ended with a verdict.
func (f *Fleet) measure(c *call, now time.Duration) {
	f.took.add(now - c.began)
	if len(f.members) == 1 {
		return
	}
	p := &c.member.pace
	took := max(1, time.Duration(float64(now-c.began)/c.work))
	if p.average == 0 {
		p.average = took
	} else {
		p.average += time.Duration(smoothing * float64(took-p.average))
	}
	if f.slow(c.member, p.average) {
		f.eject(c.member, now)
	}
}

// eject makes an outlier of an instance that is none yet.
func (f *Fleet) eject(m *member, now time.Duration) {
	if m.pace.until > now {
		return
	}
	m.pace.until, m.pace.average = now+outlierTime, 0
	m.pace.ejections++
}

// outlier reports whether m is much slower than the others, or has a scan in
// flight that says it will be.
func (f *Fleet) outlier(m *member, now time.Duration) bool {
	if m.pace.until > now {
		return true
	}
	if len(f.members) == 1 {
		return false
	}
	for _, c := range m.calls {
		if f.slow(m, time.Duration(float64(now-c.began)/c.work)) {
			return true
		}
	}
	return false
}

// slow compares a time with those of the other instances in use. Without any
// there is nothing to compare with.
func (f *Fleet) slow(m *member, took time.Duration) bool {
	if took <= outlierMargin {
		return false
	}
	others := make([]time.Duration, 0, len(f.members))
	for _, o := range f.members {
		if o != m && !o.breaker.open && o.pace.average > 0 {
			others = append(others, o.pace.average)
		}
	}
	if len(others) == 0 {
		return false
	}
	slices.Sort(others)
	return took > outlierFactor*others[(len(others)-1)/2]+outlierMargin
}

// durations are the last of a fleet's scans.
type durations struct {
	last [128]time.Duration
	n    int
}

func (d *durations) add(took time.Duration) {
	d.last[d.n%len(d.last)] = took
	d.n++
}

// p99 is what nearly every scan takes at most; 0 when nothing is known.
func (d *durations) p99() time.Duration {
	n := min(d.n, len(d.last))
	if n == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(d.last[:n]))
	return sorted[(99*n+99)/100-1]
}
