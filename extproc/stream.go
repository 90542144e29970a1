package extproc

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/gate"
)

// stream is the owner of one exchange: it alone feeds the machine, performs its
// actions and sends. Messages and judgements come to it over channels.
type stream struct {
	srv    *Server
	grpc   grpc.BidiStreamingServer[extprocv3.ProcessingRequest, extprocv3.ProcessingResponse]
	ctx    context.Context // ends with the stream
	cancel context.CancelFunc

	machine   machine
	x         *gate.Exchange // nil until the first headers
	legs      [2]legWork
	deadline  time.Time // of the whole exchange
	closing   bool      // refused: only Envoy's close is awaited
	asked     bool      // the request asks for a tunnel
	timer     *time.Timer
	sendGuard *time.Timer
	end       string

	in       chan received
	paused   atomic.Bool   // nothing is read while a body waits for room
	resumed  chan struct{} // told when paused ends
	judged   chan judgement
	admitted chan admission // a release that had to wait may go on
	stuck    chan struct{}
}

// legWork is what the owner keeps of one leg.
type legWork struct {
	decision gate.Decision
	remove   []string // headers of ours that the other side sent
	replace  []gate.Header
	trailers []string // the same among the trailers
	deadline time.Time
	began    time.Time // of a held body
	last     time.Time // when bytes of it came
	got      int64
	release  *outflow
	stop     context.CancelFunc // ends the judging
}

type received struct {
	msg *inbound
	err error
}

type admission struct {
	leg    scan.Leg
	weight int64
}

type judgement struct {
	leg scan.Leg
	gate.Judgement
}

func newStream(s *Server, g grpc.BidiStreamingServer[extprocv3.ProcessingRequest, extprocv3.ProcessingResponse]) *stream {
	ctx, cancel := context.WithCancel(g.Context())
	st := &stream{
		srv: s, grpc: g, ctx: ctx, cancel: cancel,
		deadline: time.Now().Add(s.cfg.MaxExchange),
		in:       make(chan received),
		resumed:  make(chan struct{}, 1),
		judged:   make(chan judgement, 2), // one a leg: judging never blocks on its report
		admitted: make(chan admission),
		stuck:    make(chan struct{}),
	}
	st.timer = time.NewTimer(s.cfg.MaxExchange)
	st.sendGuard = time.AfterFunc(time.Hour, func() { close(st.stuck) })
	st.sendGuard.Stop()
	return st
}

// run serves the exchange to its end and returns the stream's status.
func (s *stream) run() (err error) {
	s.srv.metrics.open.Inc()
	defer func() {
		if r := recover(); r != nil {
			s.srv.log.Error("panic in an exchange; it was ended with an error",
				slog.String("panic", scan.PanicText(r)), slog.String("stack", string(debug.Stack())))
			err, s.end = status.Error(codes.Internal, "internal error"), endFailed
		}
		s.finish()
	}()
	s.srv.gate.Go(s.receive)
	for {
		var over bool
		if over, err = s.turn(); over || err != nil {
			return err
		}
	}
}

