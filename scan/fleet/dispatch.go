package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-av/portcullis/scan"
)

// waiter is a scan in the queue.
type waiter struct {
	size  int64
	avoid *member
	slot  chan *call // gets one call, or nil when no instance is left in use
}

// acquire gives a scan a slot. It waits for the first one of any instance, in
// order of arrival, for at most patience, of which it takes what it used. When no
// instance is in use it does not wait.
func (f *Fleet) acquire(ctx context.Context, size int64, avoid *member, patience *time.Duration) (*call, error) {
	f.mu.Lock()
	now := f.now()
	if !f.usable(avoid, now) {
		defer f.mu.Unlock()
		return nil, f.outOfUse()
	}
	if len(f.waiting) == 0 {
		if m := f.pick(avoid, false, now); m != nil {
			defer f.mu.Unlock()
			return m.begin(size, now), nil
		}
	}
	w := &waiter{size: size, avoid: avoid, slot: make(chan *call, 1)}
	f.waiting = append(f.waiting, w)
	f.dispatch(now)
	f.mu.Unlock()

	timer := time.NewTimer(*patience)
	defer timer.Stop()
	defer func() { *patience = max(0, *patience-(f.now()-now)) }()
	select {
	case c := <-w.slot:
		return f.granted(c)
	case <-timer.C:
		return f.lastResort(w)
	case <-ctx.Done():
		return nil, f.left(ctx, w)
	}
}

func (f *Fleet) granted(c *call) (*call, error) {
	if c != nil {
		return c, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return nil, f.outOfUse()
}

// lastResort ends the wait of w: a slot of an instance that is out of favour is
// better than none.
func (f *Fleet) lastResort(w *waiter) (*call, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c, was := f.unqueue(w); was && c != nil {
		return c, nil
	}
	now := f.now()
	if m := f.pick(w.avoid, true, now); m != nil {
		return m.begin(w.size, now), nil
	}
	switch {
	case !f.usable(w.avoid, now):
		return nil, f.outOfUse()
	case !f.proven(w.avoid):
		return nil, &scan.Error{Kind: scan.KindUnreachable, Op: "choose an instance of engine " + f.name, Err: errUnproven}
	}
	return nil, &scan.Error{Kind: scan.KindOverload, Op: "wait for a free slot of engine " + f.name, Err: errBusy}
}

var (
	errBusy     = errors.New("every slot is taken")
	errUnproven = errors.New("the first probe has not ended yet")
)

// left ends the wait of a caller whose context ended. That its time ran out here
// says nothing of the engine's speed.
func (f *Fleet) left(ctx context.Context, w *waiter) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c, was := f.unqueue(w); was && c != nil {
		c.member.end(c)
		c.member.breaker.trial = c.member.breaker.trial && !c.trial
		f.dispatch(f.now())
	}
	kind := scan.KindOf(ctx.Err())
	if kind == scan.KindTimeout {
		kind = scan.KindOverload
	}
	return &scan.Error{Kind: kind, Op: "wait for a free slot of engine " + f.name, Err: ctx.Err()}
}

// unqueue takes w out of the queue, or what it was given meanwhile.
func (f *Fleet) unqueue(w *waiter) (c *call, was bool) {
	select {
	case c := <-w.slot:
		return c, true
	default:
	}
	f.waiting = slices.DeleteFunc(f.waiting, func(x *waiter) bool { return x == w })
	return nil, false
}

// dispatch gives free slots to those who wait, first come, first served, and
// sends those away for whom no instance is left in use.
func (f *Fleet) dispatch(now time.Duration) {
	f.waiting = slices.DeleteFunc(f.waiting, func(w *waiter) bool {
		if !f.usable(w.avoid, now) {
			w.slot <- nil
			return true
		}
		m := f.pick(w.avoid, false, now)
		if m == nil {
			return false
		}
		w.slot <- m.begin(w.size, now)
		return true
	})
}

// usable reports whether an instance beside avoid may be given scans, now or later.
func (f *Fleet) usable(avoid *member, now time.Duration) bool {
	watched := f.watched.Load() > 0
	for _, m := range f.members {
		if m != avoid && m.breaker.admits(watched, now) {
			return true
		}
	}
	return false
}

// unproven reports whether the first probe of m is still awaited: until it has
// ended, m might be an engine that calls everything clean.
func (f *Fleet) unproven(m *member) bool { return m.probed == 0 && f.watched.Load() > 0 }

// proven reports whether the first probe of an instance in use has ended.
func (f *Fleet) proven(avoid *member) bool {
	return slices.ContainsFunc(f.members, func(m *member) bool {
		return m != avoid && !m.breaker.open && !f.unproven(m)
	})
}

// pick returns the instance with a free slot that has the fewest scans in
// flight, taking turns among equals. A slow instance holds its scans longer and
// so gets fewer of them; one that is an outlier, or that failed its last probe,
// gets none while a better one is in use, busy or not, except as a last resort.
// It returns nil when nobody has a slot.
func (f *Fleet) pick(avoid *member, lastResort bool, now time.Duration) *member {
	watched := f.watched.Load() > 0
	f.turn++
	var best *member
	var favour int
	for i := range f.members {
		m := f.members[(f.turn+i)%len(f.members)]
		if m == avoid || !m.breaker.admits(watched, now) || f.unproven(m) {
			continue
		}
		full := len(m.calls) >= f.opts.MaxInFlight
		rank := f.favour(m, now)
		if lastResort {
			rank = 0
			if full {
				continue
			}
		}
		switch {
		case best == nil, rank > favour:
		case rank < favour, full, len(m.calls) >= len(best.calls):
			continue
		}
		best, favour = m, rank
	}
	if best == nil || len(best.calls) >= f.opts.MaxInFlight {
		return nil
	}
	return best
}

// favour ranks an instance: healthy, healthy but an outlier, anything else.
func (f *Fleet) favour(m *member, now time.Duration) int {
	switch {
	case !m.health.Load().OK:
		return 0
	case f.outlier(m, now):
		return 1
	}
	return 2
}

// outOfUse is the error of a fleet that has no instance to ask.
func (f *Fleet) outOfUse() error {
	kind, why := scan.KindProtocol, make([]string, 0, len(f.members))
	for _, m := range f.members {
		if !m.breaker.blind {
			kind = scan.KindUnreachable
		}
		if m.breaker.why != nil {
			why = append(why, m.Label+": "+m.breaker.why.Error())
		}
	}
	return &scan.Error{
		Kind: kind, Op: "choose an instance of engine " + f.name,
		Err: fmt.Errorf("none is in use: %s", strings.Join(why, "; ")),
	}
}
