package extproc

import "github.com/portcullis-av/portcullis/scan"

// phase is where one leg of an exchange stands.
//
//	awaiting ──headers──> passing     out of scope, or decided to pass: goes on as it comes
//	awaiting ──headers──> holding     the body arrives and is held
//	awaiting ──headers──> ended       headers without a body: answered at once
//	holding ──end──> judging          the body is complete, the verdict is awaited
//	holding ──decided──> passing      passed before its end: the held part, then the rest
//	judging ──decided──> releasing    FULL_DUPLEX: the held body is being sent
//	judging ──decided──> passing      BUFFERED: answered; trailers may follow
//	releasing ──released──> ended
//	passing ──end──> ended
//	holding, judging ──Envoy's own reply──> abandoned
//
// A refusal ends both legs at once; see [machine.refuse].
type phase uint8

const (
	awaiting phase = iota
	passing
	holding
	judging
	releasing
	ended
	abandoned
)

func (p phase) String() string {
	return [...]string{"awaiting", "passing", "holding", "judging", "releasing", "ended", "abandoned"}[p]
}

// mode is how Envoy delivers the body of a leg.
type mode uint8

const (
	// modeUnknown: Envoy did not say, or said something new. Never scanned.
	modeUnknown mode = iota
	modeNone
	modeStreamed
	modeBuffered
	modePartial
	modeDuplex
	// modeGRPC is in Envoy's API and, by its documentation, not implemented.
	modeGRPC
)

func (m mode) String() string {
	return [...]string{
		"unknown", "NONE", "STREAMED", "BUFFERED", "BUFFERED_PARTIAL", "FULL_DUPLEX_STREAMED", "GRPC",
	}[m]
}

// modes are the body modes of both legs.
type modes struct{ request, response mode }

// whole reports whether the mode hands over a body before any of it goes on.
func (m mode) whole() bool { return m == modeBuffered || m == modeDuplex }

// actionKind is what the stream's owner is to do.
type actionKind uint8

const (
	sendHeaders  actionKind = iota // the header answer
	sendBody                       // the answer to one body message, outside FULL_DUPLEX
	sendChunk                      // one streamed chunk, FULL_DUPLEX only
	sendTrailers                   // the trailers answer
	hold                           // give the data to the gate
	judge                          // the held body is complete: have it judged
	release                        // send the held body
	abandon                        // nobody waits for the leg's verdict any more
	refuse                         // answer with an ImmediateResponse
	fail                           // end the stream with an error
)

func (k actionKind) String() string {
	return [...]string{
		"send-headers", "send-body", "send-chunk", "send-trailers", "hold", "judge", "release", "abandon", "refuse", "fail",
	}[k]
}

// tail says what follows the held body of a release.
type tail uint8

const (
	tailEnd      tail = iota // the last chunk carries the end
	tailTrailers             // the trailers answer ends it
	tailMore                 // the rest of the body follows as it comes
)

// action is one thing to do; the zero values of unused fields say nothing.
type action struct {
	kind actionKind
	leg  scan.Leg
	data payload // sendChunk, hold
	end  bool    // sendChunk: the last one; hold: the body's last bytes
	tail tail    // release
	// marked says that this answer carries the leg's verdict to the other side.
	marked bool
	// ask are the body modes to ask Envoy for, on the request's header answer of
	// the adaptive profile.
	ask *modes
	// late says that a release's headers went out before the verdict.
	late bool
	// why is the reason of a fail, for people.
	why string
}
