package extproctest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"
)

// Envoy drives an ext_proc server as Envoy 1.40 does. It is safe for
// concurrent use: every exchange and stream is independent.
type Envoy struct {
	conn grpc.ClientConnInterface
	cfg  Config
}

// New returns an Envoy that speaks to the processor behind conn.
func New(conn grpc.ClientConnInterface, cfg Config) *Envoy {
	return &Envoy{conn: conn, cfg: cfg.withDefaults()}
}

// messenger builds the messages of one stream and stamps what goes with the
// first one.
type messenger struct {
	cfg    Config
	opened bool
	legs   [2]bool // attributes sent
}

func (p *messenger) message(l Leg, m *extprocv3.ProcessingRequest) *extprocv3.ProcessingRequest {
	if !p.opened {
		p.opened = true
		m.ProtocolConfig = p.cfg.protocolConfig()
	}
	m.ObservabilityMode = p.cfg.ObservabilityMode
	m.MetadataContext = p.cfg.MetadataContext
	attributes := [2]*structpb.Struct{p.cfg.RequestAttributes, p.cfg.ResponseAttributes}[l]
	if attributes != nil && !p.legs[l] {
		m.Attributes = map[string]*structpb.Struct{"envoy.filters.http.ext_proc": attributes}
	}
	p.legs[l] = true
	return m
}

func (p *messenger) headers(l Leg, h Headers, end bool) *extprocv3.ProcessingRequest {
	hh := &extprocv3.HttpHeaders{Headers: h.toProto(), EndOfStream: end}
	if l == Request {
		return p.message(l, &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestHeaders{RequestHeaders: hh}})
	}
	return p.message(l, &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_ResponseHeaders{ResponseHeaders: hh}})
}

func (p *messenger) body(l Leg, b []byte, end bool) *extprocv3.ProcessingRequest {
	hb := &extprocv3.HttpBody{Body: b, EndOfStream: end}
	if l == Request {
		return p.message(l, &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestBody{RequestBody: hb}})
	}
	return p.message(l, &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_ResponseBody{ResponseBody: hb}})
}

func (p *messenger) trailers(l Leg, h Headers) *extprocv3.ProcessingRequest {
	ht := &extprocv3.HttpTrailers{Trailers: h.toProto()}
	if l == Request {
		return p.message(l, &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestTrailers{RequestTrailers: ht}})
	}
	return p.message(l, &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_ResponseTrailers{ResponseTrailers: ht}})
}

// Stream is one ext_proc stream whose messages the test orders by hand. Envoy
// holds nothing back here and runs no timer, but every answer is judged: a
// violation that nobody took with [Stream.TakeViolations] fails the test at its
// end. A Stream belongs to one goroutine.
type Stream struct {
	t      testing.TB
	cfg    Config
	say    messenger
	book   *ledger
	wire   *wire
	ended  error // how the RPC ended; nil while it lasts
	unread []*extprocv3.ProcessingResponse
	faults []Violation
	log    []string
}

// Open begins a stream. It ends with ctx (RST_STREAM), with the test at the latest.
func (e *Envoy) Open(ctx context.Context, t testing.TB) *Stream {
	t.Helper()
	w, err := dialStream(ctx, e.conn, e.cfg.InitialMetadata)
	if err != nil {
		t.Fatalf("open the ext_proc stream: %v", err)
	}
	s := &Stream{t: t, cfg: e.cfg, say: messenger{cfg: e.cfg}, book: newLedger(e.cfg), wire: w}
	stop := context.AfterFunc(ctx, w.cancel)
	t.Cleanup(func() {
		stop()
		s.collect()
		s.wire.close()
		for _, v := range s.faults {
			t.Errorf("protocol violation: %s\nthe conversation was:\n%s", v, s.Log())
		}
	})
	return s
}

// SendRequestHeaders sends request headers as given (pseudo-headers included).
func (s *Stream) SendRequestHeaders(h Headers, end bool) {
	s.SendRaw(s.say.headers(Request, h, end))
}

// SendRequestBody sends one request body message.
func (s *Stream) SendRequestBody(b []byte, end bool) { s.SendRaw(s.say.body(Request, b, end)) }

// SendRequestTrailers sends request trailers.
func (s *Stream) SendRequestTrailers(h Headers) { s.SendRaw(s.say.trailers(Request, h)) }

// SendResponseHeaders sends response headers (":status" included).
func (s *Stream) SendResponseHeaders(h Headers, end bool) {
	s.SendRaw(s.say.headers(Response, h, end))
}

// SendResponseBody sends one response body message.
func (s *Stream) SendResponseBody(b []byte, end bool) { s.SendRaw(s.say.body(Response, b, end)) }

// SendResponseTrailers sends response trailers.
func (s *Stream) SendResponseTrailers(h Headers) { s.SendRaw(s.say.trailers(Response, h)) }

// SendRaw queues any message as it is. It does not wait for the processor.
func (s *Stream) SendRaw(m *extprocv3.ProcessingRequest) {
	s.collect()
	s.log = append(s.log, "> "+describeRequest(m))
	s.book.sent(m)
	s.wire.send(m)
}

// Unsent is the number of bytes that wait because the processor does not read.
func (s *Stream) Unsent() int { return s.wire.unsent() }

// CloseSend sends END_STREAM.
func (s *Stream) CloseSend() {
	s.log = append(s.log, "> close")
	s.leave()
	s.wire.halfClose()
}

// Cancel sends RST_STREAM.
func (s *Stream) Cancel() {
	s.log = append(s.log, "> cancel")
	s.leave()
	s.wire.cancel()
}

