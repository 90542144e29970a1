package extproc

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"golang.org/x/sync/semaphore"
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
	// ReleaseBytes bounds the bytes that are being sent to Envoy at once over all
	// exchanges; 128 MiB. Envoy keeps what a slow receiver does not take, so this
	// is what it can be given in one burst.
	ReleaseBytes int64
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
	if c.ReleaseBytes <= 0 {
		c.ReleaseBytes = 128 << 20
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
	// releases are the bytes that may be on their way to Envoy at once.
	releases *semaphore.Weighted
	// waiting are the bytes for which the spool has no room yet.
	waiting *semaphore.Weighted
}

var _ extprocv3.ExternalProcessorServer = (*Server)(nil)

// NewServer returns a server that brings bodies to g.
func NewServer(g *gate.Gate, cfg Config, log *slog.Logger, m *Metrics) *Server {
	cfg = cfg.withDefaults()
	return &Server{
		gate: g, cfg: cfg, log: log, metrics: m,
		releases: semaphore.NewWeighted(cfg.ReleaseBytes), waiting: semaphore.NewWeighted(waitBytes),
	}
}

// Process serves one exchange. It returns OK only after Envoy has closed its
// side with nothing undecided, or after a refusal; anything else is an error, by
// which Envoy fails closed.
func (s *Server) Process(g grpc.BidiStreamingServer[extprocv3.ProcessingRequest, extprocv3.ProcessingResponse]) error {
	st := newStream(s, g)
	done := make(chan error, 1)
	s.gate.Go(func() { done <- st.run() })
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

// MetadataAdaptive is the gRPC initial metadata by which a generated filter of the
// adaptive profile says that it obeys mode overrides, and up to which declared
// length, in bytes, it can buffer a request. Nothing else tells: without it a
// body that Envoy does not send is refused rather than asked for in vain.
const MetadataAdaptive = "x-portcullis-adaptive"

// adaptiveLimit reads [MetadataAdaptive]; what is no number is no permission.
func adaptiveLimit(ctx context.Context) (limit int64, ok bool) {
	values := metadata.ValueFromIncomingContext(ctx, MetadataAdaptive)
	if len(values) != 1 {
		return 0, false
	}
	limit, err := strconv.ParseInt(values[0], 10, 64)
	return limit, err == nil && limit >= 0
}

// peerGone reports whether a receive error is Envoy's ordinary way to end: it
// sends END_STREAM and RST_STREAM together, so either can be seen first (#22727).
func peerGone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, context.Canceled) || status.Code(err) == codes.Canceled
}
