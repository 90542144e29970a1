package app

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

const (
	// maxQueuedSpans is how many ended spans may wait; at some 2 KiB each a few MiB.
	maxQueuedSpans = 2048
	// maxBatch is how many go to the collector in one call, and batchTime how long
	// one waits for others.
	maxBatch  = 512
	batchTime = time.Second
	// spanFlushTime is what the spans that wait get at the end: a collector that
	// does not answer must not keep the process from ending.
	spanFlushTime = 2 * time.Second
)

// spanQueue takes spans without ever making an exchange wait for the collector:
// one that does not take them costs spans, which are counted, and nothing else.
//
// Why not the SDK's own batch processor: it tells nobody how many it drops.
type spanQueue struct {
	exporter sdktrace.SpanExporter
	log      *slog.Logger
	spans    chan sdktrace.ReadOnlySpan
	counts   *prometheus.CounterVec
	lost     bool // the last batch was
	abort    context.CancelFunc
	done     chan struct{}
	mu       sync.RWMutex // held for reading while a span is handed over
	closed   bool
}

var _ sdktrace.SpanProcessor = (*spanQueue)(nil)

// What can become of a span.
const (
	spansSent    = "sent"
	spansFailed  = "failed"  // the collector did not take them in time, or refused them
	spansDropped = "dropped" // there was no room in the queue
)

func newSpanQueue(exporter sdktrace.SpanExporter, reg prometheus.Registerer, log *slog.Logger) *spanQueue {
	q := &spanQueue{
		exporter: exporter, log: log, spans: make(chan sdktrace.ReadOnlySpan, maxQueuedSpans), done: make(chan struct{}),
		counts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "portcullis_trace_spans_total",
			Help: "Spans by what became of them; exchanges never wait for the collector.",
		}, []string{"result"}),
	}
	for _, result := range []string{spansSent, spansFailed, spansDropped} {
		q.counts.WithLabelValues(result)
	}
	reg.MustRegister(q.counts)
	ctx, abort := context.WithCancel(context.Background())
	q.abort = abort
	go q.run(ctx)
	return q
}

// OnStart implements [sdktrace.SpanProcessor].
func (q *spanQueue) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

// OnEnd implements [sdktrace.SpanProcessor]; it never waits.
func (q *spanQueue) OnEnd(s sdktrace.ReadOnlySpan) {
	if !s.SpanContext().IsSampled() {
		return
	}
	q.mu.RLock()
	defer q.mu.RUnlock()
	if !q.closed {
		select {
		case q.spans <- s:
			return
		default:
		}
	}
	q.counts.WithLabelValues(spansDropped).Inc()
}

// ForceFlush implements [sdktrace.SpanProcessor]; there is nobody to call it.
func (q *spanQueue) ForceFlush(context.Context) error { return nil }

// Shutdown implements [sdktrace.SpanProcessor]: it sends what waits, and gives up
// when ctx ends.
func (q *spanQueue) Shutdown(ctx context.Context) error {
	q.mu.Lock()
	if !q.closed {
		q.closed = true
		close(q.spans)
	}
	q.mu.Unlock()
	defer q.abort()
	select {
	case <-q.done:
	case <-ctx.Done():
		q.abort()
		<-q.done
	}
	return nil
}

// run sends spans in batches until the queue is closed and empty.
func (q *spanQueue) run(ctx context.Context) {
	defer close(q.done)
	for first := range q.spans {
		q.send(ctx, q.batch(first))
	}
}

// batch gathers what comes within batchTime of the first.
func (q *spanQueue) batch(first sdktrace.ReadOnlySpan) []sdktrace.ReadOnlySpan {
	all := append(make([]sdktrace.ReadOnlySpan, 0, maxBatch), first)
	timer := time.NewTimer(batchTime)
	defer timer.Stop()
	for len(all) < maxBatch {
		select {
		case s, open := <-q.spans:
			if !open {
				return all
			}
			all = append(all, s)
		case <-timer.C:
			return all
		}
	}
	return all
}

// send gives a batch to the collector. A trouble is told once, until it is over.
func (q *spanQueue) send(ctx context.Context, all []sdktrace.ReadOnlySpan) {
	ctx, cancel := context.WithTimeout(ctx, exportTime)
	defer cancel()
	err := q.exporter.ExportSpans(ctx, all)
	result := spansSent
	if err != nil {
		result = spansFailed
	}
	q.counts.WithLabelValues(result).Add(float64(len(all)))
	if lost := err != nil; lost != q.lost {
		q.lost = lost
		if lost {
			q.log.LogAttrs(ctx, slog.LevelWarn, "traces are lost: the collector does not take them; exchanges are not held up",
				appendText(nil, "error", err.Error())...)
			return
		}
		q.log.Info("the collector takes traces again")
	}
}
