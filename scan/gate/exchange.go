package gate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/portcullis-av/portcullis/scan"
)

// Exchange is one HTTP transaction at the gate. A door uses it from one
// goroutine; only the judging runs beside it.
type Exchange struct {
	gate    *Gate
	setup   *usedSetup
	policy  *scan.Policy
	broken  *scan.Verdict // set when no policy could be chosen
	crowded bool          // one exchange too many
	explain bool          // every object is asked about, and listed
	id      string
	start   time.Time
	request Head
	trace   Trace
	traceID string
	legs    [2]leg
	judging sync.WaitGroup
}

// leg is one direction.
type leg struct {
	seen     bool
	decided  bool
	head     Head
	begun    time.Time
	body     scan.Body
	partial  *scan.Verdict // set when the leg carries a piece only
	decision Decision
	held     time.Duration
	read     atomic.Bool // a judging goroutine reads the body
	judged   Judgement
	found    findings
}

// ID names the exchange in answers, logs and audit.
func (x *Exchange) ID() string { return x.id }

// Policy is the policy this exchange is under.
func (x *Exchange) Policy() *scan.Policy { return x.policy }

// Covers reports whether the policy scans the leg.
func (x *Exchange) Covers(l scan.Leg) bool { return x.policy.Covers(l) }

// Plan says what to do with a leg whose headers are known. delivered says that
// the door will get the whole body before any of it goes on; where it will not,
// a covered body is refused rather than passed as if it were scanned.
func (x *Exchange) Plan(l scan.Leg, h Head, delivered bool) Plan {
	s := &x.legs[l]
	s.seen, s.head, s.begun = true, h, time.Now()
	switch {
	case x.broken != nil:
		return x.planned(l, *x.broken)
	case !x.policy.Covers(l):
		s.decided, s.decision = true, Decision{Action: scan.Pass}
		return Plan{Decision: s.decision}
	case h.Empty:
		return x.planned(l, scan.Verdict{Outcome: scan.OutcomeClean, Cause: scan.CauseEmpty})
	case h.Tunnel:
		return x.planned(l, unscannable(scan.CauseTunnel, "an Upgrade or CONNECT has no body that ends"))
	case !delivered:
		return x.planned(l, unscannable(scan.CauseUncoveredMode, "Envoy's processing mode does not deliver this leg's body"))
	case endless(l, h):
		return x.planned(l, unscannable(scan.CauseEndlessStream, "server-sent events have no end to wait for"))
	case h.ContentLength > x.policy.MaxBodyBytes:
		return x.planned(l, tooLarge(x.policy))
	case x.crowded || x.setup.Full():
		return x.planned(l, overloaded())
	}
	if detail, partial := x.setup.Partial(l, h); partial {
		v := unscannable(scan.CausePartialContent, detail)
		if x.policy.ActionFor(v) == scan.Block {
			return x.planned(l, v)
		}
		s.partial = &v
	}
	s.body = x.setup.Store.Open(x.policy.MaxBodyBytes, x.policy.Digest)
	x.trace.At(l, StageHeld)
	return Plan{Hold: true}
}

// endless reports whether a response is by its type one that never ends.
func endless(l scan.Leg, h Head) bool {
	if l != scan.Response {
		return false
	}
	return slices.ContainsFunc(h.Labels.ContentType, func(v string) bool {
		mediaType, _, _ := strings.Cut(v, ";")
		return strings.EqualFold(strings.TrimSpace(mediaType), "text/event-stream")
	})
}

// overloaded is the verdict for a body that is not even begun.
func overloaded() scan.Verdict {
	return scan.Verdict{
		Outcome: scan.OutcomeError, Cause: scan.CauseOverload,
		Detail: "too many exchanges are open, or the spool is nearly full",
	}
}

// PassUntouched lets a leg go on unscanned although the policy covers it; for
// answers that the proxy itself made and no origin could have written.
func (x *Exchange) PassUntouched(l scan.Leg, h Head) Plan {
	s := &x.legs[l]
	s.seen, s.head, s.begun = true, h, time.Now()
	s.decided, s.decision = true, Decision{Action: scan.Pass}
	return Plan{Decision: s.decision}
}

func (x *Exchange) planned(l scan.Leg, v scan.Verdict) Plan {
	return Plan{Decision: x.decide(l, v)}
}

// decide turns a verdict into the leg's one decision.
func (x *Exchange) decide(l scan.Leg, v scan.Verdict) Decision {
	s := &x.legs[l]
	if s.partial != nil {
		v = x.policy.Worse(v, *s.partial) // what is beside the piece was not seen
	}
	s.decided, s.held = true, time.Since(s.begun)
	s.decision = Decision{Action: x.policy.ActionFor(v), Covered: true, Verdict: v}
	return s.decision
}

// Append holds a copy of p. When the body cannot be held, ok is false and the
// decision stands: a door that may pass the leg releases what is held, then p,
// then the rest as it comes. An overload may be over soon: wait says that a door
// may try again, up to [OverloadWait], before it calls Overload.
func (x *Exchange) Append(l scan.Leg, p []byte) (d Decision, wait, ok bool) {
	_, err := x.legs[l].body.Write(p)
	switch {
	case err == nil:
		return Decision{}, false, true
	case scan.KindOf(err) == scan.KindOverload:
		return Decision{}, true, false
	}
	return x.decide(l, x.notHeld(err)), false, false
}

