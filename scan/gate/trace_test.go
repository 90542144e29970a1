package gate_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/gate"
)

// diary is a Tracer and the Trace of one exchange: it writes down what it is told.
type diary struct {
	mu    sync.Mutex
	lines []string
}

type diaryKey struct{}

func (d *diary) write(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

func (d *diary) Begin(context.Context) (gate.Trace, string) { return d, "the trace" }

func (d *diary) At(l scan.Leg, s gate.Stage) { d.write("%v %d", l, s) }

func (d *diary) Judge(ctx context.Context, l scan.Leg) (context.Context, func(gate.Judgement)) {
	d.write("%v judging", l)
	return context.WithValue(ctx, diaryKey{}, true), func(j gate.Judgement) { d.write("%v %v", l, j.Verdict.Outcome) }
}

func (d *diary) End(r *gate.Record) { d.write("end %s of %s", r.End, r.TraceID) }

// A tracer is told of an exchange in the order in which things happen, engines are
// asked in its context, and the record names the trace.
func TestTracerFollows(t *testing.T) {
	r := newRig()
	d := &diary{}
	followed := false
	r.engines["av"] = engine(func(ctx context.Context, _ scan.Object) (scan.Verdict, error) {
		followed, _ = ctx.Value(diaryKey{}).(bool)
		return scan.CleanVerdict(), nil
	})
	s := r.setup()
	s.Tracer = d
	x := gate.New(s).Begin(t.Context(), gate.Head{}, "")
	x.Plan(scan.Request, gate.Head{ContentLength: -1, Header: func(string) string { return "" }}, true)
	x.Append(scan.Request, []byte("text"))
	done := make(chan gate.Judgement, 1)
	x.Judge(t.Context(), scan.Request, func(j gate.Judgement) { done <- j })
	x.Decide(scan.Request, <-done)
	x.Free(scan.Request)
	x.Finish("complete")
	want := []string{
		fmt.Sprintf("request %d", gate.StageHeld), "request judging", "request CLEAN",
		fmt.Sprintf("request %d", gate.StageReleased), "end complete of the trace",
	}
	if diff := cmp.Diff(want, d.lines); diff != "" {
		t.Errorf("the tracer was told (-want +got):\n%s", diff)
	}
	if !followed {
		t.Error("the engine was not asked in the tracer's context")
	}
	if !slices.ContainsFunc(r.records, func(r *gate.Record) bool { return r.TraceID == "the trace" }) {
		t.Error("the record does not name the trace")
	}
}
