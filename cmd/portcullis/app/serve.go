package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	"github.com/portcullis-av/portcullis/cmd/portcullis/config"
	configv1 "github.com/portcullis-av/portcullis/cmd/portcullis/config/v1"
	"github.com/portcullis-av/portcullis/extproc"
	"github.com/portcullis-av/portcullis/scan/gate"
	"github.com/portcullis-av/portcullis/scan/scanv1"
)

// maxExchange is the longest an ext_proc stream may live, whatever it waits for.
const maxExchange = time.Hour

type serveCommand struct {
	configFlag
}

// Help is shown by --help.
func (serveCommand) Help() string {
	return `SIGTERM or Ctrl-C drain: new exchanges go elsewhere, those under way get their verdict.

Examples:
  portcullis serve
  portcullis serve --config portcullis.yaml`
}

// Run serves until ctx ends, then drains.
func (c serveCommand) Run(ctx context.Context, p Process) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	boundMemory(cfg.Message().GetSpool().GetMemoryBytes(), p.Getenv)
	logs := newLogQueue(p.Stderr)
	defer logs.Close()
	s, err := newService(ctx, cfg, logs)
	if err != nil {
		return err
	}
	s.countDroppedLines(logs)
	s.watched = c.Config
	signal.Notify(s.look, syscall.SIGHUP)
	defer signal.Stop(s.look)
	return s.run(ctx)
}

// workingMemory is what the process needs beside held bodies: connections,
// streams, and the garbage between two collections.
const workingMemory = 32 << 20

// boundMemory keeps the heap near what bodies may take. Without it Go lets the
// heap grow to twice what lives, so held bodies would count double.
func boundMemory(spoolBytes int64, getenv func(string) string) {
	if getenv("GOMEMLIMIT") != "" {
		return // the operator knows better
	}
	debug.SetMemoryLimit(spoolBytes + workingMemory)
	if getenv("GOGC") == "" {
		// Far below the limit there is no need to collect at twice what lives.
		debug.SetGCPercent(400)
	}
}

// countDroppedLines makes lost lines of the log visible.
func (s *service) countDroppedLines(q *logQueue) {
	s.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "portcullis_log_lines_dropped_total",
		Help: "Lines of the log that nobody took in time; exchanges never wait for the log.",
	}, func() float64 { return float64(q.Dropped()) }))
}

// service is one running gate.
type service struct {
	now   atomic.Pointer[parts] // what the configuration in use has made
	log   *slog.Logger
	level *slog.LevelVar
	gate  *gate.Gate
	ready *readiness

	observer *observer
	traces   *tracing
	tls      *tlsDoor
	reloads  *reloadMetrics
	watched  string         // the configuration's file; none, none is watched
	look     chan os.Signal // look at it at once

	grpc     *grpc.Server
	health   *health.Server
	admin    *http.Server
	registry *prometheus.Registry

	extprocL, adminL net.Listener
}

func (s *service) parts() *parts { return s.now.Load() }

func (s *service) message() *configv1.Config { return s.parts().cfg.Message() }

// newService builds everything and opens the ports; nothing is served yet.
func newService(ctx context.Context, cfg *config.Config, stderr io.Writer) (*service, error) {
	m := cfg.Message()
	level := &slog.LevelVar{}
	if err := setLevel(level, m); err != nil {
		return nil, err
	}
	log := newLog(m, stderr, level)
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	s := &service{
		log: log, level: level, registry: reg, health: health.NewServer(), look: make(chan os.Signal, 1),
		observer: &observer{log: log, metrics: newMetrics(reg)}, tls: newTLSDoor(log, reg), reloads: newReloadMetrics(reg),
	}
	var err error
	if s.traces, err = newTracing(m.GetTracing(), reg, log); err != nil {
		return nil, cfg.Reject(config.Problem{Path: "tracing.otlp", Message: oneLine(err)})
	}
	b := &builder{observer: s.observer, redis: tellRedis(log), traces: s.traces, files: digestsOf(filesOf(m), nil)}
	p, err := b.build(cfg)
	if err != nil {
		s.traces.close()
		return nil, err
	}
	secure, err := loadTLS(m.GetListen().GetTls(), s.tls)
	if err != nil {
		p.close()
		s.traces.close()
		return nil, err
	}
	s.tls.now.Store(secure)
	s.now.Store(p)
	s.gate, s.ready = gate.New(p.setup), &readiness{parts: s.parts}
	s.reloads.inUse(p, nil)
	s.observer.metrics.begin(p.policies)
	s.serveWith(m, reg)
	if err := s.open(ctx); err != nil {
		s.grpc.Stop() // its workers wait since it was made
		p.close()
		s.traces.close()
		return nil, err
	}
	return s, nil
}

