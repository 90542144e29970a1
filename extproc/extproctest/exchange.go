package extproctest

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/structpb"
)

// End says how a message signals its end.
type End uint8

const (
	// EndAuto: with the trailers if there are any, else with the last chunk,
	// else with the headers.
	EndAuto End = iota
	// EndEmptyChunk: an empty data frame after the last chunk.
	EndEmptyChunk
	// EndNever: everything is sent, the end never comes.
	EndNever
	// EndAbort: everything is sent, then the sender disconnects.
	EndAbort
)

// Message is a request or a response as its sender writes it.
type Message struct {
	// Headers include pseudo-headers; missing ones are filled in (GET / or
	// POST / of example.com, status 200).
	Headers Headers
	// Body is the body in the cuts in which it reaches Envoy.
	Body [][]byte
	// Trailers exist when not nil.
	Trailers Headers
	End      End
	// Every is the pause before each chunk, the end and the trailers.
	Every time.Duration
}

// Received is what left Envoy towards the origin.
type Received struct {
	Headers  Headers
	Body     []byte
	Trailers Headers
}

// LocalReply is an error that Envoy itself raises in the middle of a request
// (413, 408, 504 …). Since 1.37 it passes the response leg of the processor.
type LocalReply struct {
	Status int
	// AfterChunks is how many request chunks come before it.
	AfterChunks int
	Details     string
}

// Exchange is one HTTP transaction.
type Exchange struct {
	Request Message
	// Origin answers; it sees exactly what left Envoy. Nil answers 200 with no
	// body.
	Origin func(Received) Message
	// Early lets the origin answer as soon as it has the request's headers and
	// EarlyAfter bytes, not only when the request is complete.
	Early      bool
	EarlyAfter int64
	// LocalReply is raised by Envoy, if not nil.
	LocalReply *LocalReply
	// CountOnly keeps no body, digest, event or dynamic metadata: for load.
	CountOnly bool
}

// Reply answers every request with m.
func Reply(m Message) func(Received) Message { return func(Received) Message { return m } }

// Cut cuts b into chunks of at most size bytes.
func Cut(b []byte, size int) [][]byte {
	var out [][]byte
	for len(b) > size {
		out, b = append(out, b[:size]), b[size:]
	}
	return append(out, b)
}

// Delivery is what one side got from Envoy.
type Delivery struct {
	// Reached: anything at all left Envoy on this side.
	Reached bool
	// BeforeEnd: it left before the processor had been told the leg's end, so
	// not on a verdict over the whole body.
	BeforeEnd bool
	// Complete: the end was reached.
	Complete bool
	Headers  Headers
	// Body is nil and SHA256 zero with [Exchange.CountOnly].
	Body     []byte
	Size     int64
	SHA256   [32]byte
	Trailers Headers
}

// Outcome is what the client saw.
type Outcome struct {
	Delivery
	// Status is 0 when no response came.
	Status int
	// Reset: the connection was cut.
	Reset bool
	// Local: Envoy or the processor made the response, not the origin.
	Local bool
	// Details is %RESPONSE_CODE_DETAILS%, whitespace as underscores.
	Details string
	// Gone: the client itself left ([EndAbort]).
	Gone bool
}

// Event is one line of the exchange's history.
type Event struct {
	// At is the time since the exchange began.
	At time.Duration
	// Name is "> KIND" for a message to the processor, "< KIND" for an answer,
	// "origin PART" and "client PART" for what left Envoy.
	Name string
	// Bytes of body.
	Bytes int
}

