package fleet

import (
	"container/list"
	"sync/atomic"
	"time"

	"github.com/portcullis-av/portcullis/scan"
)

const (
	maxStruck  = 1024            // contents remembered
	strikeTime = 2 * time.Minute // for so long
)

// poison remembers content that hurt the engine, so that it is not tried on one
// instance after the other: content in whose middle the connections to two
// instances broke, which otherwise hold theirs, and content that ran out of time
// twice while the engine answered others. A verdict about the content clears it.
//
// The outcome is UNSCANNABLE because it is the content's doing. As an ERROR it
// would pass where a policy fails open, and whoever has a file that kills
// engines could send anything.
type poison struct {
	struck map[[32]byte]*list.Element
	order  *list.List  // of *strikes, the latest first
	some   atomic.Bool // struck is not empty; may be read without the fleet's lock
}

type strikes struct {
	sum      [32]byte
	at       time.Duration
	breaker  *member // the instance whose connection broke
	broke    bool    // a second one
	timeouts int
	slowOn   *member       // the instance of the last one
	given    time.Duration // the most time it had
}

// An instance holds its connections when none broke in the steady time before.
// Those that break together, with no verdict in between, are one incident:
// whatever killed the instance took its other scans along.
const (
	steadyTime = 10 * time.Second
	incident   = 250 * time.Millisecond
)

// breaks are the times at which connections to an instance broke in the middle
// of a scan; 0 for never.
type breaks struct{ latest, before time.Duration }

// add notes a break of an instance that answered last at a time, and reports
// whether it was steady until then. If not, the network is to blame, or the
// instance, rather than the content.
func (b *breaks) add(now, answered time.Duration) (steady bool) {
	if b.latest == 0 || now-b.latest > incident || answered > b.latest {
		b.latest, b.before = now, b.latest
	}
	return b.before == 0 || b.latest-b.before > steadyTime
}

func newPoison() poison {
	return poison{struck: map[[32]byte]*list.Element{}, order: list.New()}
}

// refuses returns the verdict for content that must not be tried again. Left is
// the time it would have; negative for no end. Content that was too slow is
// tried again when it has much more time than it had.
func (p *poison) refuses(sum [32]byte, left, now time.Duration) (scan.Verdict, bool) {
	e, ok := p.struck[sum]
	if !ok {
		return scan.Verdict{}, false
	}
	s := e.Value.(*strikes)
	switch {
	case now-s.at > strikeTime:
		p.remove(e)
	case s.broke:
		return brokeTwo(), true
	case s.timeouts >= 2 && left >= 0 && left <= 2*s.given:
		return tooSlow(), true
	}
	return scan.Verdict{}, false
}

// broke notes that m's connection broke in the middle of the content and reports
// whether it is the second instance to which that happened.
func (p *poison) broke(sum [32]byte, m *member, now time.Duration) bool {
	s := p.strike(sum, now)
	s.broke = s.broke || s.breaker != nil && s.breaker != m
	s.breaker = m
	return s.broke
}

// slow notes that the content did not finish in the time it was given. An
// instance that was silent to everybody is a witness once only: it may be stuck.
func (p *poison) slow(sum [32]byte, m *member, silent bool, given, now time.Duration) {
	s := p.strike(sum, now)
	if !silent || s.slowOn != m {
		s.timeouts++
	}
	s.slowOn = m
	s.given = max(s.given, given)
}

// strike returns the content's entry, the latest from now on. Content without a
// digest has none that lasts.
func (p *poison) strike(sum [32]byte, now time.Duration) *strikes {
	if sum == [32]byte{} {
		return &strikes{}
	}
	if e, ok := p.struck[sum]; ok {
		s := e.Value.(*strikes)
		if now-s.at <= strikeTime {
			s.at = now
			p.order.MoveToFront(e)
			return s
		}
		p.remove(e)
	}
	if p.order.Len() >= maxStruck {
		p.remove(p.order.Back())
	}
	s := &strikes{sum: sum, at: now}
	p.struck[sum] = p.order.PushFront(s)
	p.some.Store(true)
	return s
}

// forgive forgets content that was judged.
func (p *poison) forgive(sum [32]byte) {
	if e, ok := p.struck[sum]; ok {
		p.remove(e)
	}
}

func (p *poison) remove(e *list.Element) {
	delete(p.struck, e.Value.(*strikes).sum)
	p.order.Remove(e)
	p.some.Store(len(p.struck) > 0)
}

func tooSlow() scan.Verdict {
	return scan.Verdict{
		Outcome: scan.OutcomeUnscannable, Cause: scan.CauseScanTimeout,
		Detail: "the engine did not finish this content in time, but answered others",
	}
}

func brokeTwo() scan.Verdict {
	return scan.Verdict{
		Outcome: scan.OutcomeUnscannable, Cause: scan.CauseEngineLimit,
		Detail: "the connections to two instances of the engine broke in the middle of this content",
	}
}
