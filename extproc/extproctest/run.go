package extproctest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

// run is one exchange. One goroutine owns it: it feeds the legs, takes the
// answers, and watches the clock.
type run struct {
	cfg   Config
	ex    Exchange
	conn  *Envoy
	ctx   context.Context //nolint:containedctx // a run lives exactly as long as one call of Do
	start time.Time
	book  *ledger
	say   messenger
	wire  *wire // nil before the first message and after Envoy left
	legs  [2]*leg
	res   Result
	done  bool

	gone      bool // the stream is over: tell nobody
	idleSince time.Time
	idled     bool // the first idle timeout has passed
	raised    bool // Exchange.LocalReply was
}

// Do runs one exchange from the client's first byte to the end and reports what
// everybody saw. It returns when the client has its answer or lost hope; ctx
// bounds it as a whole (its deadline counts as a hang).
func (e *Envoy) Do(ctx context.Context, ex Exchange) Result {
	x := &run{
		cfg: e.cfg, ex: ex, conn: e, ctx: ctx, start: time.Now(), idleSince: time.Now(),
		book: newLedger(e.cfg), say: messenger{cfg: e.cfg},
	}
	x.legs[Request] = newLeg(x, Request, &x.res.Origin)
	x.legs[Response] = newLeg(x, Response, &x.res.Client.Delivery)
	x.legs[Request].begin(ex.Request)
	for !x.done {
		if !x.turn() && !x.done {
			x.wait()
		}
	}
	x.leave()
	x.res.Overrides, x.res.OverridesIgnored = x.book.overridden, x.book.ignored
	return x.res
}

// turn lets every leg read one piece and takes every answer; it reports whether
// anything happened. One piece a turn makes the legs interleave.
func (x *run) turn() bool {
	moved := x.takeAnswers()
	for _, l := range x.legs {
		if x.done || !l.canRead() {
			continue
		}
		if ok, _ := l.src.ready(time.Now()); ok {
			x.touch()
			x.read(l)
			moved = true
		}
	}
	if r := x.ex.LocalReply; r != nil && !x.raised && !x.done {
		if q := x.legs[Request]; q.headersIn && q.src.next >= r.AfterChunks {
			x.raised, moved = true, true
			x.localReply(r.Status, or(r.Details, "local_reply"))
		}
	}
	x.leaveEarly()
	return moved
}

func (x *run) read(l *leg) {
	switch p := l.src.take(time.Now()); {
	case p.nothing:
	case p.aborted && l.which == Request:
		x.res.Client.Gone, x.done = true, true
	case p.aborted:
		x.res.Client.Reset, x.done = true, true
		x.res.Client.Details = "upstream_reset_after_response_started"
	default:
		l.feed(p)
	}
}

// wait sleeps until something may happen.
func (x *run) wait() {
	wake := x.idleSince.Add(x.cfg.StreamIdleTimeout)
	for _, l := range x.legs {
		if !l.deadline.IsZero() && l.deadline.Before(wake) {
			wake = l.deadline
		}
		if l.canRead() {
			if _, at := l.src.ready(time.Now()); !at.IsZero() && at.Before(wake) {
				wake = at
			}
		}
	}
	timer := time.NewTimer(time.Until(wake))
	defer timer.Stop()
	var changed chan struct{}
	if x.wire != nil {
		changed = x.wire.changed
	}
	select {
	case <-changed:
	case <-timer.C:
		x.expire(time.Now())
	case <-x.ctx.Done():
		x.done, x.res.Client.Gone = true, true
		if errors.Is(x.ctx.Err(), context.DeadlineExceeded) {
			x.hang("the test's deadline passed")
		}
	}
}

// expire acts on the timers that have run out.
func (x *run) expire(now time.Time) {
	for _, l := range x.legs {
		if !l.deadline.IsZero() && !l.deadline.After(now) && !x.gone {
			l.deadline = time.Time{}
			x.res.TimedOut = true
			x.violate(fatal(RuleMessageTimeout, "no %s answer within message_timeout", kindFor(l.which, l.book.pending[0])))
			x.fail(504, "ext_proc_error_per-message_timeout_exceeded")
			return
		}
	}
	if now.Sub(x.idleSince) < x.cfg.StreamIdleTimeout {
		return
	}
	if x.idled {
		x.res.Client.Reset, x.done = true, true
		return
	}
	x.idled = true
	x.touch()
	x.hang("nothing moved for stream_idle_timeout")
	code := 408
	if x.legs[Request].inEnd {
		code = 504
	}
	x.localReply(code, "stream_idle_timeout")
}

func (x *run) hang(why string) {
	x.res.Hang = true
	x.violate(minor(RuleHang, "%s", why))
	for _, l := range x.legs {
		if b := l.book; duplex(b.body) && l.headersOut && b.told && !b.ended && !b.trailersDone {
			x.violate(minor(RuleNoEnd, "the %s leg was released and never ended", l.which))
		}
	}
}

func (x *run) touch() { x.idleSince = time.Now() }

func (x *run) violate(vs ...Violation) { x.res.Violations = append(x.res.Violations, vs...) }

func (x *run) event(name string, size int) {
	if !x.ex.CountOnly {
		x.res.Events = append(x.res.Events, Event{time.Since(x.start), name, size})
	}
}

func (x *run) unsent() int {
	if x.wire == nil {
		return 0
	}
	return x.wire.unsent()
}

