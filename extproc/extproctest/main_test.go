package extproctest_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type (
	request  = extprocv3.ProcessingRequest
	response = extprocv3.ProcessingResponse
	server   = extprocv3.ExternalProcessor_ProcessServer
)

// processor makes a server of a function.
type processor struct {
	extprocv3.UnimplementedExternalProcessorServer
	process func(server) error
}

func (p processor) Process(s server) error { return p.process(s) }

// Builders of answers.

func common(c *extprocv3.CommonResponse) *extprocv3.HeadersResponse {
	return &extprocv3.HeadersResponse{Response: c}
}

func requestHeaders(c *extprocv3.CommonResponse) *response {
	return &response{Response: &extprocv3.ProcessingResponse_RequestHeaders{RequestHeaders: common(c)}}
}

func responseHeaders(c *extprocv3.CommonResponse) *response {
	return &response{Response: &extprocv3.ProcessingResponse_ResponseHeaders{ResponseHeaders: common(c)}}
}

func requestBody(m *extprocv3.BodyMutation) *response {
	c := &extprocv3.BodyResponse{Response: &extprocv3.CommonResponse{BodyMutation: m}}
	return &response{Response: &extprocv3.ProcessingResponse_RequestBody{RequestBody: c}}
}

func responseBody(m *extprocv3.BodyMutation) *response {
	c := &extprocv3.BodyResponse{Response: &extprocv3.CommonResponse{BodyMutation: m}}
	return &response{Response: &extprocv3.ProcessingResponse_ResponseBody{ResponseBody: c}}
}

func requestTrailers() *response {
	return &response{Response: &extprocv3.ProcessingResponse_RequestTrailers{RequestTrailers: &extprocv3.TrailersResponse{}}}
}

func responseTrailers() *response {
	return &response{Response: &extprocv3.ProcessingResponse_ResponseTrailers{ResponseTrailers: &extprocv3.TrailersResponse{}}}
}

func immediate(code int32, body string) *response {
	m := &extprocv3.ImmediateResponse{Status: &typev3.HttpStatus{Code: typev3.StatusCode(code)}, Body: []byte(body), Details: "blocked by test"}
	return &response{Response: &extprocv3.ProcessingResponse_ImmediateResponse{ImmediateResponse: m}}
}

func chunk(b []byte, end bool) *extprocv3.BodyMutation {
	return &extprocv3.BodyMutation{Mutation: &extprocv3.BodyMutation_StreamedResponse{
		StreamedResponse: &extprocv3.StreamedBodyResponse{Body: b, EndOfStream: end},
	}}
}

func whole(b []byte) *extprocv3.BodyMutation {
	return &extprocv3.BodyMutation{Mutation: &extprocv3.BodyMutation_Body{Body: b}}
}

func setHeader(v *corev3.HeaderValueOption) *extprocv3.CommonResponse {
	return &extprocv3.CommonResponse{HeaderMutation: &extprocv3.HeaderMutation{SetHeaders: []*corev3.HeaderValueOption{v}}}
}

func rawHeader(key, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: key, RawValue: []byte(value)}}
}

// gate is a right processor: it holds every body, blocks those that contain
// "malware", and obeys the mode that protocol_config tells.
type gate struct {
	s     server
	modes [2]filterv3.ProcessingMode_BodySendMode
	legs  [2]gateLeg
	// afterHeaders: the header answer was given, with a mode override
	afterHeaders [2]bool
}

type gateLeg struct {
	held     []byte
	answered bool // released
}

// rightly is the gate as a process function.
func rightly(s server) error { return (&gate{s: s}).run() }

func (g *gate) run() error {
	for {
		m, err := g.s.Recv()
		if errors.Is(err, io.EOF) || status.Code(err) == codes.Canceled {
			return nil
		}
		if err != nil {
			return err
		}
		if p := m.GetProtocolConfig(); p != nil {
			g.modes[0], g.modes[1] = p.GetRequestBodyMode(), p.GetResponseBodyMode()
		}
		if m.GetObservabilityMode() {
			continue
		}
		if err := g.message(m); err != nil {
			return err
		}
	}
}

func (g *gate) message(m *request) error {
	switch r := m.GetRequest().(type) {
	case *extprocv3.ProcessingRequest_RequestHeaders:
		return g.headers(0, r.RequestHeaders.GetEndOfStream())
	case *extprocv3.ProcessingRequest_ResponseHeaders:
		return g.headers(1, r.ResponseHeaders.GetEndOfStream())
	case *extprocv3.ProcessingRequest_RequestBody:
		return g.body(0, r.RequestBody)
	case *extprocv3.ProcessingRequest_ResponseBody:
		return g.body(1, r.ResponseBody)
	case *extprocv3.ProcessingRequest_RequestTrailers:
		return g.trailers(0)
	case *extprocv3.ProcessingRequest_ResponseTrailers:
		return g.trailers(1)
	}
	return status.Error(codes.InvalidArgument, "unknown message")
}

func (g *gate) duplex(l int) bool {
	return g.modes[l] == filterv3.ProcessingMode_FULL_DUPLEX_STREAMED
}

func (g *gate) headerAnswer(l int) *response {
	return []*response{requestHeaders(setHeader(rawHeader("x-verdict", "clean"))), responseHeaders(nil)}[l]
}

func (g *gate) headers(l int, end bool) error {
	if end || !g.duplex(l) {
		return g.s.Send(g.headerAnswer(l))
	}
	return nil
}

func (g *gate) bodyAnswer(l int, m *extprocv3.BodyMutation) *response {
	if l == 0 {
		return requestBody(m)
	}
	return responseBody(m)
}

func (g *gate) body(l int, b *extprocv3.HttpBody) error {
	leg := &g.legs[l]
	if leg.answered { // #46237: a second end
		return nil
	}
	leg.held = append(leg.held, b.GetBody()...)
	if bytes.Contains(leg.held, []byte("malware")) {
		return g.s.Send(immediate(403, "malware found"))
	}
	if !g.duplex(l) {
		leg.held = nil
		return g.s.Send(g.bodyAnswer(l, nil))
	}
	if b.GetEndOfStream() {
		return g.release(l, true)
	}
	return nil
}

func (g *gate) release(l int, end bool) error {
	leg := &g.legs[l]
	leg.answered = true
	if !g.afterHeaders[l] {
		if err := g.s.Send(g.headerAnswer(l)); err != nil {
			return err
		}
	}
	rest := leg.held
	for len(rest) > 64<<10 {
		if err := g.s.Send(g.bodyAnswer(l, chunk(rest[:64<<10], false))); err != nil {
			return err
		}
		rest = rest[64<<10:]
	}
	if end || len(rest) > 0 {
		return g.s.Send(g.bodyAnswer(l, chunk(rest, end)))
	}
	return nil
}

func (g *gate) trailers(l int) error {
	if g.duplex(l) {
		if err := g.release(l, false); err != nil {
			return err
		}
	}
	return g.s.Send([]*response{requestTrailers(), responseTrailers()}[l])
}
