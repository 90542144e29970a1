package extproctest

import (
	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
)

// maxChunk is the largest streamed_response Envoy's documentation allows.
const maxChunk = 64 << 10

// legBook is what one leg's messages and answers so far amount to.
type legBook struct {
	body     filterv3.ProcessingMode_BodySendMode
	headers  filterv3.ProcessingMode_HeaderSendMode
	trailers filterv3.ProcessingMode_HeaderSendMode

	headersSent, headersAnswered bool
	bodySent                     bool
	trailersSent, trailersDone   bool
	// told is set once the processor knows that the body is complete; eos once
	// end_of_stream was sent, after which there are no trailers.
	told, eos bool
	// ended is set once the processor emitted the end (FULL_DUPLEX_STREAMED).
	ended   bool
	emitted int64
	// pending are the messages that await an answer, oldest first. A
	// FULL_DUPLEX_STREAMED body never appears: its answers are not one to one.
	pending []part
	// over is set by the driver when nothing of the leg concerns the processor
	// any more.
	over bool
}

func duplex(m filterv3.ProcessingMode_BodySendMode) bool {
	return m == filterv3.ProcessingMode_FULL_DUPLEX_STREAMED || m == filterv3.ProcessingMode_GRPC
}

// reaction is what Envoy does about an answer.
type reaction uint8

const (
	apply    reaction = iota // take it
	ignore                   // drop it
	breakOff                 // spurious or rejected: end the exchange or fail open
	extend                   // a new message timeout
)

// ledger enforces the protocol: it is told every message that goes out and
// judges every answer that comes in. It knows no gRPC, time or goroutine.
type ledger struct {
	cfg     Config
	legs    [2]legBook
	sentAny bool
	replied bool // the processor gave an ImmediateResponse
	broken  bool // Envoy gave the stream up; the processor cannot know yet
	left    bool // Envoy needs nothing more; the processor cannot know yet
	// overridden and ignored count mode overrides honoured and not.
	overridden, ignored int
}

func newLedger(cfg Config) *ledger {
	g := &ledger{cfg: cfg}
	g.setModes(cfg.Mode)
	return g
}

func (g *ledger) setModes(m *filterv3.ProcessingMode) {
	q, p := &g.legs[Request], &g.legs[Response]
	q.body, q.headers, q.trailers = m.RequestBodyMode, m.RequestHeaderMode, m.RequestTrailerMode
	p.body, p.headers, p.trailers = m.ResponseBodyMode, m.ResponseHeaderMode, m.ResponseTrailerMode
}

// sent records a message from Envoy. Call it before the message is sent.
func (g *ledger) sent(m *extprocv3.ProcessingRequest) {
	g.sentAny = true
	switch r := m.GetRequest().(type) {
	case *extprocv3.ProcessingRequest_RequestHeaders:
		g.legs[Request].sentHeaders(r.RequestHeaders.GetEndOfStream())
	case *extprocv3.ProcessingRequest_ResponseHeaders:
		g.legs[Response].sentHeaders(r.ResponseHeaders.GetEndOfStream())
	case *extprocv3.ProcessingRequest_RequestBody:
		g.legs[Request].sentBody(r.RequestBody.GetEndOfStream())
	case *extprocv3.ProcessingRequest_ResponseBody:
		g.legs[Response].sentBody(r.ResponseBody.GetEndOfStream())
	case *extprocv3.ProcessingRequest_RequestTrailers:
		g.legs[Request].sentTrailers()
	case *extprocv3.ProcessingRequest_ResponseTrailers:
		g.legs[Response].sentTrailers()
	}
}

func (b *legBook) sentHeaders(end bool) {
	b.headersSent, b.told, b.eos = true, b.told || end, b.eos || end
	b.pending = append(b.pending, headersPart)
	b.ended = b.ended || end // a bodiless leg has no body answer
}

func (b *legBook) sentBody(end bool) {
	b.bodySent, b.eos = true, b.eos || end
	b.told = b.told || end || b.body == filterv3.ProcessingMode_BUFFERED
	if !duplex(b.body) {
		b.pending = append(b.pending, bodyPart)
	}
}

func (b *legBook) sentTrailers() {
	b.trailersSent, b.told = true, true
	b.pending = append(b.pending, trailersPart)
}