// tell sends m, opening the stream with the first message; it reports whether
// an answer can be expected.
func (x *run) tell(m *extprocv3.ProcessingRequest, size int) bool {
	if x.gone {
		return false
	}
	if x.wire == nil {
		var opts []grpc.CallOption
		if x.ex.CountOnly {
			opts = append(opts, grpc.ForceCodecV2(newLean()))
		}
		w, err := dialStream(x.ctx, x.conn.conn, x.cfg.InitialMetadata, opts...)
		if err != nil {
			x.streamEnded(err)
			return false
		}
		x.wire = w
	}
	if !x.ex.CountOnly {
		kind, _, _ := strings.Cut(describeRequest(m), " ")
		x.event("> "+kind, size)
	}
	x.book.sent(m)
	x.wire.send(m)
	return true
}

func (x *run) takeAnswers() bool {
	moved := false
	for x.wire != nil && !x.done {
		in, ok := x.wire.take()
		if !ok {
			break
		}
		moved = true
		if in.err != nil {
			x.streamEnded(in.err)
			break
		}
		x.answer(in.msg)
	}
	return moved
}

// answer judges an answer and does what Envoy does about it.
func (x *run) answer(m *extprocv3.ProcessingResponse) {
	kind := KindOf(m)
	if !x.ex.CountOnly {
		x.event("< "+string(kind), len(commonOf(m).GetBodyMutation().GetStreamedResponse().GetBody()))
	}
	if x.wire.compressed.Load() {
		x.violate(fatal(RuleCompressed, "%s", kind))
		x.fail(x.cfg.StatusOnError, "ext_proc_error_gRPC_error_13{compressed}")
		return
	}
	before := x.book.overridden
	what, vs := x.book.judge(m)
	x.violate(vs...)
	switch what {
	case ignore:
		return
	case extend:
		x.extend(m)
		return
	case breakOff:
		x.spurious()
		return
	case apply:
	}
	x.metadata(m.GetDynamicMetadata())
	if kind == Immediate {
		x.immediate(m.GetImmediateResponse())
		return
	}
	for l := range Leg(2) {
		for p := range part(3) {
			if kindFor(l, p) == kind {
				x.legs[l].switched = x.legs[l].switched || x.book.overridden > before
				x.legs[l].answered(p, m)
			}
		}
	}
}

// delivered lets an early origin answer.
func (x *run) delivered(l *leg) {
	if l.which == Request && x.ex.Early && l.to.Size >= x.ex.EarlyAfter {
		x.originAnswers()
	}
}

// ended is called when a leg was passed on whole.
func (x *run) ended(l *leg) {
	if l.which == Response {
		x.done = true
		return
	}
	x.originAnswers()
}

func (x *run) originAnswers() {
	if x.legs[Response].src != nil {
		return
	}
	origin := x.ex.Origin
	if origin == nil {
		origin = Reply(Message{})
	}
	to := x.res.Origin
	x.legs[Response].begin(origin(Received{to.Headers, to.Body, to.Trailers}))
}

// lengthOnly reports whether content-length may stand on a leg without a body.
func (x *run) lengthOnly(l *leg) bool {
	return l.which == Response &&
		(x.legs[Request].headers.Get(":method") == "HEAD" || x.res.Client.Status == 304 || x.res.Client.Status == 204)
}

// streamEnded is called when the processor ended the RPC.
func (x *run) streamEnded(err error) {
	x.res.Stream = err
	undecided := x.book.undecided()
	x.drop()
	switch {
	case !undecided:
	case cleanEnd(err):
		x.bypass()
	default:
		s := status.Convert(err)
		x.failAs(x.cfg.FailureModeAllow, x.cfg.StatusOnError,
			fmt.Sprintf("ext_proc_error_gRPC_error_%s{%s}", strconv.Itoa(int(s.Code())), s.Message()))
	}
}

// drop forgets the stream.
func (x *run) drop() {
	x.gone, x.book.broken = true, true
	if x.wire != nil {
		x.wire.close()
		x.wire = nil
	}
	for _, l := range x.legs {
		l.deadline = time.Time{}
	}
}

// leaveEarly closes the stream as soon as nothing more is expected, which
// Envoy 1.37 and newer do unless a body is BUFFERED.
func (x *run) leaveEarly() {
	if x.wire == nil || x.done || x.cfg.ObservabilityMode {
		return
	}
	for _, l := range x.legs {
		if !l.book.complete() || l.mode() == filterv3.ProcessingMode_BUFFERED {
			return
		}
	}
	x.leave()
}

// leave ends the stream as [Config.Ending] says; what the processor says until
// then is still judged.
func (x *run) leave() {
	if x.wire == nil {
		return
	}
	x.book.left = true
	x.wire.halfClose()
	patience := time.NewTimer(x.cfg.Patience)
	defer patience.Stop()
	for {
		in, ok := x.wire.take()
		switch {
		case ok && in.err != nil:
			x.res.Stream = in.err
			x.drop()
			return
		case ok:
			_, vs := x.book.judge(in.msg)
			x.violate(vs...)
			continue
		case x.cfg.Ending == EndBoth && !x.cfg.ObservabilityMode: // there Envoy defers the close
			x.drop()
			return
		}
		select {
		case <-x.wire.changed:
		case <-patience.C:
			x.drop()
			return
		}
	}
}
