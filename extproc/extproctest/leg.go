package extproctest

import (
	"crypto/sha256"
	"hash"
	"time"

	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
)

// leg is what Envoy's filter holds of one direction: it takes pieces from the
// sender, tells the processor, and passes on what the answers release.
type leg struct {
	which Leg
	x     *run
	book  *legBook
	base  filterv3.ProcessingMode_BodySendMode // before any override
	src   *script                              // nil until the leg begins
	to    *Delivery
	hash  hash.Hash

	active bool // answers decide; otherwise everything passes
	// switched: the leg's own header answer overrode its mode.
	switched bool
	dead     bool // abandoned: nothing more is read or passed
	drain    bool // the body was replaced: drop what still comes

	headers               Headers
	headersIn, headersOut bool
	bodiless              bool     // the headers had end_of_stream
	buf                   []byte   // read, neither told nor passed
	asked                 []byte   // the buffered body that awaits its answer
	bodyDone              bool     // the buffered body was answered
	queue                 [][]byte // STREAMED chunks that await their answers
	queued                int
	inEnd                 bool
	inTrailers            Headers
	finished              bool // the end was passed on

	deadline time.Time // message_timeout; zero when not armed
	extended bool
}

func newLeg(x *run, which Leg, to *Delivery) *leg {
	b := &x.book.legs[which]
	l := &leg{which: which, x: x, book: b, base: b.body, to: to, active: !x.cfg.ObservabilityMode}
	if !x.ex.CountOnly {
		l.hash = sha256.New()
	}
	return l
}

func (l *leg) begin(m Message) { l.src = &script{msg: m.complete(l.which)} }

func (l *leg) mode() filterv3.ProcessingMode_BodySendMode { return l.book.body }

// canRead reports whether Envoy reads from the sender now.
func (l *leg) canRead() bool {
	switch {
	case l.src == nil, l.dead, l.finished, l.x.unsent() > l.x.cfg.Window:
		return false
	case l.active && l.mode() == filterv3.ProcessingMode_BUFFERED && l.base == filterv3.ProcessingMode_BUFFERED:
		return true // over the limit is 413 or 500, not back-pressure
	}
	return len(l.buf)+l.queued <= l.x.cfg.BufferLimit
}

func (l *leg) feed(p piece) {
	l.inEnd = l.inEnd || p.end
	switch p.part {
	case headersPart:
		l.headersIn, l.headers, l.bodiless = true, p.headers, p.end
		l.onHeaders(p.end)
	case bodyPart:
		l.onData(p.data, p.end)
	case trailersPart:
		l.inTrailers = append(Headers{}, p.headers...)
		l.onTrailers()
	}
}

func (l *leg) onHeaders(end bool) {
	if l.book.headers == filterv3.ProcessingMode_SEND && (l.active || l.x.cfg.ObservabilityMode) {
		l.tell(l.x.say.headers(l.which, l.headers, end), 0)
		if l.active {
			return
		}
	}
	l.passHeaders()
	l.advance()
}

func (l *leg) onData(data []byte, end bool) {
	switch {
	case l.drain:
		return
	case l.x.cfg.ObservabilityMode && l.mode() != filterv3.ProcessingMode_NONE:
		l.tell(l.x.say.body(l.which, data, end), len(data))
	case l.active && duplex(l.mode()):
		l.tellDuplex(data, end)
		return
	}
	l.buf = append(l.buf, data...)
	if l.active && !l.bodyDone && l.mode() == filterv3.ProcessingMode_BUFFERED && l.base == l.mode() && len(l.buf) > l.x.cfg.BufferLimit {
		l.x.overflow(l)
		return
	}
	l.advance()
}

func (l *leg) tellDuplex(data []byte, end bool) {
	l.tell(l.x.say.body(l.which, data, end), len(data))
	if end && l.x.cfg.Quirks.DuplicateEnd {
		l.tell(l.x.say.body(l.which, nil, true), 0)
	}
}

