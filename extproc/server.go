package extproc

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/portcullis-av/portcullis/scan/gate"
)

// MetadataPolicy is the gRPC initial metadata by which Envoy's route names the
// policy (ExtProcPerRoute overrides, grpc_initial_metadata). A client of Envoy
// cannot set it.
const MetadataPolicy = "x-portcullis-policy"

// Config are the server's bounds. Zero values mean the defaults named.
type Config struct {
	// MaxExchange bounds the life of one stream, whatever it waits for; 1 h.
	// Over it the stream ends with an error while anything is undecided.
	MaxExchange time.Duration
	// SendTimeout bounds one Send: Envoy takes answers at once or is gone; 30 s.
	SendTimeout time.Duration
	// CloseTimeout is how long a refused stream waits for Envoy's close; 5 s.
	CloseTimeout time.Duration
}

func (c Config) withDefaults() Config {
	if c.MaxExchange <= 0 {
		c.MaxExchange = time.Hour
	}
	if c.SendTimeout <= 0 {
		c.SendTimeout = 30 * time.Second
	}
	if c.CloseTimeout <= 0 {
		c.CloseTimeout = 5 * time.Second
	}
	return c
}

// Server is Envoy's ExternalProcessor service on a gate.
type Server struct {
	extprocv3.UnimplementedExternalProcessorServer

	gate    *gate.Gate
	cfg     Config
	log     *slog.Logger
	metrics *Metrics
}

var _ extprocv3.ExternalProcessorServer = (*Server)(nil)

// NewServer returns a server that brings bodies to g.
func NewServer(g *gate.Gate, cfg Config, log *slog.Logger, m *Metrics) *Server {
	return &Server{gate: g, cfg: cfg.withDefaults(), log: log, metrics: m}
}

// Process serves one exchange. It returns OK only after Envoy has closed its
// side with nothing undecided, or after a refusal; anything else is an error, by
// which Envoy fails closed.
func (s *Server) Process(g grpc.BidiStreamingServer[extprocv3.ProcessingRequest, extprocv3.ProcessingResponse]) error {
	st := newStream(s, g)
	done := make(chan error, 1)
	go func() { done <- st.run() }()
	select {
	case err := <-done:
		return err
	case <-st.stuck:
		// Returning ends the stream, and with it the Send that hangs.
		return status.Error(codes.DeadlineExceeded, "Envoy did not take an answer within "+s.cfg.SendTimeout.String())
	}
}

// routePolicy is the policy that Envoy's route names, or "". Two values name no
// policy that exists, which refuses the exchange.
func routePolicy(ctx context.Context) string {
	return strings.Join(metadata.ValueFromIncomingContext(ctx, MetadataPolicy), ",")
}

// peerGone reports whether a receive error is Envoy's ordinary way to end: it
// sends END_STREAM and RST_STREAM together, so either can be seen first (#22727).
func peerGone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, context.Canceled) || status.Code(err) == codes.Canceled
}
