package extproctest

import (
	"crypto/sha256"
	"slices"
	"strconv"
	"strings"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// spurious is Envoy's reaction to a message that breaks the protocol.
func (x *run) spurious() {
	open := x.cfg.FailureModeAllow || x.cfg.Quirks.SpuriousFailsOpen
	x.failAs(open, x.cfg.StatusOnError, "ext_proc_error_spurious_message")
}

// fail ends the exchange with an error of Envoy, or fails open.
func (x *run) fail(code int, details string) {
	x.failAs(x.cfg.FailureModeAllow, code, details)
}

func (x *run) failAs(open bool, code int, details string) {
	x.drop()
	if open && !x.duplexBodySent() {
		x.res.FailedOpen = true
		x.letPass()
		return
	}
	x.reply(code, nil, nil, details)
}

// duplexBodySent: once a byte of a FULL_DUPLEX_STREAMED body has gone to the
// processor Envoy holds no copy and cannot fail open (1.36, #41276).
func (x *run) duplexBodySent() bool {
	for _, l := range x.legs {
		if duplex(l.mode()) && l.book.bodySent {
			return true
		}
	}
	return false
}

func (x *run) letPass() {
	for _, l := range x.legs {
		l.active = false
		l.passAll()
	}
}

// bypass is what Envoy does when the processor ends the RPC with OK too soon:
// everything passes unscanned. Where a FULL_DUPLEX_STREAMED body was under way
// the headers go on, what the processor had is lost, and the exchange hangs;
// the wait itself is left out.
func (x *run) bypass() {
	x.res.Bypass = true
	x.violate(minor(RuleCleanClose, "the RPC ended with OK while a leg was undecided"))
	lost := false
	for _, l := range x.legs {
		if duplex(l.mode()) && l.book.bodySent && !l.finished && !l.dead {
			l.passHeaders()
			lost = true
		}
	}
	if lost {
		x.hang("the bytes that the processor had are lost")
		x.done = true
		return
	}
	x.letPass()
}

// overflow is a BUFFERED body over the buffer limit.
func (x *run) overflow(l *leg) {
	if l.which == Request {
		x.localReply(413, "request_payload_too_large")
		return
	}
	x.reply(500, nil, nil, "response_payload_too_large")
}

// immediate carries out an ImmediateResponse.
func (x *run) immediate(m *extprocv3.ImmediateResponse) {
	code := int(m.GetStatus().GetCode())
	if code < 200 {
		code = 200
	}
	grpcStatus := -1
	if m.GetGrpcStatus() != nil {
		grpcStatus = int(m.GetGrpcStatus().GetStatus())
	}
	if x.grpcClient() {
		x.replyGRPC(code, grpcStatus, m)
		return
	}
	h := Headers{{":status", strconv.Itoa(code)}}
	if len(m.GetBody()) > 0 {
		h = append(h, Header{"content-length", strconv.Itoa(len(m.GetBody()))}, Header{"content-type", "text/plain"})
	}
	x.reply(code, h.apply(m.GetHeaders()), m.GetBody(), m.GetDetails())
}

func (x *run) grpcClient() bool {
	return strings.HasPrefix(x.legs[Request].headers.Get("content-type"), "application/grpc")
}

// replyGRPC is the form a gRPC client gets: 200, trailers only.
func (x *run) replyGRPC(code, grpcStatus int, m *extprocv3.ImmediateResponse) {
	if grpcStatus < 0 {
		grpcStatus = map[int]int{400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}[code]
		if grpcStatus == 0 {
			grpcStatus = 2
		}
	}
	h := Headers{
		{":status", "200"},
		{"content-type", "application/grpc"},
		{"grpc-status", strconv.Itoa(grpcStatus)},
		{"grpc-message", string(m.GetBody())},
	}
	x.reply(200, h.apply(m.GetHeaders()), nil, m.GetDetails())
}

// reply answers the client past this processor: cleanly if no response headers
// were sent yet, else by a reset.
func (x *run) reply(code int, h Headers, body []byte, details string) {
	c := &x.res.Client
	x.done = true
	c.Local, c.Details = true, strings.Join(strings.Fields(details), "_")
	if c.Reached {
		c.Reset = true
		x.event("client reset", 0)
		return
	}
	if x.legs[Request].headers.Get(":method") == "HEAD" {
		body = nil
	}
	if h == nil {
		h = H(":status", strconv.Itoa(code))
	}
	c.Reached, c.Complete = true, true
	c.Status, c.Headers = code, h
	c.Body, c.Size, c.SHA256 = body, int64(len(body)), sha256.Sum256(body)
	x.event("client local reply", len(body))
}

// localReply is an error of Envoy's own. It abandons the request; before any
// response exists it passes the processor's response leg (since 1.37, #41769).
func (x *run) localReply(code int, details string) {
	if x.legs[Response].headersIn {
		x.reply(code, nil, nil, details)
		return
	}
	x.legs[Request].dead = true
	x.legs[Request].deadline = time.Time{}
	x.res.Client.Local, x.res.Client.Details = true, details
	body := []byte(strings.ReplaceAll(details, "_", " "))
	x.legs[Response].begin(Message{
		Headers: H(":status", strconv.Itoa(code), "content-length", strconv.Itoa(len(body)), "content-type", "text/plain"),
		Body:    [][]byte{body},
	})
}

func (x *run) extend(m *extprocv3.ProcessingResponse) {
	taken := false
	for _, l := range x.legs {
		if !l.deadline.IsZero() && !l.extended {
			l.deadline, l.extended = time.Now().Add(m.GetOverrideMessageTimeout().AsDuration()), true
			taken = true
		}
	}
	if !taken {
		x.violate(minor(RuleOverrideTimeout, "no timer runs, or it was extended already"))
	}
}

func (x *run) metadata(m *structpb.Struct) {
	for ns, v := range m.GetFields() {
		s := v.GetStructValue()
		if s == nil || !slices.Contains(x.cfg.ReceivingNamespaces, ns) {
			x.res.MetadataDropped = append(x.res.MetadataDropped, ns)
			continue
		}
		if x.res.Metadata == nil {
			x.res.Metadata = map[string]*structpb.Struct{}
		}
		if x.res.Metadata[ns] == nil {
			x.res.Metadata[ns] = &structpb.Struct{Fields: map[string]*structpb.Value{}}
		}
		for k, field := range s.GetFields() {
			x.res.Metadata[ns].Fields[k] = field
		}
	}
}
