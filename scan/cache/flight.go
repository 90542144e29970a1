package cache

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/portcullis-av/portcullis/scan"
)

// request is what a flight asks about.
type request struct {
	key    key
	scope  *scope
	object scan.Object
	// again is true from the second attempt on.
	again bool
}

// flights merges callers that ask about the same object at the same time.
type flights struct {
	ask func(ctx context.Context, r request) (scan.Verdict, error)

	mu  sync.Mutex
	now map[key]*flight
}

func newFlights(ask func(context.Context, request) (scan.Verdict, error)) *flights {
	return &flights{ask: ask, now: map[key]*flight{}}
}

// flight is one scan for all its callers, in a goroutine of its own. Its fields
// below the line are guarded by flights.mu.
//
// Each attempt has the deadline of its first caller, so that the engine sees a
// true time-out and can say what it means. Callers join it only if their own
// deadline is no earlier. When an attempt has used up its time and there are
// callers with more, the flight makes another one with the longest of theirs.
type flight struct {
	content *borrowed
	cancel  context.CancelFunc

	callers map[*caller]struct{}
	attempt *attempt
	before  *attempt // the last one that ran out of time, or nil
}

// attempt is one call of the engine.
type attempt struct {
	limit   limit
	done    chan struct{}
	verdict scan.Verdict // these two are set before done is closed
	err     error
	// final is false when the time was up and the flight goes on.
	final bool
}

func newAttempt(l limit) *attempt { return &attempt{limit: l, done: make(chan struct{})} }

// caller is one call of Scan that takes part in a flight.
type caller struct {
	limit limit
	lent  *lender
}

// limit is a deadline; the zero time is none.
type limit struct{ at time.Time }

func limitOf(ctx context.Context) limit {
	at, _ := ctx.Deadline()
	return limit{at}
}

func (l limit) before(m limit) bool {
	return !l.at.IsZero() && (m.at.IsZero() || l.at.Before(m.at))
}

// late returns l moved by as much as a caller waits beyond its own deadline for
// an attempt of others: callers that come at the same time have their deadlines
// in any order, and should still share a scan.
func (l limit) late() limit {
	if l.at.IsZero() {
		return l
	}
	return limit{l.at.Add(min(time.Until(l.at)/10, mostLate))}
}

const mostLate = 500 * time.Millisecond

// scan waits for the flight of r, which it begins if there is none to join.
func (s *flights) scan(ctx context.Context, r request) (v scan.Verdict, joined bool, err error) {
	f, c, joined := s.enter(ctx, r)
	defer s.leave(r.key, f, c)
	v, err = s.wait(ctx, f, c)
	return v, joined, err
}

func (s *flights) enter(ctx context.Context, r request) (f *flight, c *caller, joined bool) {
	c = &caller{limit: limitOf(ctx)}
	s.mu.Lock()
	defer s.mu.Unlock()
	f, joined = s.now[r.key]
	if joined && c.limit.late().before(f.attempt.limit) {
		joined = false // it may take longer than c can wait
	}
	if joined {
		c.lent = f.content.lend(r.object.Content)
		f.callers[c] = struct{}{}
		// Whoever joins may wait as long as the attempt lasts.
		if c.limit.before(f.attempt.limit) {
			c.limit = f.attempt.limit
		}
		return f, c, true
	}
	f = &flight{content: &borrowed{}, callers: map[*caller]struct{}{c: {}}, attempt: newAttempt(c.limit)}
	c.lent = f.content.lend(r.object.Content)
	r.object.Content = f.content
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f.cancel = cancel
	s.now[r.key] = f
	go s.fly(base, f, r)
	return f, c, false
}

// leave gives c's content back to its owner. The last to leave ends the flight.
func (s *flights) leave(k key, f *flight, c *caller) {
	s.mu.Lock()
	delete(f.callers, c)
	if len(f.callers) == 0 {
		f.cancel()
		s.remove(k, f)
	}
	s.mu.Unlock()
	f.content.takeBack(c.lent)
}

// remove lets nobody join f any more.
func (s *flights) remove(k key, f *flight) {
	if s.now[k] == f {
		delete(s.now, k)
	}
}

// fly makes attempts until one is final.
func (s *flights) fly(base context.Context, f *flight, r request) {
	defer f.cancel()
	for a := f.attempt; a != nil; r.again = true {
		next := s.land(r.key, f, a, s.try(base, a, r))
		close(a.done)
		a = next
	}
}

// land returns the attempt that follows a, or nil: then a is final.
func (s *flights) land(k key, f *flight, a *attempt, timedOut bool) *attempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	longest := a.limit
	for c := range f.callers {
		if longest.before(c.limit) {
			longest = c.limit
		}
	}
	if timedOut && a.limit.before(longest) {
		f.before, f.attempt = a, newAttempt(longest)
		return f.attempt
	}
	a.final = true
	s.remove(k, f)
	return nil
}

// try fills in a. It reports whether the attempt ended for want of time.
func (s *flights) try(base context.Context, a *attempt, r request) (timedOut bool) {
	ctx, cancel := base, context.CancelFunc(func() {})
	if !a.limit.at.IsZero() {
		ctx, cancel = context.WithDeadline(base, a.limit.at)
	}
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			a.verdict = scan.Verdict{}
			a.err = &scan.Error{Kind: scan.KindInternal, Op: "scan", Err: fmt.Errorf("panic: %s\n%s", scan.PanicText(p), debug.Stack())}
		}
	}()
	a.verdict, a.err = s.ask(ctx, r)
	return errors.Is(ctx.Err(), context.DeadlineExceeded) &&
		(a.err != nil || a.verdict.Outcome == scan.OutcomeUnscannable && a.verdict.Cause == scan.CauseScanTimeout)
}

// wait returns what f says, or what it can say when ctx ends.
func (s *flights) wait(ctx context.Context, f *flight, c *caller) (scan.Verdict, error) {
	for {
		s.mu.Lock()
		a, before := f.attempt, f.before
		s.mu.Unlock()
		select {
		case <-a.done:
			if a.final {
				return a.verdict, a.err
			}
			continue
		case <-ctx.Done():
		}
		switch {
		case !errors.Is(ctx.Err(), context.DeadlineExceeded):
			return scan.Verdict{}, ended(ctx.Err())
		case !c.limit.before(a.limit):
			// The attempt's time is up as well: the engine is about to say
			// whether it is stuck or only this content takes too long.
			<-a.done
			return a.verdict, a.err
		case before != nil:
			return before.verdict, before.err
		}
		return scan.Verdict{}, ended(ctx.Err())
	}
}
