package app

import (
	"context"
	"log/slog"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	noopmetric "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"

	configv1 "github.com/portcullis-av/portcullis/cmd/portcullis/config/v1"
	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/gate"
	"github.com/portcullis-av/portcullis/scan/scanv1"
)

// tracing makes spans of exchanges and sends them to a collector. A nil tracing
// does nothing, puts nothing before engines or servers, and costs nothing.
type tracing struct {
	collector *collector
	queue     *spanQueue
	provider  *sdktrace.TracerProvider
	tracer    trace.Tracer
}

// newTracing is nil where the configuration names no collector.
func newTracing(c *configv1.Tracing, reg prometheus.Registerer, log *slog.Logger) (*tracing, error) {
	if c == nil {
		return nil, nil //nolint:nilnil // nothing is what was asked for
	}
	collector, err := newCollector(c.GetOtlp())
	if err != nil {
		return nil, err
	}
	t := &tracing{collector: collector, queue: newSpanQueue(collector.exporter, reg, log)}
	t.provider = sdktrace.NewTracerProvider(
		sdktrace.WithSpanProcessor(t.queue),
		// Envoy has decided for what it traces; the ratio is for the rest.
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(c.GetSampleRatio()))),
		sdktrace.WithResource(resource.NewWithAttributes(semconv.SchemaURL,
			semconv.ServiceName(c.GetServiceName()), semconv.ServiceVersion(Version()))),
		sdktrace.WithRawSpanLimits(sdktrace.SpanLimits{
			AttributeValueLengthLimit: 256, AttributeCountLimit: 32, EventCountLimit: 1, LinkCountLimit: 1,
			AttributePerEventCountLimit: 1, AttributePerLinkCountLimit: 1,
		}),
	)
	t.tracer = t.provider.Tracer("github.com/portcullis-av/portcullis")
	return t, nil
}

// close sends what waits, for spanFlushTime at most.
func (t *tracing) close() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), spanFlushTime)
	defer cancel()
	_ = t.provider.Shutdown(ctx) // what is lost is counted
	t.collector.close()
}

// tracedMethods are the calls that bring bodies. The name of any other may be a
// stranger's text.
func tracedMethods() []string {
	return []string{extprocv3.ExternalProcessor_Process_FullMethodName, scanv1.ScanService_Scan_FullMethodName}
}

// serverOptions give each call that brings bodies a span, which joins the trace
// that the call's gRPC metadata name: there, and not among the HTTP headers, Envoy
// says which span of its own an exchange belongs to.
func (t *tracing) serverOptions() []grpc.ServerOption {
	if t == nil {
		return nil
	}
	methods := tracedMethods()
	return []grpc.ServerOption{grpc.StatsHandler(otelgrpc.NewServerHandler(
		otelgrpc.WithTracerProvider(t.provider),
		otelgrpc.WithMeterProvider(noopmetric.NewMeterProvider()),
		otelgrpc.WithPropagators(boundedContext{}),
		otelgrpc.WithFilter(func(i *stats.RPCTagInfo) bool { return slices.Contains(methods, i.FullMethodName) }),
	))}
}

// maxTraceState is what a vendor's part of the trace context may have; the
// standard asks for no more (W3C Trace Context, 3.3.1.5). It comes from a client,
// and every span of an exchange carries it.
const maxTraceState = 512

// boundedContext is W3C's trace context. No baggage: it is anybody's text.
type boundedContext struct{ propagation.TraceContext }

// Extract implements [propagation.TextMapPropagator].
func (c boundedContext) Extract(ctx context.Context, carrier propagation.TextMapCarrier) context.Context {
	return c.TraceContext.Extract(ctx, boundedCarrier{carrier})
}

type boundedCarrier struct{ propagation.TextMapCarrier }

// Get implements [propagation.TextMapCarrier].
func (c boundedCarrier) Get(key string) string {
	if v := c.TextMapCarrier.Get(key); len(v) <= maxTraceState {
		return v
	}
	return ""
}

// dialOptions let another Portcullis join the trace.
func (t *tracing) dialOptions() []grpc.DialOption {
	if t == nil {
		return nil
	}
	return []grpc.DialOption{grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn,
		method string, stream grpc.Streamer, opts ...grpc.CallOption,
	) (grpc.ClientStream, error) {
		carrier := propagation.MapCarrier{}
		propagation.TraceContext{}.Inject(ctx, carrier)
		for key, value := range carrier {
			ctx = metadata.AppendToOutgoingContext(ctx, key, value)
		}
		return stream(ctx, desc, conn, method, opts...)
	})}
}

// gateTracer is the gate's; nil is none.
func (t *tracing) gateTracer() gate.Tracer {
	if t == nil {
		return nil
	}
	return exchangeTracer{t.tracer}
}

// engine shows what an engine is asked. It stands before the cache and the fleet.
func (t *tracing) engine(name string, e scan.Engine) scan.Engine {
	if t == nil {
		return e
	}
	return tracedEngine{engine: e, name: name, tracer: t.tracer}
}

// asking shows the calls of a fleet's instances.
func (t *tracing) asking(name string) func(context.Context) (context.Context, func(scan.Verdict, error)) {
	if t == nil {
		return nil
	}
	return tracedCalls{name: name, tracer: t.tracer}.ask
}
