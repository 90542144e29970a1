package app

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/portcullis-av/portcullis/scan"
)

// maxEngineSpans is for how many objects of one leg engines are shown being asked:
// a body may hold ten thousand. The span of the scan counts the others.
const maxEngineSpans = 32

// engineBudget is what is left of maxEngineSpans for one leg; below zero it counts
// what was left out.
type engineBudget struct{ left atomic.Int64 }

type (
	budgetKey struct{} // of an *engineBudget in a context
	askedKey  struct{} // of an *askedEngine
)

// askedEngine is an engine that is being asked about one object. Its fleet asks
// instances one after the other.
type askedEngine struct{ since time.Time } // when the wait for an instance began

// tracedEngine is an engine whose work is a span: the cache, the wait for a slot
// and the calls of instances.
type tracedEngine struct {
	engine scan.Engine
	name   string
	tracer trace.Tracer
}

var _ scan.Engine = tracedEngine{}

// Scan implements [scan.Engine].
func (e tracedEngine) Scan(ctx context.Context, o scan.Object) (v scan.Verdict, err error) {
	budget, ok := ctx.Value(budgetKey{}).(*engineBudget)
	if !ok || budget.left.Add(-1) < 0 {
		return e.engine.Scan(ctx, o)
	}
	now := time.Now()
	ctx, span := e.tracer.Start(ctx, "engine "+e.name, trace.WithTimestamp(now), trace.WithAttributes(attribute.Int64(attrBytes, o.Size)))
	err = errPanicked // stays when the engine panics, which is the gate's to recover
	// Not "defer span.End()": End would recover the panic and write its text down.
	defer func() {
		describeVerdict(span, e.name, v, err)
		span.End()
	}()
	return e.engine.Scan(context.WithValue(ctx, askedKey{}, &askedEngine{since: now}), o)
}

var errPanicked = &scan.Error{Kind: scan.KindInternal, Op: "scan", Err: errors.New("the engine panicked")}

// tracedCalls are the calls of one engine's instances.
type tracedCalls struct {
	name   string
	tracer trace.Tracer
}

// ask begins the span of a call, and makes one of the wait before it.
func (c tracedCalls) ask(ctx context.Context) (asked context.Context, told func(scan.Verdict, error)) {
	engine, ok := ctx.Value(askedKey{}).(*askedEngine)
	if !ok {
		return ctx, func(scan.Verdict, error) {}
	}
	now := time.Now()
	name := trace.WithAttributes(attribute.String(attrEngine, c.name))
	_, queue := c.tracer.Start(ctx, "queue", trace.WithTimestamp(engine.since), name)
	queue.End(trace.WithTimestamp(now))
	ctx, call := c.tracer.Start(ctx, "call", trace.WithTimestamp(now))
	return ctx, func(v scan.Verdict, err error) {
		engine.since = time.Now()
		describeVerdict(call, c.name, v, err)
		call.End()
	}
}

// describeVerdict says what an engine answered, in words of closed lists. What it
// calls the malware is for those whom the policy tells.
func describeVerdict(span trace.Span, engine string, v scan.Verdict, err error) {
	if err != nil {
		v = scan.ErrorVerdict(err)
	}
	span.SetAttributes(attribute.String(attrOutcome, v.Outcome.String()), attribute.String(attrCause, string(v.Cause)))
	if engine != "" { // else nobody was asked, or the content itself decided
		span.SetAttributes(attribute.String(attrEngine, engine))
	}
	if v.Outcome == scan.OutcomeError {
		span.SetStatus(codes.Error, string(v.Cause))
	}
}