// serveWith makes the servers of both ports.
func (s *service) serveWith(m *configv1.Config, reg *prometheus.Registry) {
	s.grpc = newGRPC(m, s.log, reg, s.tls.credentials(), s.traces)
	reg.MustRegister(newGauges(s.gate, s.parts), newCacheGauges(s.parts), newFleetGauges(s.parts))
	door := extproc.NewServer(s.gate, extproc.Config{MaxExchange: maxExchange}, s.log, extproc.NewMetrics(reg))
	extprocv3.RegisterExternalProcessorServer(s.grpc, door)
	upload := func() time.Duration { return s.parts().longestUpload() }
	scanv1.RegisterScanServiceServer(s.grpc, scanv1.NewServer(singles{s.gate}, engines{s.parts}, upload))
	healthv1.RegisterHealthServer(s.grpc, s.health)
	reflection.Register(s.grpc)
	s.admin = newAdmin(func() *config.Config { return s.parts().cfg }, s.ready, reg)
}

// open opens both ports, or none.
func (s *service) open(ctx context.Context) error {
	l := s.message().GetListen()
	var err error
	if s.extprocL, err = listen(ctx, l.GetExtproc()); err != nil {
		return fmt.Errorf("listen.extproc: %w", err)
	}
	if s.adminL, err = listen(ctx, l.GetAdmin()); err != nil {
		return errors.Join(fmt.Errorf("listen.admin: %w", err), s.extprocL.Close())
	}
	return nil
}

// run serves until ctx ends or a listener fails, then drains.
func (s *service) run(ctx context.Context) error {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var tasks sync.WaitGroup
	s.parts().start(background)
	tasks.Go(func() { s.watch(background) })
	tasks.Go(func() { s.publishHealth(background) })
	failed := make(chan error, 2)
	tasks.Go(func() { failed <- s.grpc.Serve(s.extprocL) })
	tasks.Go(func() {
		if err := s.admin.Serve(s.adminL); !errors.Is(err, http.ErrServerClosed) {
			failed <- err
		}
	})
	s.log.Info("portcullis serves", slog.String("version", Version()),
		slog.String("extproc", s.extprocL.Addr().String()), slog.String("admin", s.adminL.Addr().String()),
		slog.String("config", s.parts().hash))

	var err error
	select {
	case <-ctx.Done():
		s.drain()
	case err = <-failed:
		s.log.Error("a listener failed", slog.Any("error", err))
		s.grpc.Stop()
	}
	s.traces.close() // for spanFlushTime at most; the exchanges are recorded
	stop()
	_ = s.admin.Close() // the last to go: it tells about the drain until its end
	tasks.Wait()
	s.parts().close()
	s.log.Info("portcullis has stopped")
	return err
}

// ExtProcService is the gRPC health name that says whether the gate can judge;
// the empty name says only that it can answer.
const extProcService = "envoy.service.ext_proc.v3.ExternalProcessor"

// publishHealth keeps gRPC health true. The empty service stays SERVING while
// engines are down: the gate then still answers, with a clear 503, and Envoy
// should not stop asking it.
func (s *service) publishHealth(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		state := healthv1.HealthCheckResponse_SERVING
		if ok, _ := s.ready.ready(); !ok {
			state = healthv1.HealthCheckResponse_NOT_SERVING
		}
		s.health.SetServingStatus(extProcService, state)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// recordTime is what exchanges that were cut off get to write their records.
const recordTime = time.Second

// drain stops in order, within grace + timeout + recordTime (and spanFlushTime after it): not ready at once,
// so that Envoy looks elsewhere; then no new streams; then what is left is cut
// off with an error, by which Envoy fails closed.
func (s *service) drain() {
	d := s.message().GetDrain()
	s.log.Info("draining", slog.Duration("grace", d.GetGrace().AsDuration()), slog.Duration("timeout", d.GetTimeout().AsDuration()),
		slog.Int64("exchanges", s.gate.Open()))
	s.ready.draining.Store(true)
	s.health.Shutdown()
	time.Sleep(d.GetGrace().AsDuration())

	done := make(chan struct{})
	go func() { s.grpc.GracefulStop(); close(done) }()
	timer := time.NewTimer(d.GetTimeout().AsDuration())
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		s.log.Warn("exchanges were cut off at the end of the drain", slog.Int64("exchanges", s.gate.Open()))
		s.grpc.Stop()
		timer.Reset(recordTime)
		select {
		case <-done:
		case <-timer.C: // a scan that heeds nothing
		}
	}
}
