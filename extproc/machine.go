package extproc

import (
	"fmt"

	"github.com/portcullis-av/portcullis/scan"
)

// machine is one exchange as Envoy's protocol sees it: what Envoy said goes in
// through its methods, what to do comes out as actions, in order. It knows no
// gRPC, clock or goroutine, so any order of events can be tried on it.
//
// After a refusal or a failure it is over: every further event does nothing.
type machine struct {
	legs [2]legState
	over bool
	out  []action
}

// legState is one leg. left says that something of it may have left Envoy.
type legState struct {
	phase    phase
	mode     mode
	body     bool // a body message came
	trailers bool // the trailers message came
	left     bool
}

// take returns the actions that are due and forgets them. The slice is valid
// until the next event.
func (m *machine) take() []action {
	due := m.out
	m.out = m.out[:0]
	return due
}

func (m *machine) do(a action) { m.out = append(m.out, a) }

// modes says how Envoy delivers the bodies; before any headers.
func (m *machine) modes(request, response mode) {
	m.legs[scan.Request].mode, m.legs[scan.Response].mode = request, response
}

// undecided reports whether a leg waits for a verdict, or for more of a body
// that is held.
func (m *machine) undecided(l scan.Leg) bool {
	p := m.legs[l].phase
	return p == holding || p == judging
}

// fails ends the exchange with an error, so that Envoy fails closed.
func (m *machine) fails(format string, args ...any) {
	m.over = true
	m.do(action{kind: fail, why: fmt.Sprintf(format, args...)})
}

// refuse ends the exchange with an answer of our own.
func (m *machine) refuse(l scan.Leg) {
	m.over = true
	m.do(action{kind: refuse, leg: l})
}

// opens says that a leg's headers came. It returns whether Envoy will hand over
// the leg's whole body before any of it goes on, and whether the headers are
// Envoy's own answer, which no origin can have written: the plan depends on both.
// ok is false when the headers were not lawful; the exchange is over then.
func (m *machine) opens(l scan.Leg) (whole, own, ok bool) {
	if m.over {
		return false, false, false
	}
	s := &m.legs[l]
	if s.phase != awaiting {
		m.fails("%s headers came twice", l)
		return false, false, false
	}
	if l == scan.Response && m.undecided(scan.Request) {
		own = m.overtaken()
	}
	return s.mode.whole(), own, true
}

// overtaken says that response headers came while the request was held, which
// makes the request moot. It returns whether they are Envoy's own: they are when
// nothing of the request has left Envoy, for then no origin can have answered,
// and this is a local reply (413, 504, a framing error; Envoy 1.37 and later,
// #41769). They need not be after the header answer of BUFFERED: a request with
// trailers and no body is never shown to us where trailers are not sent, and
// then the origin has it.
func (m *machine) overtaken() (own bool) {
	request := &m.legs[scan.Request]
	request.phase = abandoned
	m.do(action{kind: abandon, leg: scan.Request})
	return !request.left
}

// planned says what the gate plans for a leg that opens said could begin. end
// says that the headers came with the end of the stream.
func (m *machine) planned(l scan.Leg, end, held, pass bool) {
	s := &m.legs[l]
	switch {
	case m.over:
	case held && end:
		m.fails("a %s without a body was to be held", l)
	case held:
		s.phase = holding
		if s.mode == modeBuffered {
			// Envoy sends a BUFFERED body only after this answer, and keeps the
			// headers until the body's answer; if there is one.
			s.left = true
			m.do(action{kind: sendHeaders, leg: l})
		}
	case !pass:
		m.refuse(l)
	default:
		m.pass(l, end)
	}
}

// pass lets a leg go on from its headers.
func (m *machine) pass(l scan.Leg, end bool) {
	s := &m.legs[l]
	s.phase, s.left = passing, true
	if end {
		s.phase = ended
	}
	m.do(action{kind: sendHeaders, leg: l, marked: true})
}