// judge says what Envoy does about an answer and what is wrong with it.
func (g *ledger) judge(m *extprocv3.ProcessingResponse) (reaction, []Violation) {
	kind := KindOf(m)
	switch {
	case g.replied:
		return ignore, []Violation{minor(RuleAfterEnd, "%s after an ImmediateResponse", kind)}
	case g.broken:
		return ignore, nil
	case g.cfg.ObservabilityMode:
		return ignore, []Violation{minor(RuleObserved, "%s", kind)}
	case m.GetOverrideMessageTimeout() != nil:
		return g.judgeTimeout(m, kind)
	}
	var vs []Violation
	if err := m.ValidateAll(); err != nil {
		vs = append(vs, minor(RuleInvalid, "%v", err))
	}
	vs = append(vs, g.judgeAnswer(m, kind)...)
	for _, v := range vs {
		if v.Fatal {
			g.broken = true
			return breakOff, vs
		}
	}
	g.settle(m, kind)
	if o := m.GetModeOverride(); o != nil {
		g.switchModes(kind, o)
	}
	return apply, vs
}

// switchModes applies a mode_override, which only header answers carry.
func (g *ledger) switchModes(kind Kind, o *filterv3.ProcessingMode) {
	merged, ok := g.cfg.override(o)
	if !ok || (kind != RequestHeaders && kind != ResponseHeaders) {
		g.ignored++
		return
	}
	g.overridden++
	request := g.legs[Request]
	g.setModes(merged)
	if kind == ResponseHeaders { // the request leg keeps what it began with
		q := &g.legs[Request]
		q.body, q.headers, q.trailers = request.body, request.headers, request.trailers
	}
}

func (g *ledger) judgeAnswer(m *extprocv3.ProcessingResponse, kind Kind) []Violation {
	switch r := m.GetResponse().(type) {
	case *extprocv3.ProcessingResponse_ImmediateResponse:
		return g.judgeImmediate(r.ImmediateResponse)
	case *extprocv3.ProcessingResponse_StreamedImmediateResponse:
		return []Violation{fatal(RuleUnsupported, "streamed_immediate_response")}
	case *extprocv3.ProcessingResponse_RequestHeaders:
		return g.judgeHeaders(Request, r.RequestHeaders.GetResponse())
	case *extprocv3.ProcessingResponse_ResponseHeaders:
		return g.judgeHeaders(Response, r.ResponseHeaders.GetResponse())
	case *extprocv3.ProcessingResponse_RequestBody:
		return g.judgeBody(Request, r.RequestBody.GetResponse())
	case *extprocv3.ProcessingResponse_ResponseBody:
		return g.judgeBody(Response, r.ResponseBody.GetResponse())
	case *extprocv3.ProcessingResponse_RequestTrailers:
		return g.judgeTrailers(Request, r.RequestTrailers.GetHeaderMutation())
	case *extprocv3.ProcessingResponse_ResponseTrailers:
		return g.judgeTrailers(Response, r.ResponseTrailers.GetHeaderMutation())
	}
	return []Violation{fatal(RuleEmptyMessage, "%s message", kind)}
}

// judgeTimeout handles override_message_timeout: Envoy reads nothing else in
// such a message.
func (g *ledger) judgeTimeout(m *extprocv3.ProcessingResponse, kind Kind) (reaction, []Violation) {
	var vs []Violation
	d := m.GetOverrideMessageTimeout().AsDuration()
	if kind != NoKind {
		vs = append(vs, minor(RuleOverrideTimeout, "the %s answer beside override_message_timeout is lost", kind))
	}
	if d < 1e6 || d > g.cfg.MaxMessageTimeout {
		return ignore, append(vs, minor(RuleOverrideTimeout, "%s is ignored: max_message_timeout is %s", d, g.cfg.MaxMessageTimeout))
	}
	return extend, vs
}

func (g *ledger) judgeImmediate(m *extprocv3.ImmediateResponse) []Violation {
	if g.cfg.DisableImmediateResponse {
		return []Violation{fatal(RuleImmediateDisabled, "immediate_response is disabled")}
	}
	if !g.sentAny {
		return []Violation{fatal(RuleUnsolicited, "immediate before any message")}
	}
	vs := judgeMutation(m.GetHeaders())
	for i := range vs {
		vs[i].Fatal = false // only logged for an immediate response
	}
	if code := m.GetStatus().GetCode(); code < 200 {
		vs = append(vs, minor(RuleImmediateStatus, "status %d becomes 200 OK", code))
	}
	return vs
}