// receive is the stream's only reader. It is one message ahead of the owner, but
// not while a body waits for room in the spool: what waits here is in no budget,
// and Envoy, whose window fills up, must hold back the rest of it.
func (s *stream) receive() {
	for {
		for s.paused.Load() {
			select {
			case <-s.resumed:
			case <-s.ctx.Done():
				return
			}
		}
		msg, err := receive(s.grpc.RecvMsg)
		if status.Code(err) == codes.ResourceExhausted {
			// grpc-go has told Envoy already, which ends the stream as if Envoy had.
			s.srv.log.Warn("Envoy sent a message above limits.max_receive_message_bytes, and fails closed: raise it, to 1 MiB more than Envoy's buffer limit",
				slog.String("why", status.Convert(err).Message()))
		}
		select {
		case s.in <- received{msg, err}:
		case <-s.ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// pause holds the reader back until resume.
func (s *stream) pause() { s.paused.Store(true) }

func (s *stream) resume() {
	s.paused.Store(false)
	select {
	case s.resumed <- struct{}{}:
	default: // it was told already
	}
}

// finish frees everything; the exchange is recorded exactly once.
func (s *stream) finish() {
	s.cancel()
	s.endRelease(scan.Request)
	s.endRelease(scan.Response)
	s.timer.Stop()
	s.sendGuard.Stop()
	if s.x != nil {
		s.x.Finish(s.end)
	}
	s.srv.metrics.open.Dec()
	s.srv.metrics.streams.WithLabelValues(s.end).Inc()
}

// turn waits for one event and does what follows from it. While a body is being
// released, it sends one chunk a turn, so that the other leg is not kept waiting.
func (s *stream) turn() (over bool, err error) {
	if l, ok := s.releasingLeg(); ok {
		select {
		case r := <-s.in:
			return s.receivedOne(r)
		case j := <-s.judged:
			s.decide(j)
			return false, s.perform()
		default:
			return false, s.releaseStep(l)
		}
	}
	select {
	case r := <-s.in:
		return s.receivedOne(r)
	case j := <-s.judged:
		s.decide(j)
		return false, s.perform()
	case a := <-s.admitted:
		s.admit(a)
		return false, nil
	case <-s.timer.C:
		return s.expired()
	case <-s.grpc.Context().Done():
		// Envoy reset the stream, or the server was stopped: the reader may be
		// blocked on handing over, so look here as well.
		return s.peerClosed(s.grpc.Context().Err())
	}
}

func (s *stream) releasingLeg() (scan.Leg, bool) {
	for _, l := range [...]scan.Leg{scan.Request, scan.Response} {
		if r := s.legs[l].release; r != nil && r.admitted {
			return l, true
		}
	}
	return 0, false
}

func (s *stream) receivedOne(r received) (over bool, err error) {
	if r.err != nil {
		return s.peerClosed(r.err)
	}
	defer func() {
		r.msg.free()
	}()
	if s.closing {
		return false, nil // Envoy has its answer; the rest is noise
	}
	s.take(r.msg)
	return false, s.perform()
}

// peerClosed ends the stream after Envoy did. Whatever is undecided goes nowhere
// any more, but the status stays an error, lest anyone read OK as a pass.
func (s *stream) peerClosed(err error) (bool, error) {
	switch {
	case s.closing:
		s.end = endRefused
		return true, nil
	case s.machine.settled() && s.legs[scan.Request].release == nil && s.legs[scan.Response].release == nil && peerGone(err):
		s.end = endComplete
		return true, nil
	}
	s.end = endAborted
	return true, status.Error(codes.Canceled, "the stream was closed before a verdict")
}

// take turns a message into events of the machine.
func (s *stream) take(msg *inbound) {
	if s.x == nil && msg.req != nil {
		s.machine.modes(modesOf(msg.req))
		if _, ok := adaptiveLimit(s.ctx); ok {
			s.machine.obeys()
		}
		if msg.req.GetObservabilityMode() {
			s.machine.fails("observability_mode is on: Envoy ignores every answer, so nothing would be withheld; switch it off")
			return
		}
	}
	if msg.isBody {
		s.machine.bodyCame(msg.leg, msg.data, msg.end)
		return
	}
	switch m := msg.req.GetRequest().(type) {
	case *extprocv3.ProcessingRequest_RequestHeaders:
		s.headers(scan.Request, m.RequestHeaders)
	case *extprocv3.ProcessingRequest_ResponseHeaders:
		s.headers(scan.Response, m.ResponseHeaders)
	case *extprocv3.ProcessingRequest_RequestTrailers:
		s.legs[scan.Request].trailers = spoofed(m.RequestTrailers.GetTrailers())
		s.machine.trailersCame(scan.Request)
	case *extprocv3.ProcessingRequest_ResponseTrailers:
		s.machine.trailersCame(scan.Response)
	default:
		s.machine.fails("Envoy sent a message of a kind that this version does not know (%T)", m)
	}
}

// headers begins a leg: the machine says what is possible, the gate what is wanted.
func (s *stream) headers(l scan.Leg, msg *extprocv3.HttpHeaders) {
	whole, own, ok := s.machine.opens(l)
	if !ok {
		return
	}
	head := headOf(l, msg)
	head.Tunnel = s.tunnel(l, head)
	if s.x == nil {
		s.begin(l, head)
	}
	if l == scan.Request {
		s.prepare(head, msg)
	}
	plan := s.plan(l, head, whole, own)
	s.legs[l].decision = plan.Decision
	if plan.Hold {
		s.startUpload(l)
	}
	s.machine.planned(l, head.Empty, plan.Hold, plan.Decision.Action == scan.Pass)
}

// tunnel reports whether a leg has no body that ends. With any response an origin
// may offer an upgrade (RFC 9110 section 7.8), as Apache and every 426 do: that
// makes a tunnel only if the request asked for one.
func (s *stream) tunnel(l scan.Leg, h gate.Head) bool {
	if l == scan.Request {
		s.asked = h.Tunnel
	}
	return h.Tunnel && s.asked || h.Status == http.StatusSwitchingProtocols
}

// prepare settles what the request's headers decide for both legs: which headers
// must not go on, and in the adaptive profile which bodies to ask for.
func (s *stream) prepare(head gate.Head, msg *extprocv3.HttpHeaders) {
	w := &s.legs[scan.Request]
	w.remove = spoofed(msg.GetHeaders())
	if s.x.Covers(scan.Response) && !s.x.Policy().PassPartial {
		// A piece of a file cannot be judged, so the whole of it is asked for.
		w.remove = append(w.remove, ranges(head)...)
	}
	if s.x.Covers(scan.Response) {
		w.replace = acceptable(head)
	}
	if limit, ok := adaptiveLimit(s.ctx); ok {
		s.machine.wants(head.ContentLength >= 0 && head.ContentLength <= limit, s.x.Covers(scan.Response))
	}
}

// begin starts the exchange with its first headers. Response headers come first
// when another filter answered before the request reached this one; they are
// judged under the policy of a request about which nothing is known.
func (s *stream) begin(l scan.Leg, head gate.Head) {
	if l == scan.Response {
		head = gate.Head{Attributes: scan.Attributes{Headers: func() map[string]string { return nil }}}
	}
	s.x = s.srv.gate.Begin(s.ctx, head, routePolicy(s.ctx))
}

func (s *stream) plan(l scan.Leg, head gate.Head, whole, own bool) gate.Plan {
	if own {
		return s.x.PassUntouched(l, head)
	}
	return s.x.Plan(l, head, whole)
}

// perform does what the machine asks for, until it asks for nothing more.
func (s *stream) perform() error {
	for {
		due := s.machine.take()
		if len(due) == 0 {
			return nil
		}
		for _, a := range due {
			replaced, err := s.do(a)
			if err != nil {
				return err
			}
			if replaced {
				break
			}
		}
	}
}

// do performs one action. replaced says that the actions after it no longer hold.
func (s *stream) do(a action) (replaced bool, err error) {
	switch a.kind {
	case sendHeaders:
		return false, s.sendHeaders(a)
	case sendBody:
		return false, s.sendBody(a)
	case sendChunk:
		return false, s.sendChunks(a.leg, a.data, a.end)
	case sendTrailers:
		return false, s.send(trailersAnswer(a.leg, s.legs[a.leg].trailers))
	case hold:
		return s.hold(a), nil
	case judge:
		s.judge(a.leg)
	case release:
		return false, s.startRelease(a)
	case abandon:
		s.stopJudging(a.leg)
		s.clearDeadline(a.leg)
	case refuse:
		return true, s.refuse(a.leg)
	case fail:
		return true, s.fail(a.why)
	default:
		return true, s.fail(fmt.Sprintf("unknown action %d", a.kind))
	}
	return false, nil
}

func (s *stream) judge(l scan.Leg) {
	ctx, stop := context.WithCancel(s.ctx)
	s.legs[l].stop = stop
	s.setDeadline(l, s.x.JudgeLimit())
	s.x.Judge(ctx, l, func(j gate.Judgement) { s.judged <- judgement{l, j} })
}

func (s *stream) stopJudging(l scan.Leg) {
	if stop := s.legs[l].stop; stop != nil {
		stop()
	}
}

// decide takes a judgement, unless nobody waits for it any more.
func (s *stream) decide(j judgement) {
	s.stopJudging(j.leg)
	if s.machine.over || !s.machine.undecided(j.leg) {
		return
	}
	s.settle(j.leg, s.x.Decide(j.leg, j.Judgement))
}

func (s *stream) settle(l scan.Leg, d gate.Decision) {
	s.clearDeadline(l)
	s.legs[l].decision = d
	s.machine.decided(l, d.Action == scan.Pass)
}

func (s *stream) fail(why string) error {
	s.end = endFailed
	s.srv.log.Warn("an exchange was ended with an error, by which Envoy fails closed", slog.String("why", why))
	return status.Error(codes.FailedPrecondition, why)
}