func (l *leg) onTrailers() {
	send := l.book.trailers == filterv3.ProcessingMode_SEND
	switch {
	case l.x.cfg.ObservabilityMode && send:
		l.tell(l.x.say.trailers(l.which, l.inTrailers), 0)
	case l.active && duplex(l.mode()):
		if send {
			l.tell(l.x.say.trailers(l.which, l.inTrailers), 0)
		}
		return // with SKIP no end is ever signalled: a hang, as in Envoy
	}
	l.advance()
}

// tell sends a message and arms message_timeout where Envoy does.
func (l *leg) tell(m *extprocv3.ProcessingRequest, size int) {
	if l.x.tell(m, size) && l.active && !duplex(l.mode()) {
		l.deadline, l.extended = time.Now().Add(l.x.cfg.MessageTimeout), false
	}
}

// advance does what is possible outside FULL_DUPLEX_STREAMED now: tell the next
// message, or pass on what was decided.
func (l *leg) advance() {
	switch {
	case l.finished, l.dead, !l.headersIn:
		return
	case !l.active:
		l.passAll()
		return
	case duplex(l.mode()), l.awaits(headersPart), l.awaits(trailersPart):
		return
	case l.bodiless:
		l.passHeaders()
		l.passEnd()
		return
	case !l.advanceBody(), !l.inEnd:
		return
	case l.inTrailers != nil && l.book.trailers == filterv3.ProcessingMode_SEND && !l.book.trailersSent:
		l.tell(l.x.say.trailers(l.which, l.inTrailers), 0)
		return
	}
	l.passHeaders()
	l.passEnd()
}

func (l *leg) awaits(p part) bool { return len(l.book.pending) > 0 && l.book.pending[0] == p }

// advanceBody reports whether everything read of the body was passed on.
func (l *leg) advanceBody() bool {
	endsHere := l.inEnd && l.inTrailers == nil
	switch l.mode() {
	case filterv3.ProcessingMode_BUFFERED, filterv3.ProcessingMode_BUFFERED_PARTIAL:
		if !l.bodyDone {
			return l.advanceBuffered(endsHere)
		}
	case filterv3.ProcessingMode_STREAMED:
		l.passHeaders()
		if len(l.buf) > 0 || endsHere && !l.book.eos {
			l.tellStreamed(endsHere)
		}
		return len(l.queue) == 0
	default: // NONE: everything passes
	}
	l.passHeaders()
	l.passData(l.buf)
	l.buf = nil
	return true
}

func (l *leg) advanceBuffered(endsHere bool) bool {
	full := l.mode() == filterv3.ProcessingMode_BUFFERED_PARTIAL && len(l.buf) >= l.x.cfg.BufferLimit
	switch {
	case l.awaits(bodyPart), !l.inEnd && !full:
		return false
	case len(l.buf) == 0 && !endsHere: // trailers and no body: no body message
		l.bodyDone = true
		l.passHeaders()
		return true
	}
	if l.asked = l.buf; l.asked == nil {
		l.asked = []byte{}
	}
	l.buf = nil
	l.tell(l.x.say.body(l.which, l.asked, endsHere && !full), len(l.asked))
	return false
}

func (l *leg) tellStreamed(end bool) {
	if l.x.cfg.Quirks.EmptyChunks {
		l.queue = append(l.queue, nil)
		l.tell(l.x.say.body(l.which, nil, false), 0)
	}
	l.queue = append(l.queue, l.buf)
	l.queued += len(l.buf)
	l.tell(l.x.say.body(l.which, l.buf, end), len(l.buf))
	l.buf = nil
}

// answered applies a lawful answer to the leg's part p.
func (l *leg) answered(p part, m *extprocv3.ProcessingResponse) {
	l.deadline = time.Time{} // any answer stops the timer
	if l.dead {
		return
	}
	c := commonOf(m)
	switch p {
	case headersPart:
		if !l.mutate(c.GetHeaderMutation()) {
			return
		}
		l.headersAnswered(c)
	case bodyPart:
		l.bodyAnswered(c)
	case trailersPart:
		mutation := m.GetRequestTrailers().GetHeaderMutation()
		if l.which == Response {
			mutation = m.GetResponseTrailers().GetHeaderMutation()
		}
		l.inTrailers = l.inTrailers.apply(mutation)
		l.passHeaders()
		l.passEnd()
	}
}

