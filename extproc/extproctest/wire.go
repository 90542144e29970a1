package extproctest

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
)

// Serve runs srv on an in-memory listener and returns a connection to it; both
// end with the test. Inside a synctest bubble call it in the bubble.
func Serve(t testing.TB, srv extprocv3.ExternalProcessorServer, opts ...grpc.ServerOption) *grpc.ClientConn {
	t.Helper()
	lis := bufconn.Listen(1 << 20)
	// Handlers are waited for, so that one that ignores the end of its stream
	// blocks its own test rather than leaking into the next.
	server := grpc.NewServer(append(opts, grpc.WaitForHandlers(true))...)
	extprocv3.RegisterExternalProcessorServer(server, srv)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(lis) // ends with Stop
	}()
	conn, err := grpc.NewClient("passthrough:///bufconn",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()), WatchCompression())
	if err != nil {
		t.Fatalf("connect over bufconn: %v", err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		server.Stop()
		<-served
	})
	return conn
}

// WatchCompression is the dial option by which compressed answers are seen
// ([RuleCompressed]); [Serve] sets it. On a connection without it grpc-go
// decompresses silently.
func WatchCompression() grpc.DialOption { return grpc.WithStatsHandler(compressionWatch{}) }

type compressedKey struct{}

type compressionWatch struct{}

var _ stats.Handler = compressionWatch{}

func (compressionWatch) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

func (compressionWatch) HandleRPC(ctx context.Context, s stats.RPCStats) {
	h, ok := s.(*stats.InHeader)
	if !ok || h.Compression == "" || h.Compression == encoding.Identity {
		return
	}
	if seen, ok := ctx.Value(compressedKey{}).(*atomic.Bool); ok {
		seen.Store(true)
	}
}

func (compressionWatch) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context {
	return ctx
}

func (compressionWatch) HandleConn(context.Context, stats.ConnStats) {}

// inbound is one thing the processor did: an answer, or the end of the RPC
// (io.EOF when it ended with OK).
type inbound struct {
	msg *extprocv3.ProcessingResponse
	err error
}

// wire is one gRPC stream with a reader and a writer of its own, so that its
// owner never blocks: answers pile up in an inbox, messages in an outbox.
type wire struct {
	stream     extprocv3.ExternalProcessor_ProcessClient
	cancel     context.CancelFunc
	compressed *atomic.Bool
	done       sync.WaitGroup
	// changed holds a token after anything happened that the owner may wait for.
	changed chan struct{}
	// work holds a token after the outbox changed.
	work chan struct{}

	mu      sync.Mutex
	inbox   []inbound
	outbox  []*extprocv3.ProcessingRequest
	waiting int // bytes in the outbox
	half    bool
	broken  bool // Send failed; the reader learns why
}

// dialStream opens the gRPC stream. Only the opening obeys ctx: Envoy's side
// stream has no deadline, so none may reach the processor.
func dialStream(ctx context.Context, conn grpc.ClientConnInterface, meta map[string]string, opts ...grpc.CallOption) (*wire, error) {
	opening := ctx
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(opening, cancel)
	defer stop()
	w := &wire{
		cancel: cancel, compressed: new(atomic.Bool),
		changed: make(chan struct{}, 1), work: make(chan struct{}, 1),
	}
	ctx = context.WithValue(ctx, compressedKey{}, w.compressed)
	ctx = metadata.NewOutgoingContext(ctx, metadata.New(meta))
	stream, err := extprocv3.NewExternalProcessorClient(conn).Process(ctx, append(opts, grpc.MaxCallRecvMsgSize(64<<20))...)
	if err != nil {
		cancel()
		return nil, err
	}
	w.stream = stream
	w.done.Go(w.read)
	w.done.Go(func() { w.write(ctx.Done()) })
	return w, nil
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (w *wire) read() {
	for {
		m, err := w.stream.Recv()
		w.mu.Lock()
		w.inbox = append(w.inbox, inbound{m, err})
		w.mu.Unlock()
		signal(w.changed)
		if err != nil {
			return
		}
	}
}

func (w *wire) write(ended <-chan struct{}) {
	for {
		w.mu.Lock()
		if len(w.outbox) == 0 && w.half {
			w.mu.Unlock()
			_ = w.stream.CloseSend()
			return
		}
		var m *extprocv3.ProcessingRequest
		if len(w.outbox) > 0 {
			m = w.outbox[0]
		}
		w.mu.Unlock()
		if m == nil {
			select {
			case <-w.work:
				continue
			case <-ended:
				return
			}
		}
		err := w.stream.Send(m)
		w.mu.Lock()
		w.outbox[0] = nil // let go of the body
		w.outbox = w.outbox[1:]
		w.waiting -= proto.Size(m)
		w.broken = err != nil
		w.mu.Unlock()
		signal(w.changed)
		if err != nil {
			return
		}
	}
}

// send queues m.
func (w *wire) send(m *extprocv3.ProcessingRequest) {
	w.mu.Lock()
	w.outbox = append(w.outbox, m)
	w.waiting += proto.Size(m)
	w.mu.Unlock()
	signal(w.work)
}

// unsent is the number of bytes the processor's window does not take yet.
func (w *wire) unsent() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.waiting
}

// take returns the next thing the processor did, if any.
func (w *wire) take() (inbound, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.inbox) == 0 {
		return inbound{}, false
	}
	in := w.inbox[0]
	w.inbox = w.inbox[1:]
	return in, true
}

// halfClose sends END_STREAM after everything queued.
func (w *wire) halfClose() {
	w.mu.Lock()
	w.half = true
	w.mu.Unlock()
	signal(w.work)
}

// close sends RST_STREAM if the stream is still open and waits until reader
// and writer are gone.
func (w *wire) close() {
	w.cancel()
	w.done.Wait()
}

// cleanEnd reports whether err ends the RPC with OK.
func cleanEnd(err error) bool { return errors.Is(err, io.EOF) }
