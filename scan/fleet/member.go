package fleet

import (
	"sync/atomic"
	"time"

	"github.com/portcullis-av/portcullis/scan"
)

// member is an instance and what its fleet knows of it.
type member struct {
	Instance
	health atomic.Pointer[Health]
	sooner chan time.Duration // asks the watcher for a probe, so long from now

	// Guarded by Fleet.mu.
	calls    []*call
	answered time.Duration // when the last complete verdict came; 0 for never
	hung     int           // scans that ran out of time since the last one with a verdict
	probed   time.Duration // when the last probe that has ended began
	breaker  breaker
	breaks   breaks
	pace     pace
	results  results
	retries  uint64
}

// call is one scan under way.
type call struct {
	member *member
	began  time.Duration
	work   float64
	index  int  // in member.calls
	trial  bool // of an instance that is out of use
}

func (m *member) begin(size int64, now time.Duration) *call {
	c := &call{member: m, began: now, work: workOf(size), index: len(m.calls), trial: m.breaker.open}
	m.breaker.trial = c.trial
	m.calls = append(m.calls, c)
	return c
}

func (m *member) end(c *call) {
	last := m.calls[len(m.calls)-1]
	m.calls[c.index], last.index = last, c.index
	m.calls[len(m.calls)-1] = nil
	m.calls = m.calls[:len(m.calls)-1]
}

// probeIn asks for a probe. One that is asked for already is soon enough.
func (m *member) probeIn(d time.Duration) {
	select {
	case m.sooner <- d:
	default:
	}
}

// Unproven stands for the signatures of a verdict by an instance that failed its
// last probe: nobody knows what it worked with, so nobody should remember it.
const Unproven = "unproven"

// release ends a call: it frees the slot, learns from what came of it, and says
// what that means for the content.
func (f *Fleet) release(c *call, sum [32]byte, read bool, v scan.Verdict, err error) (scan.Verdict, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m, now := c.member, f.now()
	m.end(c)
	defer f.dispatch(now)
	m.results.count(err)
	if c.trial {
		m.breaker.trial = false
	}
	if err == nil {
		m.answered, m.hung = now, 0
		m.breaker.succeeded(now)
		if c.trial {
			m.breaker.passed(now)
		}
		f.measure(c, now)
		f.poison.forgive(sum)
		if h := m.health.Load(); !h.OK && !h.At.IsZero() {
			v.Signatures = Unproven
		}
		return v, nil
	}
	switch kind := scan.KindOf(err); kind {
	case scan.KindTimeout:
		return f.late(c, sum, v, err, now)
	case scan.KindUnreachable:
		f.failed(m, err, now)
		if read && m.breaks.add(now, m.answered) && f.poison.broke(sum, m, now) {
			f.refused++
			return brokeTwo(), nil
		}
	case scan.KindProtocol:
		// It does answer. Content that makes it stumble must not be able to
		// put the last instance out of use, and so to choose fail-open for others.
		if f.inUse(m) {
			f.failed(m, err, now)
		}
	case scan.KindInternal, scan.KindCanceled, scan.KindRefused, scan.KindOverload, scan.KindSpool:
	}
	return v, err
}

// shortest is the time that a scan must have had for its time-out to say
// something against the engine.
const shortest = 500 * time.Millisecond

// late judges a time-out. When the engine answered others meanwhile, it is this
// content that takes too long, and a client must not reach fail-open with it. An
// instance that answered nobody itself is spared for a while: it may be stuck. So
// is one that answers nothing but its probes, not for a single content.
func (f *Fleet) late(c *call, sum [32]byte, v scan.Verdict, err error, now time.Duration) (scan.Verdict, error) {
	given, silent := now-c.began, c.member.answered <= c.began
	if silent && given >= shortest {
		f.failed(c.member, err, now)
	}
	c.member.hung++
	if !f.answeredSince(c.began) {
		return v, err
	}
	if silent || c.member.hung > 1 {
		f.eject(c.member, now)
	}
	f.poison.slow(sum, c.member, silent, given, now)
	return tooSlow(), nil
}

func (f *Fleet) answeredSince(t time.Duration) bool {
	for _, m := range f.members {
		if m.answered > t {
			return true
		}
	}
	return false
}

// inUse reports whether an instance beside m is in use.
func (f *Fleet) inUse(beside *member) bool {
	for _, m := range f.members {
		if m != beside && !m.breaker.open {
			return true
		}
	}
	return false
}

// failed counts a failure, and takes the instance out of use when it is one too many.
func (f *Fleet) failed(m *member, err error, now time.Duration) {
	if m.breaker.failed(err, now) {
		m.probeIn(retryInterval)
	}
}
