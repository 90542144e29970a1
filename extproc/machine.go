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
	legs     [2]legState
	adaptive adaptive
	over     bool
	out      []action
}

// adaptive is what Envoy may be asked for at the request headers, when it sends
// no bodies by itself and obeys.
type adaptive struct {
	on bool
	// small says that the request's declared length fits Envoy's buffer.
	small bool
	// response says that the response's body is wanted.
	response bool
}

// legState is one leg. left says that something of it may have left Envoy,
// answered that its headers were answered.
type legState struct {
	phase    phase
	mode     mode
	body     bool // a body message came
	trailers bool // the trailers message came
	left     bool
	answered bool
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

// obeys says that Envoy was set up to obey mode overrides. It changes nothing
// unless both legs are NONE, for Envoy ignores overrides otherwise.
func (m *machine) obeys() {
	m.adaptive.on = m.legs[scan.Request].mode == modeNone && m.legs[scan.Response].mode == modeNone
}

// wants says what the request's headers tell about both bodies; before planned
// of the request leg.
func (m *machine) wants(small, response bool) {
	m.adaptive.small, m.adaptive.response = small, response
}

// asks settles the modes that the request's header answer asks for; held says
// that its body is wanted. The response's length is not known yet, so its body
// can only be asked for in FULL_DUPLEX.
func (m *machine) asks(held bool) *modes {
	if !m.adaptive.on {
		return nil
	}
	want := modes{modeNone, modeNone}
	if held {
		want.request = modeDuplex
		if m.adaptive.small {
			want.request = modeBuffered
		}
	}
	if m.adaptive.response {
		want.response = modeDuplex
	}
	if want.request == modeNone && want.response == modeNone {
		return nil
	}
	m.modes(want.request, want.response)
	return &want
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
	whole = s.mode.whole() || l == scan.Request && m.adaptive.on
	if l == scan.Response && m.undecided(scan.Request) {
		var disobeyed bool
		own, disobeyed = m.overtaken()
		whole = whole && !disobeyed
	}
	return whole, own, true
}

// overtaken says that response headers came while the request was held. own:
// they are Envoy's own when nothing of the request has left Envoy, for then no
// origin can have answered, and this is a local reply (413, 504, a framing error;
// Envoy 1.37 and later, #41769); the request is moot then. They need not be after
// a header answer: a request with trailers and no body is never shown to us in
// BUFFERED where trailers are not sent, and then the origin has it.
//
// disobeyed: Envoy was asked for the request's body, and sent the response
// without having sent any of it, so it ignores overrides and the origin has a
// body that nobody scanned.
func (m *machine) overtaken() (own, disobeyed bool) {
	request := &m.legs[scan.Request]
	if request.left && request.mode == modeDuplex && request.body {
		return false, false // an origin that answers early; the upload goes on
	}
	disobeyed = m.adaptive.on && !request.body
	request.phase = abandoned
	m.do(action{kind: abandon, leg: scan.Request})
	return !request.left, disobeyed
}

// planned says what the gate plans for a leg that opens said could begin. end
// says that the headers came with the end of the stream.
func (m *machine) planned(l scan.Leg, end, held, pass bool) {
	switch {
	case m.over:
	case held && end:
		m.fails("a %s without a body was to be held", l)
	case held:
		m.holds(l)
	case !pass:
		m.refuse(l)
	default:
		m.pass(l, end)
	}
}

// holds begins to hold a leg. Envoy sends a BUFFERED body, or one it is asked
// for, only after the header answer. Of a BUFFERED one it keeps the headers until
// the body's answer, if there is a body; of the others they may leave.
func (m *machine) holds(l scan.Leg) {
	s := &m.legs[l]
	s.phase = holding
	var ask *modes
	if l == scan.Request {
		ask = m.asks(true)
	}
	if s.mode == modeBuffered || ask != nil {
		s.left, s.answered = true, true
		m.do(action{kind: sendHeaders, leg: l, ask: ask})
	}
}

// pass lets a leg go on from its headers.
func (m *machine) pass(l scan.Leg, end bool) {
	s := &m.legs[l]
	s.phase, s.left, s.answered = passing, true, true
	if end {
		s.phase = ended
	}
	var ask *modes
	if l == scan.Request {
		ask = m.asks(false)
	}
	m.do(action{kind: sendHeaders, leg: l, marked: true, ask: ask})
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
	first := !s.body
	s.body = true
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
			return
		}
		if first {
			m.nudge(l)
		}
	case judging, releasing, ended, abandoned:
		// Envoy 1.35 to 1.37 repeat the end of a large body (#46237): one
		// verdict, one emission, whatever comes after the end.
	}
}

// nudge sends a chunk without bytes after the first piece of a body that Envoy
// was asked for. If the whole body and its trailers had come before the header
// answer, Envoy shows the trailers, which are the end, only after a chunk came
// back (1.40.0, measured); otherwise it changes nothing. (A body of no bytes with
// trailers has no piece to answer: Envoy never shows its end, and the upload's
// idle deadline ends the exchange.)
func (m *machine) nudge(l scan.Leg) {
	if l == scan.Request && m.adaptive.on {
		m.do(action{kind: sendChunk, leg: l})
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
	late := s.answered
	s.left, s.answered = true, true
	if !late {
		m.do(action{kind: sendHeaders, leg: l, marked: true})
	}
	m.do(action{kind: release, leg: l, tail: follows, late: late})
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
