package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"time"

	grpcprom "github.com/grpc-ecosystem/go-grpc-middleware/providers/prometheus"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/logging"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/recovery"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/selector"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"

	configv1 "github.com/portcullis-av/portcullis/cmd/portcullis/config/v1"
	"github.com/portcullis-av/portcullis/extproc"
	"github.com/portcullis-av/portcullis/scan"
)

// The windows bound what Envoy may send ahead of us on one stream and on one
// connection; pinned, because grpc-go would otherwise grow them to 16 MiB. The
// buffers are of connections, of which there are few: large ones save system calls.
const (
	streamWindow     = 256 << 10
	connectionWindow = 4 << 20
	ioBuffer         = 128 << 10
)

// streamWorkers are goroutines that wait for streams, so that those need not
// grow a stack each. More streams than these start goroutines of their own.
const streamWorkers = 64

// newGRPC makes the server with its interceptors; tlsCreds is nil for plain text.
func newGRPC(m *configv1.Config, log *slog.Logger, reg prometheus.Registerer, tlsCreds credentials.TransportCredentials, traces *tracing) *grpc.Server {
	counts := grpcprom.NewServerMetrics()
	panics := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "portcullis_panics_total", Help: "Panics in gRPC handlers; each ended one call with an error.",
	})
	reg.MustRegister(counts, panics)
	recovered := recovery.WithRecoveryHandlerContext(func(ctx context.Context, p any) error {
		panics.Inc()
		log.ErrorContext(ctx, "panic in a gRPC handler", slog.String("panic", scan.PanicText(p)), slog.String("stack", string(debug.Stack())))
		return status.Error(codes.Internal, "internal error")
	})
	// ext_proc streams have their own line, with the verdict, and health checks
	// would only fill the log.
	others := selector.MatchFunc(func(_ context.Context, c interceptors.CallMeta) bool {
		return c.Service != extprocv3.ExternalProcessor_ServiceDesc.ServiceName && c.Service != "grpc.health.v1.Health"
	})
	calls := loggingAdapter(log)
	finished := logging.WithLogOnEvents(logging.FinishCall)
	opts := []grpc.ServerOption{
		grpc.ForceServerCodecV2(extproc.Codec()),
		grpc.MaxRecvMsgSize(int(m.GetLimits().GetMaxReceiveMessageBytes())),
		grpc.MaxConcurrentStreams(uint32(m.GetLimits().GetMaxExchanges())), //nolint:gosec // validated: positive
		grpc.StaticStreamWindowSize(streamWindow),
		grpc.StaticConnWindowSize(connectionWindow),
		grpc.NumStreamWorkers(streamWorkers),
		grpc.ReadBufferSize(ioBuffer),
		grpc.WriteBufferSize(ioBuffer),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: 30 * time.Second, Timeout: 10 * time.Second,
			// Lets load spread over replicas; the grace exceeds every exchange.
			MaxConnectionAge: 5 * time.Minute, MaxConnectionAgeGrace: maxExchange + time.Minute,
		}),
		// grpc-go takes one ping in 5 min by default and calls more an attack;
		// Envoy's keepalive pings every 30 s.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.ChainStreamInterceptor(
			counts.StreamServerInterceptor(),
			selector.StreamServerInterceptor(logging.StreamServerInterceptor(calls, finished), others),
			recovery.StreamServerInterceptor(recovered),
		),
		grpc.ChainUnaryInterceptor(
			counts.UnaryServerInterceptor(),
			selector.UnaryServerInterceptor(logging.UnaryServerInterceptor(calls, finished), others),
			recovery.UnaryServerInterceptor(recovered),
		),
	}
	opts = append(opts, traces.serverOptions()...)
	if tlsCreds != nil {
		opts = append(opts, grpc.Creds(tlsCreds))
	}
	return grpc.NewServer(opts...)
}

// loggingAdapter lets the middleware log with slog: its levels are slog's.
func loggingAdapter(log *slog.Logger) logging.Logger {
	return logging.LoggerFunc(func(ctx context.Context, level logging.Level, msg string, fields ...any) {
		log.Log(ctx, slog.Level(level), msg, fields...)
	})
}

// newLog is the process's log; debug of the gRPC library stays out of it.
func newLog(m *configv1.Config, w io.Writer, level slog.Leveler) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	if m.GetLog().GetFormat() == "text" {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	return slog.New(slog.NewJSONHandler(w, opts))
}

func setLevel(level *slog.LevelVar, m *configv1.Config) error {
	if err := level.UnmarshalText([]byte(m.GetLog().GetLevel())); err != nil {
		return fmt.Errorf("log.level: %w", err)
	}
	return nil
}
