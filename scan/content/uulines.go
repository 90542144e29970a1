package content

import (
	"bytes"
	"fmt"
)

// maxUULine is more than any line of uuencode has.
const maxUULine = 256

// uuencoded looks for uuencoded files among the lines of n, as old mail has them
// between its text. What decodes up to the first line that is none, or to the
// end, is an object.
func (w *walk) uuencoded(n *node) error {
	s := uuScanner{w: w, n: n, out: sink{w: w, n: n}}
	if err := w.blocks(n, s.scan); err != nil {
		return err
	}
	if err := s.line(s.held); err != nil {
		return err
	}
	return s.end()
}

// uuScanner goes through lines that arrive in blocks.
type uuScanner struct {
	w     *walk
	n     *node
	held  []byte // the beginning of a line
	long  bool   // the line is longer than any of interest
	begun bool
	ended bool // a line without data was seen
	found int
	out   sink
}

func (s *uuScanner) scan(p []byte) error {
	for {
		k := bytes.IndexByte(p, '\n')
		part := p
		if k >= 0 {
			part = p[:k]
		}
		if len(s.held)+len(part) > maxUULine {
			s.long = true
		} else if !s.long {
			s.held = append(s.held, part...)
		}
		if k < 0 {
			return nil
		}
		line := s.held
		if s.long {
			line = nil
		}
		if err := s.line(line); err != nil {
			return err
		}
		s.held, s.long, p = s.held[:0], false, p[k+1:]
	}
}

func (s *uuScanner) line(p []byte) error {
	p = bytes.TrimRight(p, "\r")
	switch {
	case len(p) > 0 && p[0] == 'b' && beginsUU(p):
		err := s.end()
		s.begun, s.ended = true, false
		return err
	case !s.begun:
		return nil
	case len(p) == 0 || string(p) == "end" || p[0] < ' ' || p[0] > '`':
		return s.end()
	}
	data := decodeUULine(p)
	if len(data) > 0 || s.ended {
		return s.out.write(data)
	}
	// The end to some readers, while others go on to the line that says so.
	s.ended = true
	twin := sink{w: s.out.w, n: s.out.n}
	if err := s.out.forkTo(&twin); err != nil {
		return err
	}
	return s.report(&twin)
}

// beginsUU recognises "begin 644 name".
func beginsUU(p []byte) bool {
	rest, ok := bytes.CutPrefix(p, []byte("begin"))
	if !ok {
		return false
	}
	mode := bytes.TrimLeft(rest, " \t")
	name := bytes.TrimLeft(mode, "01234567")
	return len(mode) < len(rest) && len(name) < len(mode) && len(name) > 1 && isSpace(name[0])
}

func (s *uuScanner) end() error {
	if !s.begun {
		return nil
	}
	s.begun = false
	return s.report(&s.out)
}

func (s *uuScanner) report(out *sink) error {
	if out.total() < minPiece || s.n.levels[byEmbedding] >= maxEmbedded {
		return out.drop()
	}
	s.found++
	return out.report(piece{word: fmt.Sprintf("uuencode[%d]", s.found-1), kind: byEmbedding})
}
