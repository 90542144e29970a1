package gate_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/gate"
)

// At the headers a body is held, or decided about for a reason that no engine
// could change. What cannot be held is never passed as if it were scanned.
func TestPlan(t *testing.T) {
	const known, unknown = 1000, -1
	for name, c := range map[string]struct {
		change    func(*scan.Policy)
		head      gate.Head
		delivered bool
		hold      bool
		action    scan.Action
		covered   bool
		cause     scan.Cause
	}{
		"held":                  {delivered: true, head: gate.Head{ContentLength: unknown}, hold: true},
		"as large as allowed":   {delivered: true, head: gate.Head{ContentLength: known}, hold: true},
		"declared too large":    {delivered: true, head: gate.Head{ContentLength: known + 1}, covered: true, cause: scan.CauseTooLarge},
		"empty":                 {delivered: true, head: gate.Head{Empty: true}, covered: true, action: scan.Pass, cause: scan.CauseEmpty},
		"empty and not sent":    {head: gate.Head{Empty: true}, covered: true, action: scan.Pass, cause: scan.CauseEmpty},
		"tunnel":                {delivered: true, head: gate.Head{Tunnel: true, ContentLength: unknown}, covered: true, cause: scan.CauseTunnel},
		"not delivered":         {head: gate.Head{ContentLength: unknown}, covered: true, cause: scan.CauseUncoveredMode},
		"not covered":           {change: uncover, delivered: true, head: gate.Head{ContentLength: known + 1}, action: scan.Pass},
		"not covered, tunnel":   {change: uncover, head: gate.Head{Tunnel: true}, action: scan.Pass},
		"not covered, not sent": {change: uncover, head: gate.Head{ContentLength: unknown}, action: scan.Pass},
		"unscannable may pass":  {change: lax, delivered: true, head: gate.Head{ContentLength: known + 1}, covered: true, action: scan.Pass, cause: scan.CauseTooLarge},
		"but never unseen":      {change: lax, head: gate.Head{ContentLength: unknown}, covered: true, cause: scan.CauseUncoveredMode},
		"unless only detecting": {change: detectOnly, head: gate.Head{ContentLength: unknown}, covered: true, action: scan.Pass, cause: scan.CauseUncoveredMode},
	} {
		for _, leg := range []scan.Leg{scan.Request, scan.Response} {
			t.Run(name+"/"+leg.String(), func(t *testing.T) {
				r := newRig()
				if c.change != nil {
					c.change(&r.policy)
				}
				x := r.begin()
				defer x.Finish("complete")
				p := x.Plan(leg, c.head, c.delivered)
				d := p.Decision
				if p.Hold != c.hold || d.Action != c.action || d.Covered != c.covered || d.Verdict.Cause != c.cause {
					t.Errorf("planned %+v", p)
				}
				if (x.Body(leg) != nil) != c.hold {
					t.Errorf("a body is open: %v", !c.hold)
				}
			})
		}
	}
}

func uncover(p *scan.Policy)    { p.ScanRequest, p.ScanResponse = false, false }
func lax(p *scan.Policy)        { p.PassUnscannable, p.FailOpen = true, true }
func detectOnly(p *scan.Policy) { p.Enforce = false }

type choosing scan.Cause

func (c choosing) Error() string     { return "no policy: " + string(c) }
func (c choosing) Cause() scan.Cause { return scan.Cause(c) }

// Without a policy nothing passes, empty or not, on either leg; there is no
// switch that could say otherwise.
func TestWithoutAPolicyNothingPasses(t *testing.T) {
	for _, c := range []struct {
		err     error
		outcome scan.Outcome
		cause   scan.Cause
	}{
		{choosing(scan.CauseUnknownPolicy), scan.OutcomeError, scan.CauseUnknownPolicy},
		{choosing(scan.CauseRuleFailed), scan.OutcomeUnscannable, scan.CauseRuleFailed},
		{errors.Join(errors.New("outside"), choosing(scan.CauseUnknownPolicy)), scan.OutcomeError, scan.CauseUnknownPolicy},
		{errors.New("anything"), scan.OutcomeUnscannable, scan.CauseRuleFailed},
	} {
		r := newRig()
		lax(&r.policy)
		r.broken = c.err
		x := r.begin()
		for _, leg := range []scan.Leg{scan.Request, scan.Response} {
			p := x.Plan(leg, gate.Head{Empty: leg == scan.Response}, true)
			d := p.Decision
			if p.Hold || d.Action != scan.Block || d.Verdict.Outcome != c.outcome || d.Verdict.Cause != c.cause {
				t.Errorf("%v: %v planned %+v", c.err, leg, p)
			}
		}
		x.Finish("refused")
		if got := r.records[0].Policy; got != "none" {
			t.Errorf("%v: the record names policy %q", c.err, got)
		}
	}
}