// OverloadWait is how long a door holds back a sender for whose bytes there is
// no room before it gives up.
const OverloadWait = time.Second

// Overload decides about a leg for whose bytes there was no room.
func (x *Exchange) Overload(l scan.Leg) Decision { return x.decide(l, overloaded()) }

// Expire decides about a leg whose body did not come in time; why says which
// time was over.
func (x *Exchange) Expire(l scan.Leg, why string) Decision {
	return x.decide(l, unscannable(scan.CauseUploadDeadline, why))
}

// Judge scans the held body in a goroutine and calls done from it, exactly once,
// soon after the policy's scan time-out or the end of ctx at the latest. The
// door hands the judgement to Decide, in its own goroutine.
func (x *Exchange) Judge(ctx context.Context, l scan.Leg, done func(Judgement)) {
	x.judge(ctx, l, "", done)
}

func (x *Exchange) judge(ctx context.Context, l scan.Leg, name string, done func(Judgement)) {
	s := &x.legs[l]
	body, labels, scanning := s.body, s.head.Labels, x.scanning(l)
	ctx, judged := x.trace.Judge(ctx, l)
	s.read.Store(true)
	x.judging.Add(1)
	x.setup.Crew.Go(func() {
		defer x.judging.Done()
		j := scanning.judge(ctx, body, name, labels)
		s.read.Store(false)
		judged(j)
		done(j)
	})
}

func (x *Exchange) scanning(l scan.Leg) scanning {
	return scanning{policy: x.policy, setup: &x.setup.Setup, found: &x.legs[l].found, explain: x.explain}
}

// Decide takes a judgement as the leg's decision.
func (x *Exchange) Decide(l scan.Leg, j Judgement) Decision {
	x.legs[l].judged = j
	return x.decide(l, j.Verdict)
}

// JudgeLimit is when a door may give up waiting for Judge: an engine that heeds
// its context has answered by then.
func (x *Exchange) JudgeLimit() time.Duration { return x.policy.ScanTimeout + judgeSlack }

// judgeSlack is what an engine gets to notice that its context ended.
const judgeSlack = time.Second

// GiveUp decides about a leg whose judgement did not come in time. What was
// found until then counts, if it is worse than the engine's failure.
func (x *Exchange) GiveUp(l scan.Leg) Decision {
	return x.decide(l, x.legs[l].found.givenUp(x.policy))
}

// Body is what is held of a leg whose plan was to hold it.
func (x *Exchange) Body(l scan.Leg) scan.Body { return x.legs[l].body }

// Free gives a leg's body back early, once it is released; but not under the
// hands of an engine that was given up and may still read it.
func (x *Exchange) Free(l scan.Leg) {
	x.trace.At(l, StageReleased)
	x.free(l)
}

func (x *Exchange) free(l scan.Leg) {
	if s := &x.legs[l]; s.body != nil && !s.read.Load() {
		_ = s.body.Close() // an unlinked file: nothing to lose, nothing to do
	}
}

// Finish records the exchange and frees what it holds, when the last judging
// goroutine has let go of it. The door ends the context it gave to Judge first.
func (x *Exchange) Finish(end string) {
	r := x.record(end)
	x.trace.End(r)
	x.setup.Observer.Observe(r)
	x.gate.open.Add(-1)
	// Asked first: judging that ends between the two would leave a body behind.
	judging := x.legs[scan.Request].read.Load() || x.legs[scan.Response].read.Load()
	x.free(scan.Request)
	x.free(scan.Response)
	if !judging {
		x.setup.leave()
		return
	}
	x.setup.Crew.Go(func() {
		x.judging.Wait()
		x.free(scan.Request)
		x.free(scan.Response)
		x.setup.leave()
	})
}

func (x *Exchange) record(end string) *Record {
	r := &Record{
		ID: x.id, TraceID: x.traceID, RequestID: x.request.RequestID, Policy: x.policy.Name, Revision: x.policy.Revision, Enforced: x.policy.Enforce,
		Method: x.request.Method, Host: x.request.Host, Path: x.request.Path,
		Start: x.start, Duration: time.Since(x.start), End: end,
	}
	for i := range x.legs {
		s := &x.legs[i]
		r.Legs[i] = LegRecord{Seen: s.seen, Decided: s.decided, Decision: s.decision, Held: s.held}
		if s.body != nil {
			r.Legs[i].Bytes = s.body.Size()
		}
		r.Legs[i].Objects, r.Legs[i].Judged = s.judged.Objects, s.judged.Took
		r.Legs[i].Tree = s.judged.Tree
	}
	return r
}

func unscannable(c scan.Cause, detail string) scan.Verdict {
	return scan.Verdict{Outcome: scan.OutcomeUnscannable, Cause: c, Detail: detail}
}

func tooLarge(p *scan.Policy) scan.Verdict {
	return unscannable(scan.CauseTooLarge, fmt.Sprintf("the body is larger than max_body_bytes, %d", p.MaxBodyBytes))
}
