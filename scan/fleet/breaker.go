package fleet

import "time"

// When an instance is taken out of use: after so many failures in a row, or
// when half of at least so many scans of the last 10 s failed.
const (
	maxConsecutive = 5
	minSample      = 20
)

// A breaker that opens again within relapse of its closing stays open for hold at
// least, so that an instance which passes its probes and fails all else does not
// make it change more than once a second.
const (
	relapse = 5 * time.Second
	hold    = 2 * time.Second
)

// breaker takes an instance out of use while it is broken, so that nobody waits
// for it. A probe that passes puts it back. No client's scan is used as a trial,
// unless nobody probes at all.
type breaker struct {
	open  bool
	blind bool  // only a probe may close it
	why   error // it is open
	at    time.Duration
	held  time.Duration // it stays open until then, whatever a probe says
	trial bool          // is under way

	closed time.Duration // when it last did; 0 for never

	consecutive int
	recent      window // verdicts and failures
	transitions uint64
}

// admits reports whether a scan may be given to the instance. One that nobody
// watches gets a scan as a trial every now and then.
func (b *breaker) admits(watched bool, now time.Duration) bool {
	if !b.open {
		return true
	}
	return !watched && !b.blind && !b.trial && now >= b.at+retryInterval
}

// succeeded notes a verdict. One of a scan from before the breaker opened does
// not close it, or an instance that does both would flap with every scan.
func (b *breaker) succeeded(now time.Duration) {
	b.consecutive = 0
	b.recent.add(now, 1, 0)
}

// failed notes a failure and reports whether it opened the breaker.
func (b *breaker) failed(err error, now time.Duration) bool {
	b.consecutive++
	b.recent.add(now, 0, 1)
	if b.open {
		b.at, b.why = now, err
		return false
	}
	verdicts, failures := b.recent.sum(now)
	sample := verdicts + failures
	if b.consecutive < maxConsecutive && (sample < minSample || 2*failures < sample) {
		return false
	}
	b.trip(err, now)
	return true
}

func (b *breaker) trip(err error, now time.Duration) {
	if !b.open {
		b.transitions++
		if b.closed > 0 && now-b.closed < relapse {
			b.held = now + hold
		}
	}
	b.open, b.why, b.at = true, err, now
}

// passed notes a probe, or a trial, that went well.
func (b *breaker) passed(now time.Duration) {
	if !b.open || now < b.held {
		return
	}
	*b = breaker{closed: now, transitions: b.transitions + 1}
}

// window counts two things over the last 10 s, second by second.
type window struct {
	slots [10]struct {
		second int64
		a, b   int
	}
}

func (w *window) add(now time.Duration, a, b int) {
	second := int64(now / time.Second)
	s := &w.slots[second%int64(len(w.slots))]
	if s.second != second {
		s.second, s.a, s.b = second, 0, 0
	}
	s.a += a
	s.b += b
}

func (w *window) sum(now time.Duration) (a, b int) {
	oldest := int64(now/time.Second) - int64(len(w.slots)) + 1
	for _, s := range w.slots {
		if s.second >= oldest {
			a += s.a
			b += s.b
		}
	}
	return a, b
}
