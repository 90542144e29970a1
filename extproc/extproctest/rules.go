package extproctest

import (
	"fmt"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
)

// Leg is one direction of an exchange.
type Leg uint8

// The two legs.
const (
	Request Leg = iota
	Response
)

// String returns "request" or "response".
func (l Leg) String() string {
	if l == Response {
		return "response"
	}
	return "request"
}

// Kind names a message of the conversation, in either direction, in the words
// of the conversation files.
type Kind string

// The kinds. A message Envoy sends has one of the first six; an answer has any.
const (
	RequestHeaders    Kind = "request-headers"
	RequestBody       Kind = "request-body"
	RequestTrailers   Kind = "request-trailers"
	ResponseHeaders   Kind = "response-headers"
	ResponseBody      Kind = "response-body"
	ResponseTrailers  Kind = "response-trailers"
	Immediate         Kind = "immediate"
	StreamedImmediate Kind = "streamed-immediate"
	// NoKind is a message whose oneof is empty or unknown.
	NoKind Kind = "empty"
)

// part is a third of a leg.
type part uint8

const (
	headersPart part = iota
	bodyPart
	trailersPart
)

// kindFor is the kind of a leg's part.
func kindFor(l Leg, p part) Kind {
	return [2][3]Kind{
		{RequestHeaders, RequestBody, RequestTrailers},
		{ResponseHeaders, ResponseBody, ResponseTrailers},
	}[l][p]
}

// KindOf returns the kind of an answer.
func KindOf(m *extprocv3.ProcessingResponse) Kind {
	switch m.GetResponse().(type) {
	case *extprocv3.ProcessingResponse_RequestHeaders:
		return RequestHeaders
	case *extprocv3.ProcessingResponse_RequestBody:
		return RequestBody
	case *extprocv3.ProcessingResponse_RequestTrailers:
		return RequestTrailers
	case *extprocv3.ProcessingResponse_ResponseHeaders:
		return ResponseHeaders
	case *extprocv3.ProcessingResponse_ResponseBody:
		return ResponseBody
	case *extprocv3.ProcessingResponse_ResponseTrailers:
		return ResponseTrailers
	case *extprocv3.ProcessingResponse_ImmediateResponse:
		return Immediate
	case *extprocv3.ProcessingResponse_StreamedImmediateResponse:
		return StreamedImmediate
	}
	return NoKind
}

// Rule names one thing a processor must not do. The list is closed.
type Rule string

// Rules whose breach Envoy notices: it ends the exchange with status_on_error,
// or lets it pass unscanned under failure_mode_allow (Envoy 1.35 and newer).
const (
	// RuleUnsolicited: an answer while nothing awaits one.
	RuleUnsolicited Rule = "unsolicited"
	// RuleWrongKind: an answer of one kind while another kind is awaited.
	RuleWrongKind Rule = "wrong-kind"
	// RuleOutOfOrder: an answer to a younger message before the oldest.
	RuleOutOfOrder Rule = "out-of-order"
	// RuleEmptyMessage: no or an unknown answer in the message.
	RuleEmptyMessage Rule = "empty-message"
	// RuleBodyBeforeHeaders: a body answer before the header answer in
	// FULL_DUPLEX_STREAMED.
	RuleBodyBeforeHeaders Rule = "body-before-headers"
	// RuleStreamedOutsideDuplex: streamed_response in any other body mode.
	RuleStreamedOutsideDuplex Rule = "streamed-outside-duplex"
	// RuleBodyInDuplex: a body answer without streamed_response in
	// FULL_DUPLEX_STREAMED.
	RuleBodyInDuplex Rule = "body-in-duplex"
	// RuleAfterBodyEnd: a body answer after the leg's end was emitted.
	RuleAfterBodyEnd Rule = "after-body-end"
	// RuleTrailersUnasked: a trailers answer where no trailers exist.
	RuleTrailersUnasked Rule = "trailers-unasked"
	// RuleImmediateDisabled: an ImmediateResponse despite
	// disable_immediate_response.
	RuleImmediateDisabled Rule = "immediate-disabled"
	// RuleUnsupported: a message that this fake does not take
	// (StreamedImmediateResponse), although Envoy 1.37 does in one state.
	RuleUnsupported Rule = "unsupported"
	// RuleBadMutation: a header mutation that Envoy rejects: both value and
	// raw_value, forbidden characters, more than 100 headers or 60 KiB.
	RuleBadMutation Rule = "bad-mutation"
	// RuleCompressed: a compressed gRPC message.
	RuleCompressed Rule = "compressed"
)

// Rules whose breach Envoy does not report: it loses something, passes
// something wrong, or waits.
const (
	// RuleEarlyEnd: end_of_stream emitted before Envoy announced the end.
	RuleEarlyEnd Rule = "early-end"
	// RuleEndWithTrailers: end_of_stream emitted on a leg that has trailers;
	// the trailers answer is the end there.
	RuleEndWithTrailers Rule = "end-with-trailers"
	// RuleNoEnd: a released leg whose end was never emitted.
	RuleNoEnd Rule = "no-end"
	// RuleChunkTooLarge: more than 64 KiB in one streamed_response.
	RuleChunkTooLarge Rule = "chunk-too-large"
	// RuleHeaderValue: `value` instead of raw_value; Envoy sets an empty
	// header (#31555).
	RuleHeaderValue Rule = "header-value"
	// RuleAppendAction: an append_action that asks for something else than
	// what Envoy does, which ignores it (#36982).
	RuleAppendAction Rule = "append-action"
	// RuleIgnoredMutation: a mutation in a place where Envoy drops it.
	RuleIgnoredMutation Rule = "ignored-mutation"
	// RuleImmediateStatus: ImmediateResponse without a status of 200 or more;
	// the client would get 200 OK.
	RuleImmediateStatus Rule = "immediate-status"
	// RuleAfterEnd: a message after Envoy is finished with the stream.
	RuleAfterEnd Rule = "after-end"
	// RuleObserved: an answer in observability mode.
	RuleObserved Rule = "answered-in-observability-mode"
	// RuleInvalid: a message that its own field constraints reject.
	RuleInvalid Rule = "invalid-message"
	// RuleLength: the bytes emitted are not what content-length declares.
	RuleLength Rule = "length-mismatch"
	// RuleOverrideTimeout: override_message_timeout that Envoy ignores, or
	// beside an answer, which is then lost.
	RuleOverrideTimeout Rule = "override-timeout"
	// RuleMessageTimeout: no answer within message_timeout.
	RuleMessageTimeout Rule = "message-timeout"
	// RuleCleanClose: the RPC ended with OK while a leg was undecided: Envoy
	// passes the exchange unscanned, whatever failure_mode_allow says.
	RuleCleanClose Rule = "clean-close"
	// RuleHang: nothing moved for stream_idle_timeout.
	RuleHang Rule = "hang"
)

// Violation is one breach of the protocol by the processor.
type Violation struct {
	Rule Rule
	// Detail says what was seen, for a person.
	Detail string
	// Fatal means that Envoy notices and ends the exchange (or fails open).
	Fatal bool
}

// String returns the rule and the detail.
func (v Violation) String() string { return fmt.Sprintf("%s: %s", v.Rule, v.Detail) }

func fatal(r Rule, format string, a ...any) Violation {
	return Violation{Rule: r, Detail: fmt.Sprintf(format, a...), Fatal: true}
}

func minor(r Rule, format string, a ...any) Violation {
	return Violation{Rule: r, Detail: fmt.Sprintf(format, a...)}
}