// bodyCame takes a body message.
func (m *machine) bodyCame(l scan.Leg, data payload, end bool) {
	if m.over {
		return
	}
	s := &m.legs[l]
	if s.mode != modeDuplex {
		m.answeredBody(l, data)
		return
	}
	switch s.phase {
	case awaiting:
		m.fails("%s body came before its headers", l)
	case passing:
		m.do(action{kind: sendChunk, leg: l, data: data, end: end})
		if end {
			s.phase = ended
		}
	case holding:
		m.do(action{kind: hold, leg: l, data: data, end: end})
		if end {
			m.complete(l)
		}
	case judging, releasing, ended, abandoned:
		// Envoy 1.35 to 1.37 repeat the end of a large body (#46237): one
		// verdict, one emission, whatever comes after the end.
	}
}

// answeredBody takes a body message in a mode where each wants its answer.
func (m *machine) answeredBody(l scan.Leg, data payload) {
	s := &m.legs[l]
	repeated := s.body && s.mode == modeBuffered
	s.body = true
	switch s.phase {
	case awaiting:
		m.fails("%s body came before its headers", l)
	case ended, abandoned:
	case passing:
		if repeated {
			m.fails("a second %s body came in mode %s", l, s.mode)
			return
		}
		m.do(action{kind: sendBody, leg: l})
	case holding:
		// The one BUFFERED message is the whole body, whatever its flag says:
		// the flag is false when trailers follow.
		s.left = false
		m.do(action{kind: hold, leg: l, data: data, end: true})
		m.complete(l)
	case judging, releasing:
		m.fails("a second %s body came in mode %s", l, s.mode)
	}
}

// trailersCame takes a trailers message, which also ends a body.
func (m *machine) trailersCame(l scan.Leg) {
	if m.over {
		return
	}
	s := &m.legs[l]
	switch s.phase {
	case awaiting:
		m.fails("%s trailers came before the headers", l)
	case passing:
		m.do(action{kind: sendTrailers, leg: l})
		s.phase = ended
	case holding:
		s.trailers = true
		m.complete(l)
	case judging:
		s.trailers = true
	case releasing, ended, abandoned:
		// After the end nothing changes any more.
	}
}

// complete has a held body judged.
func (m *machine) complete(l scan.Leg) {
	m.legs[l].phase = judging
	m.do(action{kind: judge, leg: l})
}

// unheld says that the gate could not hold data, the bytes of the last hold
// action, and has decided about the leg: passed, they follow what is held. The
// caller drops the actions that came with that hold.
func (m *machine) unheld(l scan.Leg, data payload, end, pass bool) {
	s := &m.legs[l]
	if m.over {
		return
	}
	if s.phase == judging && s.mode == modeDuplex {
		s.phase = holding
	}
	m.decided(l, pass)
	if m.over || s.mode != modeDuplex {
		return
	}
	m.do(action{kind: sendChunk, leg: l, data: data, end: end})
	if end {
		s.phase = ended
	}
}

// decided says what happens to a leg that was held.
func (m *machine) decided(l scan.Leg, pass bool) {
	if m.over || !m.undecided(l) {
		return
	}
	if !pass {
		m.refuse(l)
		return
	}
	if m.legs[l].mode == modeDuplex {
		m.releases(l)
		return
	}
	m.passBuffered(l)
}

func (m *machine) releases(l scan.Leg) {
	s := &m.legs[l]
	follows := tailEnd
	switch {
	case s.phase == holding:
		follows, s.phase = tailMore, passing
	case s.trailers:
		follows, s.phase = tailTrailers, releasing
	default:
		s.phase = releasing
	}
	s.left = true
	m.do(action{kind: sendHeaders, leg: l, marked: true})
	m.do(action{kind: release, leg: l, tail: follows})
}

// passBuffered answers what Envoy waits for: the body message, the trailers, or
// (the body has not come yet) nothing.
func (m *machine) passBuffered(l scan.Leg) {
	s := &m.legs[l]
	s.phase, s.left = passing, true
	if s.body {
		m.do(action{kind: sendBody, leg: l, marked: true})
	}
	if s.trailers {
		m.do(action{kind: sendTrailers, leg: l})
		s.phase = ended
	}
}

// released says that a complete held body, and what follows it, is sent.
func (m *machine) released(l scan.Leg) {
	if s := &m.legs[l]; s.phase == releasing {
		s.phase = ended
	}
}

// settled reports whether the stream may end with OK once Envoy has closed its
// side: nothing that began waits for a verdict.
func (m *machine) settled() bool {
	return !m.undecided(scan.Request) && !m.undecided(scan.Response)
}