// An answer of the proxy's own goes on without being scanned, and says so.
func TestPassUntouched(t *testing.T) {
	r := newRig()
	x := r.begin()
	p := x.PassUntouched(scan.Response, gate.Head{Status: 503})
	if diff := cmp.Diff(gate.Plan{Decision: gate.Decision{Action: scan.Pass}}, p); diff != "" {
		t.Error(diff)
	}
	x.Finish("complete")
	if l := r.records[0].Legs[scan.Response]; !l.Seen || !l.Decided || l.Decision.Covered {
		t.Errorf("recorded %+v", l)
	}
}

// A body that cannot be kept is decided about at once, each failure by the
// switch that is meant for it.
func TestAppendThatFails(t *testing.T) {
	full := &scan.Error{Kind: scan.KindOverload, Op: "hold"}
	broken := &scan.Error{Kind: scan.KindSpool, Op: "hold"}
	for _, c := range []struct {
		err     error
		change  func(*scan.Policy)
		outcome scan.Outcome
		cause   scan.Cause
		action  scan.Action
	}{
		{scan.ErrTooLarge, strict, scan.OutcomeUnscannable, scan.CauseTooLarge, scan.Block},
		{scan.ErrTooLarge, failOpen, scan.OutcomeUnscannable, scan.CauseTooLarge, scan.Block},
		{scan.ErrTooLarge, passUnscannable, scan.OutcomeUnscannable, scan.CauseTooLarge, scan.Pass},
		{full, strict, scan.OutcomeError, scan.CauseOverload, scan.Block},
		{full, failOpen, scan.OutcomeError, scan.CauseOverload, scan.Block}, // a client can provoke it
		{full, passUnscannable, scan.OutcomeError, scan.CauseOverload, scan.Block},
		{broken, failOpen, scan.OutcomeError, scan.CauseSpool, scan.Pass},
		{errors.New("a defect"), strict, scan.OutcomeError, scan.CauseInternal, scan.Block},
	} {
		r := newRig()
		c.change(&r.policy)
		r.store.appendErr = c.err
		x := r.begin()
		x.Plan(scan.Request, gate.Head{ContentLength: -1}, true)
		d, wait, ok := x.Append(scan.Request, []byte("x"))
		if wait {
			d = x.Overload(scan.Request)
		}
		if wait != (c.cause == scan.CauseOverload) {
			t.Errorf("%v: wait %v", c.err, wait)
		}
		if ok || d.Verdict.Outcome != c.outcome || d.Verdict.Cause != c.cause || d.Action != c.action || !d.Covered {
			t.Errorf("%v: ok %v, decided %+v", c.err, ok, d)
		}
		x.Finish("refused")
		if l := r.records[0].Legs[scan.Request]; !l.Decided || l.Decision.Verdict.Cause != c.cause {
			t.Errorf("%v: recorded %+v", c.err, l)
		}
	}
}

func strict(*scan.Policy)            {}
func failOpen(p *scan.Policy)        { p.FailOpen = true }
func passUnscannable(p *scan.Policy) { p.PassUnscannable = true }

// A body that does not end in time is the sender's fault: fail-open does not
// pass it.
func TestExpire(t *testing.T) {
	r := newRig()
	failOpen(&r.policy)
	r.policy.UploadTimeout = 90 * time.Second
	x := r.begin()
	hold(t, x)
	d := x.Expire(scan.Request, "too slow")
	x.Finish("refused")
	if d.Action != scan.Block || d.Verdict.Outcome != scan.OutcomeUnscannable || d.Verdict.Cause != scan.CauseUploadDeadline {
		t.Errorf("decided %+v", d)
	}
}
