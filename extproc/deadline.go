package extproc

import (
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/portcullis-av/portcullis/scan"
)

// Every wait of a stream has a deadline of ours: a body that arrives, a verdict
// that is due, Envoy's close after a refusal, and the exchange as a whole.
// Envoy's message timer does not run in FULL_DUPLEX.

// startUpload begins to watch a body that is held while it arrives.
func (s *stream) startUpload(l scan.Leg) {
	w := &s.legs[l]
	w.began, w.last, w.got = time.Now(), time.Now(), 0
	w.deadline, _ = s.uploadDue(l, w.began)
	s.rearm()
}

// graceOfRate is how long a body may arrive before its average rate counts.
const graceOfRate = 10 * time.Second

// uploadDue is when to look again at a body that arrives, or why it is over.
// Envoy shows a BUFFERED body only when it is complete, so there is no pace to
// judge then.
func (s *stream) uploadDue(l scan.Leg, now time.Time) (next time.Time, over string) {
	w, p := &s.legs[l], s.x.Policy()
	next = w.began.Add(p.UploadTimeout)
	if !now.Before(next) {
		return next, "the body was not complete in " + p.UploadTimeout.String()
	}
	if s.machine.legs[l].mode == modeBuffered {
		return next, ""
	}
	if idle := w.last.Add(p.UploadIdleTimeout); p.UploadIdleTimeout > 0 {
		if !now.Before(idle) {
			return idle, "nothing of the body came for " + p.UploadIdleTimeout.String()
		}
		next = earlier(next, idle)
	}
	if p.UploadMinRate > 0 {
		took := now.Sub(w.began)
		if took >= graceOfRate && float64(w.got) < float64(p.UploadMinRate)*took.Seconds() {
			return now, "the body came at less than " + strconv.FormatInt(p.UploadMinRate, 10) + " bytes a second"
		}
		next = earlier(next, later(now.Add(time.Second), w.began.Add(graceOfRate)))
	}
	return next, ""
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func (s *stream) setDeadline(l scan.Leg, in time.Duration) {
	s.legs[l].deadline = time.Now().Add(in)
	s.rearm()
}

func (s *stream) clearDeadline(l scan.Leg) {
	if s.legs[l].deadline.IsZero() {
		return
	}
	s.legs[l].deadline = time.Time{}
	s.rearm()
}

// setClosing gives Envoy a moment to close after a refusal.
func (s *stream) setClosing() {
	s.deadline = time.Now().Add(s.srv.cfg.CloseTimeout)
	s.rearm()
}

func (s *stream) rearm() {
	next := s.deadline
	for i := range s.legs {
		if d := s.legs[i].deadline; !d.IsZero() && d.Before(next) {
			next = d
		}
	}
	s.timer.Reset(time.Until(next))
}

// expired acts on every deadline that has passed.
func (s *stream) expired() (over bool, err error) {
	now := time.Now()
	if !now.Before(s.deadline) {
		return s.exchangeExpired()
	}
	for _, l := range [...]scan.Leg{scan.Request, scan.Response} {
		d := s.legs[l].deadline
		if d.IsZero() || now.Before(d) {
			continue
		}
		if err := s.legExpired(l, now); err != nil {
			return true, err
		}
	}
	s.rearm()
	return false, nil
}

// legExpired acts on a leg whose deadline has passed: a verdict that did not
// come, or a body that came too slowly, if it did.
func (s *stream) legExpired(l scan.Leg, now time.Time) error {
	if s.machine.legs[l].phase == judging {
		s.stopJudging(l)
		s.settle(l, s.x.GiveUp(l))
		return s.perform()
	}
	next, over := s.uploadDue(l, now)
	if over == "" {
		s.legs[l].deadline = next
		return nil
	}
	s.settle(l, s.x.Expire(l, over))
	return s.perform()
}

func (s *stream) exchangeExpired() (bool, error) {
	switch {
	case s.closing:
		s.end = endRefused
		return true, nil
	case s.machine.legs[scan.Request].phase == ended && s.machine.legs[scan.Response].phase == ended:
		s.end = endComplete
		return true, nil
	}
	return true, s.overdue()
}

func (s *stream) overdue() error {
	s.end = endExpired
	return status.Error(codes.DeadlineExceeded, "the exchange took longer than "+s.srv.cfg.MaxExchange.String())
}
