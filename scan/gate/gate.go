package gate

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/portcullis-av/portcullis/scan"
)

// Chooser finds the policy of an exchange. Its error may say the cause to refuse
// with (a method Cause() scan.Cause).
type Chooser interface {
	Choose(a scan.Attributes, name string) (*scan.Policy, error)
}

// Observer is told once of every exchange that ended, however it ended. It must
// not block.
type Observer interface {
	Observe(r *Record)
}

// Setup is what the gate works with. It is swapped whole; an exchange keeps the
// one it began with.
type Setup struct {
	Policies Chooser
	Engines  map[string]scan.Engine // by configured name
	Store    scan.Store
	Unwrap   scan.Unwrapper
	Observer Observer
	// Tracer follows exchanges. Nil follows none.
	Tracer Tracer
	// Crew runs what goes on beside an exchange's own goroutine. Nil is no crew.
	Crew *Crew
	// MaxExchanges is how many exchanges may be open at once; above it covered
	// legs are answered with ERROR (overload). 0 is no bound.
	MaxExchanges int64
	// Full reports that no more bodies should be begun: the spool's budget is
	// nearly used up. Nil is never.
	Full func() bool
	// Partial reports that a leg carries only a piece of a content, and says
	// which, from its headers. Nil recognises none.
	Partial func(l scan.Leg, h Head) (detail string, partial bool)
}

// Gate holds and judges bodies. It is safe for concurrent use.
type Gate struct {
	now  atomic.Pointer[usedSetup]
	open atomic.Int64
}

// usedSetup is a setup that knows when the last exchange with it has ended.
type usedSetup struct {
	Setup
	users atomic.Int64 // exchanges, and one more while it is the gate's
	idle  chan struct{}
}

func (u *usedSetup) leave() {
	if u.users.Add(-1) == 0 {
		close(u.idle)
	}
}

// New returns a gate that works with s.
func New(s Setup) *Gate {
	g := &Gate{}
	g.Swap(s)
	return g
}

// Swap replaces the setup for exchanges that begin from now on. The channel is
// closed when the last exchange that began with the one before has ended and
// nothing of it is being scanned any more; it is nil for the first setup.
func (g *Gate) Swap(s Setup) (idle <-chan struct{}) {
	if s.Full == nil {
		s.Full = func() bool { return false }
	}
	if s.Partial == nil {
		s.Partial = func(scan.Leg, Head) (string, bool) { return "", false }
	}
	if s.Tracer == nil {
		s.Tracer = untraced{}
	}
	next := &usedSetup{Setup: s, idle: make(chan struct{})}
	next.users.Store(1)
	before := g.now.Swap(next)
	if before == nil {
		return nil
	}
	before.leave()
	return before.idle
}

// enter returns the present setup, which the caller must leave.
func (g *Gate) enter() *usedSetup {
	for {
		u := g.now.Load()
		// Nobody may join one that is idle: whoever replaced it frees its parts.
		for users := u.users.Load(); users > 0; users = u.users.Load() {
			if u.users.CompareAndSwap(users, users+1) {
				return u
			}
		}
	}
}

// Go runs f in a goroutine of the setup's crew; it never waits.
func (g *Gate) Go(f func()) { g.now.Load().Crew.Go(f) }

// Open is the number of exchanges that have not finished.
func (g *Gate) Open() int64 { return g.open.Load() }

// Begin starts an exchange. policyName is what the operator's route asks for, or
// "": it must never come from a client. ctx says what the exchange is a part of;
// its end ends nothing. Finish must be called in the end.
func (g *Gate) Begin(ctx context.Context, h Head, policyName string) *Exchange {
	open := g.open.Add(1)
	x := &Exchange{gate: g, setup: g.enter(), id: newID(), start: time.Now(), request: h}
	x.trace, x.traceID = x.setup.Tracer.Begin(ctx)
	x.crowded = x.setup.MaxExchanges > 0 && open > x.setup.MaxExchanges
	p, err := x.setup.Policies.Choose(h.Attributes, policyName)
	if err == nil {
		x.policy = p
		return x
	}
	// Without a policy nothing may pass, not even by a fail-open switch.
	x.policy = &scan.Policy{Name: "none", Enforce: true, ScanRequest: true, ScanResponse: true}
	x.broken = &scan.Verdict{Outcome: scan.OutcomeUnscannable, Cause: scan.CauseRuleFailed, Detail: err.Error()}
	var named interface{ Cause() scan.Cause }
	if errors.As(err, &named) {
		x.broken.Cause = named.Cause()
	}
	if x.broken.Cause == scan.CauseUnknownPolicy {
		x.broken.Outcome = scan.OutcomeError
	}
	return x
}

// newID names an exchange in answers, logs and audit. It is no secret.
func newID() string {
	s := strconv.FormatUint(rand.Uint64(), 16)
	const zeros = "0000000000000000"
	return zeros[:16-len(s)] + s
}
