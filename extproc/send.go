package extproc

import (
	"log/slog"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/portcullis-av/portcullis/scan"
)

// send is the only place that sends: a ProcessingResponse, or an outChunk in its
// wire form. A Send that hangs is ended by the guard.
func (s *stream) send(answer any) error {
	s.sendGuard.Reset(s.srv.cfg.SendTimeout)
	err := s.grpc.SendMsg(answer)
	inTime := s.sendGuard.Stop()
	switch {
	case err == nil:
		return nil
	case !inTime:
		s.end = endExpired
		return status.Error(codes.DeadlineExceeded, "an answer was not taken in time")
	}
	return s.gone()
}

// gone is the end of a stream whose other side left while something was due.
func (s *stream) gone() error {
	s.end = endAborted
	return status.Error(codes.Canceled, "the stream was closed before an answer was sent")
}

// sendHeaders answers headers: spoofed names are removed in every case, the
// verdict is added where this answer carries it.
func (s *stream) sendHeaders(a action) error {
	r := headersAnswer(a.leg, s.mark(a))
	if a.ask != nil {
		r.ModeOverride = modeOverride(*a.ask)
	}
	return s.send(s.marked(a, r))
}

// sendBody answers a body message outside FULL_DUPLEX. With its verdict Envoy lets
// go on what it has, and nobody needs what is held any more.
func (s *stream) sendBody(a action) error {
	err := s.send(s.marked(a, bodyAnswer(a.leg, s.mark(a))))
	if a.marked {
		s.x.Free(a.leg)
	}
	return err
}

// mark is the header mutation of an answer.
func (s *stream) mark(a action) *extprocv3.HeaderMutation {
	w := &s.legs[a.leg]
	verdict := ""
	if a.marked && a.leg == scan.Request && w.decision.Covered {
		verdict = w.decision.VerdictHeader()
	}
	return mutation(verdict, w.remove, w.replace)
}

// marked adds the metadata to the answer that carries a verdict.
func (s *stream) marked(a action, r *extprocv3.ProcessingResponse) *extprocv3.ProcessingResponse {
	if d := s.legs[a.leg].decision; a.marked && d.Covered {
		describe(r, a.leg, s.x, d)
	}
	return r
}

// sendChunks echoes bytes in chunks that Envoy takes.
func (s *stream) sendChunks(l scan.Leg, data payload, end bool) error {
	left := data.size()
	for {
		c := newChunk(l, min(left, maxChunk))
		data = data.moveTo(c.bytes())
		left -= c.length
		c.end = end && left == 0
		if err := s.send(c); err != nil || left == 0 {
			return err
		}
	}
}

// moveTo fills dst from the front of p and returns what is left of p.
func (p payload) moveTo(dst []byte) payload {
	for len(dst) > 0 {
		n := copy(dst, p[0])
		dst = dst[n:]
		if n == len(p[0]) {
			p = p[1:]
			continue
		}
		rest := append(payload{p[0][n:]}, p[1:]...)
		return rest
	}
	return p
}

// startRelease begins to send a held body, once the bytes that are being released
// at once over all exchanges leave room for it. One that is followed by the rest
// of its leg is sent whole before anything else is taken, to keep the order.
func (s *stream) startRelease(a action) error {
	r := newOutflow(a.leg, s.x.Body(a.leg), a.tail)
	r.late = a.late
	s.legs[a.leg].release = r
	weight := min(r.body.Size(), s.srv.cfg.ReleaseBytes)
	if r.admitted = s.srv.releases.TryAcquire(weight); r.admitted {
		r.weight = weight
	}
	if !r.admitted {
		s.awaitRelease(a.leg, weight)
	}
	if a.tail == tailMore {
		return s.releaseNow(a.leg)
	}
	return nil
}

// releaseNow sends a held body to its end. While it waits for room, a release of
// the other leg goes on: that may be what holds the room.
func (s *stream) releaseNow(l scan.Leg) error {
	due := time.NewTimer(time.Until(s.deadline))
	defer due.Stop()
	for s.legs[l].release != nil {
		if admitted, ok := s.releasingLeg(); ok {
			if err := s.releaseStep(admitted); err != nil {
				return err
			}
			continue
		}
		select {
		case a := <-s.admitted:
			s.admit(a)
		case <-due.C:
			return s.overdue()
		case <-s.ctx.Done():
			return s.gone()
		}
	}
	return nil
}

// awaitRelease lets the owner go on with the other leg meanwhile.
func (s *stream) awaitRelease(l scan.Leg, weight int64) {
	s.srv.gate.Go(func() {
		if s.srv.releases.Acquire(s.ctx, weight) != nil {
			return
		}
		select {
		case s.admitted <- admission{l, weight}:
		case <-s.ctx.Done():
			s.srv.releases.Release(weight)
		}
	})
}

// admit lets a release go on that had to wait, unless it was called off.
func (s *stream) admit(a admission) {
	r := s.legs[a.leg].release
	if r == nil {
		s.srv.releases.Release(a.weight)
		return
	}
	r.admitted, r.weight = true, a.weight
}

// endRelease gives back what a release had taken.
func (s *stream) endRelease(l scan.Leg) {
	r := s.legs[l].release
	s.legs[l].release = nil
	if r != nil && r.admitted {
		s.srv.releases.Release(r.weight)
	}
}

// releaseStep sends one chunk, and what follows the last.
func (s *stream) releaseStep(l scan.Leg) error {
	r := s.legs[l].release
	chunk, last, err := r.next()
	if err != nil {
		// A part must never stand for the whole: end with an error, so that
		// Envoy cuts what it began to send.
		s.end = endFailed
		s.srv.log.Error("a held body could not be released; the exchange was cut",
			slog.String("exchange", s.x.ID()), slog.String("leg", l.String()), slog.Any("error", err))
		return status.Error(codes.DataLoss, "a held body could not be released")
	}
	if chunk == nil && r.tail == tailEnd {
		chunk = newChunk(l, 0) // an empty body still needs its end
	}
	if chunk != nil {
		chunk.end = last && r.tail == tailEnd
		if err := s.send(s.lateMetadata(r, chunk)); err != nil {
			return err
		}
	}
	if !last {
		return nil
	}
	s.endRelease(l)
	s.x.Free(l)
	s.machine.released(l)
	if r.tail == tailTrailers {
		return s.send(trailersAnswer(l, s.legs[l].trailers))
	}
	return nil
}

// lateMetadata puts the verdict's metadata on the first chunk of a leg whose
// headers were answered before there was a verdict.
func (s *stream) lateMetadata(r *outflow, c *outChunk) any {
	if !r.late {
		return c
	}
	r.late = false
	answer := chunkAnswer(c.leg, c.bytes(), c.end)
	describe(answer, c.leg, s.x, s.legs[c.leg].decision)
	return answer
}

// refuse answers in place of the origin or the client's request, then waits for
// Envoy to close.
func (s *stream) refuse(l scan.Leg) error {
	d := s.legs[l].decision
	s.stopJudging(scan.Request)
	s.stopJudging(scan.Response)
	s.endRelease(scan.Request)
	s.endRelease(scan.Response)
	r := immediateAnswer(s.x.Refuse(l, d), details(d.Verdict))
	describe(r, l, s.x, d)
	if err := s.send(r); err != nil {
		return err
	}
	s.closing = true
	s.clearDeadline(scan.Request)
	s.clearDeadline(scan.Response)
	s.setClosing()
	return nil
}
