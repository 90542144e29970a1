package nullproc

import (
	"errors"
	"io"
	"net"
	"sync/atomic"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

// maxMessage is above every body that the tests send through mode BUFFERED.
const maxMessage = 64 << 20

// Fault makes a server misbehave; the zero value does not.
type Fault struct {
	// At is the number of the message, from 1, that is not answered as it
	// should be; 0: none.
	At int64
	// Code ends the stream with this status; codes.OK falls silent instead.
	Code codes.Code
	// Close ends the stream cleanly instead, which Envoy takes for "go on".
	Close bool
}

// Server is a listening null processor.
type Server struct {
	grpc  *grpc.Server
	addr  string
	fault Fault
	ended chan struct{}
	open  atomic.Int64
}

// Start listens on a free loopback port; the caller closes it.
func Start(f Fault) (*Server, error) { return StartAt("127.0.0.1:0", f) }

// StartAt is [Start] on an address of the caller's choice.
func StartAt(address string, f Fault) (*Server, error) {
	l, err := net.Listen("tcp", address) //nolint:noctx // does not block
	if err != nil {
		return nil, err
	}
	s := &Server{addr: l.Addr().String(), fault: f, ended: make(chan struct{})}
	s.grpc = grpc.NewServer(
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 1, PermitWithoutStream: true}),
	)
	extprocv3.RegisterExternalProcessorServer(s.grpc, &processor{server: s})
	healthpb.RegisterHealthServer(s.grpc, health.NewServer())
	go func() {
		defer close(s.ended)
		_ = s.grpc.Serve(l) // ends by Close only
	}()
	return s, nil
}

// Address is the host:port it listens on.
func (s *Server) Address() string { return s.addr }

// Open is the number of streams being served.
func (s *Server) Open() int64 { return s.open.Load() }

// Close ends all streams.
func (s *Server) Close() {
	s.grpc.Stop()
	<-s.ended
}

type processor struct {
	extprocv3.UnimplementedExternalProcessorServer
	server *Server
}

// Process answers message by message, so it needs neither a second goroutine
// nor any state but the two body modes.
func (p *processor) Process(stream extprocv3.ExternalProcessor_ProcessServer) error {
	p.server.open.Add(1)
	defer p.server.open.Add(-1)
	var request, response bool // FULL_DUPLEX_STREAMED?
	for n := int64(1); ; n++ {
		msg, err := stream.Recv()
		if errors.Is(err, io.EOF) || status.Code(err) == codes.Canceled {
			return nil
		}
		if err != nil {
			return err
		}
		if f := p.server.fault; f.At == n {
			return misbehave(stream, f)
		}
		if c := msg.GetProtocolConfig(); c != nil {
			request = c.GetRequestBodyMode() == filterv3.ProcessingMode_FULL_DUPLEX_STREAMED
			response = c.GetResponseBodyMode() == filterv3.ProcessingMode_FULL_DUPLEX_STREAMED
		}
		if err := stream.Send(answer(msg, request, response)); err != nil {
			return err
		}
	}
}

func misbehave(stream extprocv3.ExternalProcessor_ProcessServer, f Fault) error {
	switch {
	case f.Close:
		return nil
	case f.Code != codes.OK:
		return status.Error(f.Code, "told to fail")
	}
	for { // read on, so that only the answer is missing
		if _, err := stream.Recv(); err != nil {
			return err
		}
	}
}

func answer(msg *extprocv3.ProcessingRequest, request, response bool) *extprocv3.ProcessingResponse {
	switch m := msg.GetRequest().(type) {
	case *extprocv3.ProcessingRequest_RequestHeaders:
		return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_RequestHeaders{RequestHeaders: &extprocv3.HeadersResponse{
			Response: &extprocv3.CommonResponse{HeaderMutation: &extprocv3.HeaderMutation{SetHeaders: []*corev3.HeaderValueOption{{
				Header: &corev3.HeaderValue{Key: "x-null-processor", RawValue: []byte("1")},
			}}}},
		}}}
	case *extprocv3.ProcessingRequest_ResponseHeaders:
		return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ResponseHeaders{ResponseHeaders: &extprocv3.HeadersResponse{}}}
	case *extprocv3.ProcessingRequest_RequestBody:
		return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_RequestBody{RequestBody: echo(m.RequestBody, request)}}
	case *extprocv3.ProcessingRequest_ResponseBody:
		return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ResponseBody{ResponseBody: echo(m.ResponseBody, response)}}
	case *extprocv3.ProcessingRequest_RequestTrailers:
		return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_RequestTrailers{RequestTrailers: &extprocv3.TrailersResponse{}}}
	default: // response trailers, the last of the six
		return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ResponseTrailers{ResponseTrailers: &extprocv3.TrailersResponse{}}}
	}
}

func echo(b *extprocv3.HttpBody, duplex bool) *extprocv3.BodyResponse {
	if !duplex {
		return &extprocv3.BodyResponse{}
	}
	return &extprocv3.BodyResponse{Response: &extprocv3.CommonResponse{BodyMutation: &extprocv3.BodyMutation{
		Mutation: &extprocv3.BodyMutation_StreamedResponse{StreamedResponse: &extprocv3.StreamedBodyResponse{
			Body: b.GetBody(), EndOfStream: b.GetEndOfStream(),
		}},
	}}}
}
