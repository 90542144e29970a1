package content

import (
	"fmt"

	"github.com/portcullis-av/portcullis/scan"
)

// sinkBuffer is how much of a piece is gathered before the store is asked.
const sinkBuffer = 4 << 10

// sink gathers the bytes of one embedded piece, of which it is not known yet
// whether it will be one.
type sink struct {
	w    *walk
	n    *node
	buf  []byte
	body scan.Body
	size int64
	over bool // a limit was reached, which is noted
}

func (s *sink) write(p []byte) error {
	if s.over {
		return nil
	}
	s.buf = append(s.buf, p...)
	if len(s.buf) < sinkBuffer {
		return nil
	}
	return s.flush()
}

func (s *sink) flush() error {
	ok, err := s.w.account(s.n, s.size, int64(len(s.buf)), s.n.obj.Size)
	if err != nil {
		return err
	}
	if !ok {
		s.over = true
		return nil
	}
	if s.body == nil {
		s.body = s.w.u.config.Store.Open(s.w.limits.MaxExpandedBytes, true)
		s.w.layers.bodies = append(s.w.layers.bodies, s.body)
	}
	if ok, err := s.w.keep(s.n, s.body, s.buf); err != nil || !ok {
		s.over = true
		return err
	}
	s.size += int64(len(s.buf))
	s.buf = s.buf[:0]
	return s.w.ctx.Err()
}

// total is the number of bytes gathered so far.
func (s *sink) total() int64 { return s.size + int64(len(s.buf)) }

// report makes what was gathered an object and starts anew.
func (s *sink) report(p piece) error {
	body, err := s.seal()
	if err != nil || body == nil {
		return err
	}
	return s.w.layer(s.n, p, body)
}

// seal ends what was gathered and returns it, or nil when it is over a limit. It
// stays the walk's to close.
func (s *sink) seal() (scan.Body, error) {
	if err := s.flush(); err != nil {
		return nil, err
	}
	body, over := s.body, s.over
	s.body, s.size, s.over, s.buf = nil, 0, false, s.buf[:0]
	if over {
		return nil, nil //nolint:nilnil // the limit is noted
	}
	if err := body.Seal(); err != nil {
		return nil, fmt.Errorf("seal an embedded piece: %w", err)
	}
	return body, nil
}

// drop forgets what was gathered and gives its share of the limit back.
func (s *sink) drop() error {
	s.w.expanded -= s.size
	body := s.body
	s.body, s.size, s.over, s.buf = nil, 0, false, s.buf[:0]
	if body == nil {
		return nil
	}
	bodies := s.w.layers.bodies
	if len(bodies) > 0 && bodies[len(bodies)-1] == body {
		s.w.layers.bodies = bodies[:len(bodies)-1]
	}
	return body.Close()
}
