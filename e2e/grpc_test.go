package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/portcullis-av/portcullis/e2e/payload"
	"github.com/portcullis-av/portcullis/e2e/rig"
	"github.com/portcullis-av/portcullis/envoy"
)

// grpcOrigin is a service with an ordinary call, which answers what it is told by
// the first byte, and a stream that sends on for ever.
type grpcOrigin struct {
	calls chan []byte
}

const infectedAnswer = '!'

func (o *grpcOrigin) echo(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) { //nolint:revive // grpc's signature
	in := &wrapperspb.BytesValue{}
	if err := decode(in); err != nil {
		return nil, err
	}
	o.calls <- in.GetValue()
	if bytes.HasPrefix(in.GetValue(), []byte{infectedAnswer}) {
		return wrapperspb.Bytes(payload.EICAR()), nil
	}
	return in, nil
}

func (o *grpcOrigin) forEver(_ any, stream grpc.ServerStream) error {
	for {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
		if err := stream.SendMsg(wrapperspb.Bytes([]byte("more"))); err != nil {
			return err
		}
	}
}

// start serves until the test ends, and returns where.
func (o *grpcOrigin) start(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // does not block
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "e2e.Echo", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Echo", Handler: o.echo}},
		Streams: []grpc.StreamDesc{{StreamName: "ForEver", Handler: o.forEver, ServerStreams: true}},
	}, o)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Serve(l) // ends by Stop only
	}()
	t.Cleanup(func() {
		s.Stop()
		<-ended
	})
	return l.Addr().String()
}

// gRPC with real libraries on both sides: ordinary calls are scanned on both legs
// and refused with a gRPC status; a stream that never ends is ended by a deadline.
func TestGRPC(t *testing.T) {
	t.Parallel()
	p := startPortcullis(t, rig.PortcullisOptions{Config: yaml([]string{`{name: builtin, builtin: {}}`}, []string{
		`{name: default, engines: [builtin], upload_timeout: 2s}`,
	})})
	for _, profile := range profiles() {
		t.Run(string(profile), func(t *testing.T) {
			service := &grpcOrigin{calls: make(chan []byte, 100)}
			e, address := startEnvoy(t, envoy.Options{Profile: profile, Upstream: service.start(t), UpstreamHTTP2: true, Processor: p.ExtProc})
			g := &gate{name: string(profile), envoy: e, portcullis: p}
			conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }() // nothing is under way
			g.unaryCalls(t, conn, service)
			g.endlessCall(t, conn)
			g.lawful(t)
			g.spoolEmpty(t)
		})
	}
}

func (g *gate) unaryCalls(t *testing.T, conn *grpc.ClientConn, service *grpcOrigin) {
	t.Helper()
	for name, row := range map[string]struct {
		send    []byte
		code    codes.Code
		reaches bool
	}{
		"clean":             {bytes.Repeat([]byte("clean "), 100<<10), codes.OK, true},
		"empty":             {nil, codes.OK, true},
		"infected request":  {payload.EICAR(), codes.PermissionDenied, false},
		"infected response": {[]byte{infectedAnswer}, codes.PermissionDenied, true},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), exchangeTimeout)
		out := &wrapperspb.BytesValue{}
		err := conn.Invoke(ctx, "/e2e.Echo/Echo", wrapperspb.Bytes(row.send), out)
		cancel()
		if status.Code(err) != row.code {
			t.Errorf("%s %s: %v, want %v", g.name, name, err, row.code)
		}
		if row.code == codes.OK && !bytes.Equal(out.GetValue(), row.send) {
			t.Errorf("%s %s: %d bytes came back of %d", g.name, name, len(out.GetValue()), len(row.send))
		}
		if row.code != codes.OK && len(out.GetValue()) != 0 {
			t.Errorf("%s %s: LEAK: %d bytes", g.name, name, len(out.GetValue()))
		}
		if reached := len(service.calls) > 0; reached != row.reaches {
			t.Errorf("%s %s: reached the service: %v", g.name, name, reached)
		}
		for len(service.calls) > 0 {
			<-service.calls
		}
	}
}

func (g *gate) endlessCall(t *testing.T, conn *grpc.ClientConn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), exchangeTimeout)
	defer cancel()
	start := time.Now()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/e2e.Echo/ForEver")
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.SendMsg(wrapperspb.Bytes(nil)); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	err = stream.RecvMsg(&wrapperspb.BytesValue{})
	took := time.Since(start)
	t.Logf("%s: an endless stream ended after %v: %v", g.name, took, err)
	if err == nil || took > 15*time.Second {
		t.Errorf("%s: an endless stream: %v after %v", g.name, err, took)
	}
	if g.name != string(envoy.Buffered) && status.Code(err) != codes.FailedPrecondition {
		t.Errorf("%s: an endless stream ended with %v", g.name, err)
	}
}