// misplaced is the violation of an answer that nothing of its own kind awaits.
func (g *ledger) misplaced(l Leg, p part, why string) []Violation {
	kind := kindFor(l, p)
	for i := range g.legs {
		if len(g.legs[i].pending) > 0 {
			return []Violation{fatal(RuleWrongKind, "%s (%s) while %s awaits its answer",
				kind, why, kindFor(Leg(i), g.legs[i].pending[0]))}
		}
	}
	return []Violation{fatal(RuleUnsolicited, "%s (%s) while nothing awaits an answer", kind, why)}
}

func (g *ledger) judgeHeaders(l Leg, c *extprocv3.CommonResponse) []Violation {
	b := &g.legs[l]
	switch {
	case !b.headersSent:
		return g.misplaced(l, headersPart, "never sent")
	case b.headersAnswered:
		return g.misplaced(l, headersPart, "already answered")
	}
	vs := judgeCommon(c)
	if c.GetBodyMutation() != nil && c.GetStatus() != extprocv3.CommonResponse_CONTINUE_AND_REPLACE {
		vs = append(vs, minor(RuleIgnoredMutation, "body_mutation in a %s answer without CONTINUE_AND_REPLACE", kindFor(l, headersPart)))
	}
	return vs
}

func judgeCommon(c *extprocv3.CommonResponse) []Violation {
	vs := judgeMutation(c.GetHeaderMutation())
	if c.GetTrailers() != nil {
		vs = append(vs, minor(RuleIgnoredMutation, "CommonResponse.trailers is not implemented"))
	}
	return vs
}

func (g *ledger) judgeBody(l Leg, c *extprocv3.CommonResponse) []Violation {
	b := &g.legs[l]
	if duplex(b.body) {
		return g.judgeDuplexBody(l, c)
	}
	switch {
	case b.headers == filterv3.ProcessingMode_SEND && !b.headersSent, !b.bodySent:
		return g.misplaced(l, bodyPart, "never sent")
	case len(b.pending) == 0:
		return g.misplaced(l, bodyPart, "already answered")
	case b.pending[0] == headersPart:
		return []Violation{fatal(RuleOutOfOrder, "%s before the %s answer", kindFor(l, bodyPart), kindFor(l, headersPart))}
	case b.pending[0] == trailersPart:
		return g.misplaced(l, bodyPart, "already answered")
	case c.GetBodyMutation().GetStreamedResponse() != nil:
		return []Violation{fatal(RuleStreamedOutsideDuplex, "streamed_response while the body mode is %s", b.body)}
	}
	vs := judgeCommon(c)
	if !buffering(b.body) && mutates(c) {
		vs = append(vs, minor(RuleIgnoredMutation, "header_mutation in a body answer while the body mode is %s", b.body))
	}
	return vs
}

func mutates(c *extprocv3.CommonResponse) bool {
	return len(c.GetHeaderMutation().GetSetHeaders())+len(c.GetHeaderMutation().GetRemoveHeaders()) > 0
}

func buffering(m filterv3.ProcessingMode_BodySendMode) bool {
	return m == filterv3.ProcessingMode_BUFFERED || m == filterv3.ProcessingMode_BUFFERED_PARTIAL
}

