package extproc

import (
	"time"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/gate"
)

// hold gives bytes to the gate. If it cannot keep them it has decided, and the
// actions that assumed they are held are replaced.
func (s *stream) hold(a action) (replaced bool) {
	w := &s.legs[a.leg]
	w.got += int64(a.data.size())
	w.last = time.Now()
	for i, piece := range a.data {
		d, ok := s.keep(a.leg, piece, a.data.size())
		if ok {
			continue
		}
		s.clearDeadline(a.leg)
		w.decision = d
		s.machine.unheld(a.leg, a.data[i:], a.end, d.Action == scan.Pass)
		return true
	}
	return false
}

const (
	// roomInterval is how often a sender that is held back tries again.
	roomInterval = 10 * time.Millisecond
	// waitBytes bounds the bytes that wait for room over all exchanges: they are
	// in no budget. Beyond it an exchange is shed at once, which makes room.
	waitBytes = 4 << 20
)

// keep holds one piece of a message. While there is no room nothing is received,
// so that Envoy, whose window fills up, holds the sender back; but not for long,
// and not for many at once.
func (s *stream) keep(l scan.Leg, piece []byte, message int) (d gate.Decision, ok bool) {
	d, wait, ok := s.x.Append(l, piece)
	if ok || !wait {
		return d, ok
	}
	if !s.srv.waiting.TryAcquire(int64(message)) {
		return s.x.Overload(l), false
	}
	defer s.srv.waiting.Release(int64(message))
	s.pause()
	defer s.resume()
	giveUp := time.Now().Add(gate.OverloadWait)
	for time.Now().Before(giveUp) {
		select {
		case <-time.After(roomInterval):
		case <-s.ctx.Done():
			return s.x.Overload(l), false
		}
		if d, wait, ok = s.x.Append(l, piece); ok || !wait {
			return d, ok
		}
	}
	return s.x.Overload(l), false
}