func (l *leg) mutate(m *extprocv3.HeaderMutation) bool {
	l.headers = l.headers.apply(m)
	if !l.headers.tooMany() {
		return true
	}
	l.x.violate(fatal(RuleBadMutation, "more than %d headers or %d bytes of them", maxHeaderCount, maxHeaderBytes))
	l.x.fail(l.x.cfg.StatusOnError, "ext_proc_error_header_limits")
	return false
}

func (l *leg) headersAnswered(c *extprocv3.CommonResponse) {
	if c.GetStatus() == extprocv3.CommonResponse_CONTINUE_AND_REPLACE {
		l.replace(c)
		return
	}
	if l.switched && (l.which == Response || duplex(l.mode())) {
		// Measured on 1.40.0 for the response leg: the headers have left, and a
		// block is a reset. Taken for the worst on the request leg.
		l.passHeaders()
	}
	if !duplex(l.mode()) {
		l.advance()
		return
	}
	if l.bodiless {
		l.passHeaders()
		l.passEnd()
		return
	}
	if l.x.cfg.Quirks.HeadersAtOnce {
		l.passHeaders()
	}
	// What was held before an override goes out as one chunk.
	ends := l.inEnd && l.inTrailers == nil && !l.book.told
	if len(l.buf) > 0 || ends {
		data := l.buf
		l.buf = nil
		l.tellDuplex(data, ends)
	}
	if l.inTrailers != nil && !l.book.trailersSent {
		l.onTrailers()
	}
}

// replace carries out CONTINUE_AND_REPLACE on a header answer.
func (l *leg) replace(c *extprocv3.CommonResponse) {
	l.book.over, l.bodyDone = true, true
	if c.GetBodyMutation() == nil {
		l.active = false
		l.passAll()
		return
	}
	l.drain, l.buf = true, nil
	l.headers = l.headers.Without("content-length")
	l.passHeaders()
	l.passData(c.GetBodyMutation().GetBody())
	l.inTrailers = nil
	l.passEnd()
}

func (l *leg) bodyAnswered(c *extprocv3.CommonResponse) {
	switch mode := l.mode(); {
	case duplex(mode):
		chunk := c.GetBodyMutation().GetStreamedResponse()
		l.passHeaders()
		l.passData(chunk.GetBody())
		if chunk.GetEndOfStream() {
			l.inTrailers = nil
			l.passEnd()
		}
	case mode == filterv3.ProcessingMode_STREAMED:
		data := l.queue[0]
		l.queue, l.queued = l.queue[1:], l.queued-len(data)
		l.passData(mutated(data, c))
		l.advance()
	default:
		if l.mutate(c.GetHeaderMutation()) {
			l.bufferedAnswered(c)
		}
	}
}

func (l *leg) bufferedAnswered(c *extprocv3.CommonResponse) {
	data := mutated(l.asked, c)
	l.asked, l.bodyDone = nil, true
	declared := l.headers.length()
	if !l.headersOut && l.mode() == filterv3.ProcessingMode_BUFFERED && c.GetBodyMutation() != nil && declared >= 0 && declared != int64(len(data)) {
		l.x.violate(fatal(RuleLength, "a body of %d bytes for content-length %d", len(data), declared))
		l.x.fail(l.x.cfg.StatusOnError, "ext_proc_error_mismatch_between_content_length_and_the_length_of_the_mutated_body")
		return
	}
	l.passHeaders()
	l.passData(data)
	l.advance()
}

func mutated(data []byte, c *extprocv3.CommonResponse) []byte {
	switch m := c.GetBodyMutation().GetMutation().(type) {
	case *extprocv3.BodyMutation_Body:
		return m.Body
	case *extprocv3.BodyMutation_ClearBody:
		if m.ClearBody {
			return nil
		}
	}
	return data
}