func (g *ledger) judgeDuplexBody(l Leg, c *extprocv3.CommonResponse) []Violation {
	b, kind := &g.legs[l], kindFor(l, bodyPart)
	chunk := c.GetBodyMutation().GetStreamedResponse()
	switch {
	case b.headers == filterv3.ProcessingMode_SEND && !b.headersSent:
		return g.misplaced(l, bodyPart, "no headers were sent yet")
	case b.headersSent && !b.headersAnswered:
		return []Violation{fatal(RuleBodyBeforeHeaders, "%s before the %s answer", kind, kindFor(l, headersPart))}
	case b.ended, b.trailersDone:
		return []Violation{fatal(RuleAfterBodyEnd, "%s after the end", kind)}
	case !b.bodySent && !b.trailersSent:
		return g.misplaced(l, bodyPart, "no body was sent yet")
	case chunk == nil:
		return []Violation{fatal(RuleBodyInDuplex, "%s without streamed_response", kind)}
	}
	vs := judgeCommon(c)
	if mutates(c) {
		vs = append(vs, minor(RuleIgnoredMutation, "header_mutation in a FULL_DUPLEX_STREAMED body answer"))
	}
	if n := len(chunk.GetBody()); n > maxChunk {
		vs = append(vs, minor(RuleChunkTooLarge, "%d bytes in one %s", n, kind))
	}
	switch {
	case chunk.GetEndOfStream() && b.trailersSent:
		vs = append(vs, minor(RuleEndWithTrailers, "%s ends a leg that has trailers", kind))
	case chunk.GetEndOfStream() && !b.told:
		vs = append(vs, minor(RuleEarlyEnd, "%s ends a leg that Envoy has not ended", kind))
	}
	return vs
}

func (g *ledger) judgeTrailers(l Leg, m *extprocv3.HeaderMutation) []Violation {
	b, kind := &g.legs[l], kindFor(l, trailersPart)
	switch {
	case !b.trailersSent:
		return []Violation{fatal(RuleTrailersUnasked, "%s, but no trailers were sent", kind)}
	case b.trailersDone:
		return g.misplaced(l, trailersPart, "already answered")
	case len(b.pending) > 0 && b.pending[0] != trailersPart:
		return []Violation{fatal(RuleOutOfOrder, "%s before the %s answer", kind, kindFor(l, b.pending[0]))}
	case b.ended && duplex(b.body):
		return []Violation{fatal(RuleAfterBodyEnd, "%s after the end", kind)}
	}
	return judgeMutation(m)
}

// settle books a lawful answer.
func (g *ledger) settle(m *extprocv3.ProcessingResponse, kind Kind) {
	for l := range Leg(2) {
		b := &g.legs[l]
		switch kind {
		case Immediate:
			g.replied = true
		case kindFor(l, headersPart):
			b.headersAnswered = true
			b.pop()
		case kindFor(l, bodyPart):
			if !duplex(b.body) {
				b.pop()
				continue
			}
			chunk := commonOf(m).GetBodyMutation().GetStreamedResponse()
			b.emitted += int64(len(chunk.GetBody()))
			b.ended = b.ended || chunk.GetEndOfStream()
		case kindFor(l, trailersPart):
			b.trailersDone = true
			b.pop()
		default: // the other leg's
		}
	}
}

func (b *legBook) pop() {
	if len(b.pending) > 0 {
		b.pending = b.pending[1:]
	}
}

// complete reports whether nothing more of the leg will be sent to, or is
// expected from, the processor.
func (b *legBook) complete() bool {
	switch {
	case b.over:
		return true
	case len(b.pending) > 0:
		return false
	case duplex(b.body):
		return b.told && (b.ended || b.trailersDone)
	case b.headers == filterv3.ProcessingMode_SEND && !b.headersAnswered:
		return false
	case b.eos, b.trailersDone:
		return true
	case b.trailers == filterv3.ProcessingMode_SEND:
		return false
	}
	return b.body == filterv3.ProcessingMode_NONE || b.told
}

// undecided reports whether a clean close by the processor now would let
// something pass unscanned.
func (g *ledger) undecided() bool {
	if g.replied || g.broken || g.left || g.cfg.ObservabilityMode {
		return false
	}
	return !g.legs[Request].complete() || !g.legs[Response].complete()
}

// commonOf is the CommonResponse of a header or body answer.
func commonOf(m *extprocv3.ProcessingResponse) *extprocv3.CommonResponse {
	switch r := m.GetResponse().(type) {
	case *extprocv3.ProcessingResponse_RequestHeaders:
		return r.RequestHeaders.GetResponse()
	case *extprocv3.ProcessingResponse_ResponseHeaders:
		return r.ResponseHeaders.GetResponse()
	case *extprocv3.ProcessingResponse_RequestBody:
		return r.RequestBody.GetResponse()
	case *extprocv3.ProcessingResponse_ResponseBody:
		return r.ResponseBody.GetResponse()
	}
	return nil
}
