package extproc

import (
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/portcullis-av/portcullis/scan"
)

// Every wait of a stream has a deadline of ours: a body that arrives, a verdict
// that is due, Envoy's close after a refusal, and the exchange as a whole.
// Envoy's message timer does not run in FULL_DUPLEX.

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
		if s.machine.legs[l].phase == judging {
			s.stopJudging(l)
			s.settle(l, s.x.GiveUp(l))
		} else {
			s.settle(l, s.x.Expire(l))
		}
		if err := s.perform(); err != nil {
			return true, err
		}
	}
	s.rearm()
	return false, nil
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
	s.end = endExpired
	return true, status.Error(codes.DeadlineExceeded, "the exchange took longer than "+s.srv.cfg.MaxExchange.String())
}