// leave notes that Envoy is done: the processor may end the RPC as it likes.
func (s *Stream) leave() {
	s.collect()
	s.book.left = true
}

// Next waits for the next answer, up to [Config.Patience]. The error says that
// none came or that the RPC ended.
func (s *Stream) Next() (*extprocv3.ProcessingResponse, error) {
	return s.next(s.cfg.Patience)
}

var errSilence = errors.New("silence")

func (s *Stream) next(patience time.Duration) (*extprocv3.ProcessingResponse, error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		s.collect()
		if len(s.unread) > 0 {
			m := s.unread[0]
			s.unread = s.unread[1:]
			return m, nil
		}
		if s.ended != nil {
			return nil, fmt.Errorf("the RPC ended: %w", s.ended)
		}
		select {
		case <-s.wire.changed:
		case <-timer.C:
			return nil, fmt.Errorf("%w: no answer within %s", errSilence, patience)
		}
	}
}

// note judges one thing the processor did.
func (s *Stream) note(in inbound) {
	if in.err != nil {
		s.ended = in.err
		s.log = append(s.log, "< end "+in.err.Error())
		if cleanEnd(in.err) && s.book.undecided() {
			s.faults = append(s.faults, minor(RuleCleanClose, "the RPC ended with OK while a leg was undecided"))
		}
		return
	}
	s.log = append(s.log, "< "+describeAnswer(in.msg))
	if s.wire.compressed.Load() {
		s.faults = append(s.faults, fatal(RuleCompressed, "%s", KindOf(in.msg)))
		s.book.broken = true
	}
	_, vs := s.book.judge(in.msg)
	s.faults = append(s.faults, vs...)
}

// collect judges what has arrived, before the next message changes what is
// expected, and keeps the answers for Next.
func (s *Stream) collect() {
	for s.ended == nil {
		in, ok := s.wire.take()
		if !ok {
			return
		}
		s.note(in)
		if in.err == nil {
			s.unread = append(s.unread, in.msg)
		}
	}
}

// Expect returns the next answer; it fails the test when the answer is of
// another kind or does not come.
func (s *Stream) Expect(kind Kind) *extprocv3.ProcessingResponse {
	s.t.Helper()
	m, err := s.Next()
	if err != nil {
		s.t.Fatalf("want %s, but %v\nthe conversation was:\n%s", kind, err, s.Log())
	}
	if got := KindOf(m); got != kind {
		s.t.Fatalf("want %s, got %s\nthe conversation was:\n%s", kind, got, s.Log())
	}
	return m
}

// ExpectSilence fails the test when anything arrives within d. Use it in a
// synctest bubble, where d passes at once.
func (s *Stream) ExpectSilence(d time.Duration) {
	s.t.Helper()
	m, err := s.next(d)
	switch {
	case err == nil:
		s.t.Fatalf("want silence, got %s\nthe conversation was:\n%s", describeAnswer(m), s.Log())
	case !errors.Is(err, errSilence):
		s.t.Fatalf("want silence, but %v\nthe conversation was:\n%s", err, s.Log())
	}
}

// End waits until the processor ends the RPC, judging what it still says, and
// returns how: io.EOF for OK, else a gRPC status error.
func (s *Stream) End() error {
	for {
		if _, err := s.Next(); err != nil {
			return or(s.ended, err)
		}
	}
}

// TakeViolations returns the violations so far and forgets them.
func (s *Stream) TakeViolations() []Violation {
	vs := s.faults
	s.faults = nil
	return vs
}

// Log is the conversation so far, one message a line, bodies by length only.
func (s *Stream) Log() string { return strings.Join(s.log, "\n") }

func describeRequest(m *extprocv3.ProcessingRequest) string {
	headers := func(k Kind, h *extprocv3.HttpHeaders) string {
		return fmt.Sprintf("%s (%d lines) end=%t", k, len(h.GetHeaders().GetHeaders()), h.GetEndOfStream())
	}
	body := func(k Kind, b *extprocv3.HttpBody) string {
		return fmt.Sprintf("%s %d bytes end=%t", k, len(b.GetBody()), b.GetEndOfStream())
	}
	switch r := m.GetRequest().(type) {
	case *extprocv3.ProcessingRequest_RequestHeaders:
		return headers(RequestHeaders, r.RequestHeaders)
	case *extprocv3.ProcessingRequest_ResponseHeaders:
		return headers(ResponseHeaders, r.ResponseHeaders)
	case *extprocv3.ProcessingRequest_RequestBody:
		return body(RequestBody, r.RequestBody)
	case *extprocv3.ProcessingRequest_ResponseBody:
		return body(ResponseBody, r.ResponseBody)
	case *extprocv3.ProcessingRequest_RequestTrailers:
		return string(RequestTrailers)
	case *extprocv3.ProcessingRequest_ResponseTrailers:
		return string(ResponseTrailers)
	}
	return string(NoKind)
}

func describeAnswer(m *extprocv3.ProcessingResponse) string {
	kind := KindOf(m)
	switch mutation := commonOf(m).GetBodyMutation(); {
	case kind == Immediate:
		return fmt.Sprintf("%s %d", kind, m.GetImmediateResponse().GetStatus().GetCode())
	case mutation.GetStreamedResponse() != nil:
		chunk := mutation.GetStreamedResponse()
		return fmt.Sprintf("%s %d bytes end=%t", kind, len(chunk.GetBody()), chunk.GetEndOfStream())
	case mutation.GetClearBody():
		return fmt.Sprintf("%s clear", kind)
	case mutation != nil:
		return fmt.Sprintf("%s %d bytes", kind, len(mutation.GetBody()))
	}
	return string(kind)
}
