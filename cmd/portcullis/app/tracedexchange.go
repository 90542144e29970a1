package app

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/gate"
)

// Attributes of spans. Every value is of a closed list, one that the configuration
// makes, a number or an id of ours: nothing a client, an origin or an engine sends.
const (
	attrExchange = "portcullis.exchange"
	attrPolicy   = "portcullis.policy"
	attrEnd      = "portcullis.end"
	attrLeg      = "portcullis.leg"
	attrOutcome  = "portcullis.outcome"
	attrCause    = "portcullis.cause"
	attrAction   = "portcullis.action"
	attrEngine   = "portcullis.engine"
	attrBytes    = "portcullis.bytes"
	attrObjects  = "portcullis.objects"
	attrOmitted  = "portcullis.omitted" // engine spans beyond maxEngineSpans
)

// exchangeTracer makes the spans of exchanges. That of the exchange itself is its
// call's, which the gRPC server begins and ends.
type exchangeTracer struct{ tracer trace.Tracer }

var _ gate.Tracer = exchangeTracer{}

// Begin implements [gate.Tracer].
func (t exchangeTracer) Begin(ctx context.Context) (followed gate.Trace, id string) {
	span := trace.SpanFromContext(ctx)
	if c := span.SpanContext(); c.IsValid() {
		id = c.TraceID().String()
	}
	return &exchangeTrace{tracer: t.tracer, ctx: ctx, span: span, idle: !span.IsRecording()}, id
}

// exchangeTrace is one exchange. Spans of which only the ends are known are made
// when it ends.
type exchangeTrace struct {
	tracer trace.Tracer
	ctx    context.Context // of the call, for the parent of spans
	span   trace.Span
	idle   bool // Envoy does not trace this one
	legs   [2]legTrace
}

type legTrace struct{ held, judging, released time.Time }

var _ gate.Trace = (*exchangeTrace)(nil)

// At implements [gate.Trace].
func (t *exchangeTrace) At(l scan.Leg, s gate.Stage) {
	switch s {
	case gate.StageHeld:
		t.legs[l].held = time.Now()
	case gate.StageReleased:
		t.legs[l].released = time.Now()
	}
}

// Judge implements [gate.Trace].
func (t *exchangeTrace) Judge(ctx context.Context, l scan.Leg) (judging context.Context, judged func(gate.Judgement)) {
	if t.idle {
		return ctx, func(gate.Judgement) {}
	}
	now := time.Now()
	t.legs[l].judging = now
	budget := &engineBudget{}
	budget.left.Store(maxEngineSpans)
	ctx, span := t.tracer.Start(ctx, "scan "+l.String(), trace.WithTimestamp(now), trace.WithAttributes(attribute.String(attrLeg, l.String())))
	return context.WithValue(ctx, budgetKey{}, budget), func(j gate.Judgement) {
		describeVerdict(span, j.Verdict.Engine, j.Verdict, nil)
		span.SetAttributes(attribute.Int(attrObjects, j.Objects))
		if left := budget.left.Load(); left < 0 {
			span.SetAttributes(attribute.Int64(attrOmitted, -left))
		}
		span.End()
	}
}

// End implements [gate.Trace].
func (t *exchangeTrace) End(r *gate.Record) {
	if t.idle {
		return
	}
	t.span.SetAttributes(attribute.String(attrExchange, r.ID), attribute.String(attrPolicy, r.Policy), attribute.String(attrEnd, r.End))
	for _, l := range [...]scan.Leg{scan.Request, scan.Response} {
		leg := &r.Legs[l]
		if !leg.Seen {
			continue
		}
		outcome, cause, action := legWords(leg)
		name := "portcullis." + l.String() + "."
		t.span.SetAttributes(
			attribute.String(name+"outcome", outcome), attribute.String(name+"cause", cause),
			attribute.String(name+"action", action), attribute.Int64(name+"bytes", leg.Bytes),
		)
		// Fail-open is what the policy wants, and malware that was found is no
		// error: a trace is one where somebody was refused for want of a verdict.
		if leg.Decided && leg.Decision.Covered && leg.Decision.Verdict.Outcome == scan.OutcomeError && leg.Decision.Action == scan.Block {
			t.span.SetStatus(codes.Error, cause)
		}
		t.stages(l, leg)
	}
}

// stages makes the spans of a leg of which only the ends are known: the upload,
// and where it was released whole, that.
func (t *exchangeTrace) stages(l scan.Leg, r *gate.LegRecord) {
	at := &t.legs[l]
	if at.held.IsZero() {
		return
	}
	decided := time.Now()
	if r.Decided {
		decided = at.held.Add(r.Held)
	}
	complete := at.judging
	if complete.IsZero() {
		complete = decided // it never was
	}
	t.stage("hold", l, at.held, complete, r.Bytes)
	if !at.released.IsZero() {
		t.stage("release", l, decided, at.released, r.Bytes)
	}
}

func (t *exchangeTrace) stage(name string, l scan.Leg, from, to time.Time, bytes int64) {
	_, span := t.tracer.Start(t.ctx, name+" "+l.String(), trace.WithTimestamp(from),
		trace.WithAttributes(attribute.String(attrLeg, l.String()), attribute.Int64(attrBytes, bytes)))
	span.End(trace.WithTimestamp(to))
}
