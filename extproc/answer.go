package extproc

import (
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/gate"
)

// headersAnswer answers a headers message; mutation may be nil.
func headersAnswer(l scan.Leg, mutation *extprocv3.HeaderMutation) *extprocv3.ProcessingResponse {
	h := &extprocv3.HeadersResponse{Response: &extprocv3.CommonResponse{HeaderMutation: mutation}}
	if l == scan.Response {
		return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ResponseHeaders{ResponseHeaders: h}}
	}
	return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_RequestHeaders{RequestHeaders: h}}
}

// bodyAnswer answers one body message outside FULL_DUPLEX: Envoy's own copy of
// the bytes goes on. A mutation works in BUFFERED only, where the headers wait.
func bodyAnswer(l scan.Leg, mutation *extprocv3.HeaderMutation) *extprocv3.ProcessingResponse {
	b := &extprocv3.BodyResponse{Response: &extprocv3.CommonResponse{HeaderMutation: mutation}}
	if l == scan.Response {
		return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ResponseBody{ResponseBody: b}}
	}
	return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_RequestBody{RequestBody: b}}
}

// chunkAnswer is an [outChunk] as a message that can carry more.
func chunkAnswer(l scan.Leg, data []byte, end bool) *extprocv3.ProcessingResponse {
	r := bodyAnswer(l, nil)
	b := r.GetRequestBody()
	if l == scan.Response {
		b = r.GetResponseBody()
	}
	b.Response.BodyMutation = &extprocv3.BodyMutation{Mutation: &extprocv3.BodyMutation_StreamedResponse{
		StreamedResponse: &extprocv3.StreamedBodyResponse{Body: data, EndOfStream: end},
	}}
	return r
}

// modeOverride asks Envoy for bodies. Body modes are literal, an unset one means
// NONE; trailers must be sent, or the end of a body with trailers is never seen.
func modeOverride(m modes) *filterv3.ProcessingMode {
	return &filterv3.ProcessingMode{
		RequestHeaderMode: filterv3.ProcessingMode_SEND, ResponseHeaderMode: filterv3.ProcessingMode_SEND,
		RequestBodyMode: m.request.word(), ResponseBodyMode: m.response.word(),
		RequestTrailerMode: filterv3.ProcessingMode_SEND, ResponseTrailerMode: filterv3.ProcessingMode_SEND,
	}
}

// word is Envoy's word for a mode that we ask for.
func (m mode) word() filterv3.ProcessingMode_BodySendMode {
	switch m {
	case modeBuffered:
		return filterv3.ProcessingMode_BUFFERED
	case modeDuplex:
		return filterv3.ProcessingMode_FULL_DUPLEX_STREAMED
	case modeNone, modeUnknown, modeStreamed, modePartial, modeGRPC:
	}
	return filterv3.ProcessingMode_NONE
}

// trailersAnswer answers a trailers message and removes the named ones.
func trailersAnswer(l scan.Leg, remove []string) *extprocv3.ProcessingResponse {
	t := &extprocv3.TrailersResponse{}
	if len(remove) > 0 {
		t.HeaderMutation = &extprocv3.HeaderMutation{RemoveHeaders: remove}
	}
	if l == scan.Response {
		return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ResponseTrailers{ResponseTrailers: t}}
	}
	return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_RequestTrailers{RequestTrailers: t}}
}

// mutation sets the verdict header (verdict "" sets none), removes names and
// replaces headers.
func mutation(verdict string, remove []string, replace []gate.Header) *extprocv3.HeaderMutation {
	if verdict == "" && len(remove) == 0 && len(replace) == 0 {
		return nil
	}
	m := &extprocv3.HeaderMutation{RemoveHeaders: remove}
	if verdict != "" {
		m.SetHeaders = []*corev3.HeaderValueOption{setHeader(gate.HeaderVerdict, verdict)}
	}
	for _, h := range replace {
		m.SetHeaders = append(m.SetHeaders, setHeader(h.Name, h.Value))
	}
	return m
}

// setHeader overwrites a header, which is Envoy's default here: it ignores
// append_action (#36982), and reads raw_value only (#31555).
func setHeader(name, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: name, RawValue: []byte(value)}}
}

// immediateAnswer ends the exchange with an answer of our own. details stands in
// Envoy's %RESPONSE_CODE_DETAILS%.
func immediateAnswer(r gate.Refusal, details string) *extprocv3.ProcessingResponse {
	i := &extprocv3.ImmediateResponse{
		// Below 200 Envoy answers 200 OK, so the status is always set.
		Status:  &typev3.HttpStatus{Code: typev3.StatusCode(r.Status)}, //nolint:gosec // 403 to 503
		Headers: &extprocv3.HeaderMutation{},
		Body:    r.Body,
		Details: details,
	}
	for _, h := range r.Headers {
		i.Headers.SetHeaders = append(i.Headers.SetHeaders, setHeader(h.Name, h.Value))
	}
	if r.GRPC {
		i.GrpcStatus = &extprocv3.GrpcStatus{Status: uint32(r.GRPCStatus)} //nolint:gosec // 7 to 14
		i.Body = []byte(r.Message)
	}
	return &extprocv3.ProcessingResponse{
		Response: &extprocv3.ProcessingResponse_ImmediateResponse{ImmediateResponse: i},
	}
}

// details names a refusal in Envoy's access log: "portcullis_infected_malware".
func details(v scan.Verdict) string {
	return "portcullis_" + strings.ToLower(v.Outcome.String()) + "_" + strings.ReplaceAll(string(v.Cause), "-", "_")
}