// Result is what became of an exchange.
type Result struct {
	Client Outcome
	Origin Delivery
	// Violations of the protocol by the processor, in order.
	Violations []Violation
	// Events in order; none with [Exchange.CountOnly].
	Events []Event
	// Metadata received, by namespace, and the namespaces Envoy dropped.
	Metadata        map[string]*structpb.Struct
	MetadataDropped []string
	// Overrides honoured and ignored.
	Overrides, OverridesIgnored int
	// Bypass: the processor ended the RPC with OK while a leg was undecided;
	// Bypassed counts the body bytes that passed afterwards.
	Bypass   bool
	Bypassed int64
	// FailedOpen: failure_mode_allow let the exchange pass.
	FailedOpen bool
	// Hang: nothing moved for stream_idle_timeout.
	Hang bool
	// TimedOut: message_timeout expired.
	TimedOut bool
	// Stream is how the processor ended the RPC: io.EOF for OK, a status error,
	// or nil when Envoy left first.
	Stream error
}

// Broke reports whether rule was broken.
func (r Result) Broke(rule Rule) bool {
	for _, v := range r.Violations {
		if v.Rule == rule {
			return true
		}
	}
	return false
}

// MustBeLawful fails the test when the processor broke any rule.
func (r Result) MustBeLawful(t testing.TB) {
	t.Helper()
	for _, v := range r.Violations {
		t.Errorf("protocol violation: %s", v)
	}
	if len(r.Violations) > 0 {
		t.Errorf("the exchange was:\n%s", r.History())
	}
}

// History is the exchange in a form for people.
func (r Result) History() string {
	var b strings.Builder
	for _, e := range r.Events {
		fmt.Fprintf(&b, "%12s  %s", e.At.Round(time.Microsecond), e.Name)
		if e.Bytes > 0 {
			fmt.Fprintf(&b, " %d bytes", e.Bytes)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// script plays a message.
type script struct {
	msg     Message
	started bool
	next    int
	done    bool
	notYet  time.Time // the pause before the next piece lasts until then
}

// piece is one decode call of Envoy's codec.
type piece struct {
	part    part
	headers Headers
	data    []byte
	end     bool
	aborted bool
	nothing bool // EndNever: no more pieces will come
}

// ready reports whether a piece can be had now, and if not, when (zero: never).
func (s *script) ready(now time.Time) (bool, time.Time) {
	if s.done {
		return false, time.Time{}
	}
	if s.notYet.After(now) {
		return false, s.notYet
	}
	return true, time.Time{}
}

// take returns the next piece.
func (s *script) take(now time.Time) piece {
	s.notYet = now.Add(s.msg.Every)
	m := &s.msg
	if !s.started {
		s.started = true
		end := len(m.Body) == 0 && m.Trailers == nil && m.End == EndAuto
		s.done = end
		return piece{part: headersPart, headers: m.Headers, end: end}
	}
	if s.next < len(m.Body) {
		b := m.Body[s.next]
		s.next++
		last := s.next == len(m.Body)
		end := last && m.Trailers == nil && m.End == EndAuto
		s.done = end
		return piece{part: bodyPart, data: b, end: end}
	}
	s.done = true
	switch {
	case m.End == EndAbort:
		return piece{aborted: true}
	case m.End == EndNever:
		return piece{nothing: true}
	case m.Trailers != nil:
		return piece{part: trailersPart, headers: m.Trailers, end: true}
	}
	return piece{part: bodyPart, end: true}
}

// complete returns m with its pseudo-headers.
func (m Message) complete(l Leg) Message {
	fill := Headers{{":status", "200"}}
	if l == Request {
		method := "GET"
		if len(m.Body) > 0 {
			method = "POST"
		}
		fill = Headers{{":method", method}, {":scheme", "http"}, {":authority", "example.com"}, {":path", "/"}}
	}
	var h Headers
	for _, f := range fill {
		if !m.Headers.Has(f.Key) {
			h = append(h, f)
		}
	}
	for _, l := range m.Headers {
		h = append(h, Header{strings.ToLower(l.Key), l.Value})
	}
	m.Headers = h
	return m
}

// String says in a few words what the client saw.
func (o Outcome) String() string {
	switch {
	case o.Gone:
		return "nothing: it left"
	case o.Reset:
		return "a reset after status " + strconv.Itoa(o.Status) + " (" + o.Details + ")"
	case !o.Complete:
		return "no complete response"
	}
	return "status " + strconv.Itoa(o.Status) + " " + o.Details
}
