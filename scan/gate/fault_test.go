package gate_test

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/gate"
)

// Whatever an engine or the set-up gets wrong is an ERROR that blocks, and never
// takes the process down.
func TestEnginesThatFail(t *testing.T) {
	faults := map[string]struct {
		engine scan.Engine // nil: configured, but not there
		cause  scan.Cause
	}{
		"unreachable":       {fails(scan.KindUnreachable), scan.CauseEngineUnreachable},
		"protocol":          {fails(scan.KindProtocol), scan.CauseEngineProtocol},
		"refused":           {fails(scan.KindRefused), scan.CauseEngineRefused},
		"overload":          {fails(scan.KindOverload), scan.CauseOverload},
		"spool":             {fails(scan.KindSpool), scan.CauseSpool},
		"error of no kind":  {engine(func(context.Context, scan.Object) (scan.Verdict, error) { return scan.CleanVerdict(), io.EOF }), scan.CauseInternal},
		"says nothing":      {says(scan.Verdict{}), scan.CauseEngineProtocol},
		"names and no word": {says(scan.Verdict{Threats: []string{"Eicar"}}), scan.CauseEngineProtocol},
		"panics":            {panics, scan.CauseInternal},
		"missing":           {nil, scan.CauseInternal},
	}
	shapes := map[string]func(*rig){
		"one engine, one object":     func(*rig) {},
		"one engine, many objects":   func(r *rig) { r.unwrap = finds("part[1]", "part[2]") },
		"many engines, one object":   func(r *rig) { r.policy.Engines = []string{"good", "av"} },
		"many engines, many objects": func(r *rig) { r.policy.Engines = []string{"av", "good"}; r.unwrap = finds("part[1]") },
		"first of one":               func(r *rig) { r.policy.Mode = scan.ModeFirst },
		"first of the same twice":    func(r *rig) { r.policy.Mode, r.policy.Engines = scan.ModeFirst, []string{"av", "av"} },
	}
	for fault, f := range faults {
		for shape, change := range shapes {
			t.Run(fault+"/"+shape, func(t *testing.T) {
				r := newRig()
				r.engines = map[string]scan.Engine{"good": clean, "av": f.engine}
				if f.engine == nil {
					delete(r.engines, "av")
				}
				change(r)
				d := r.judge(t)
				if d.Action != scan.Block || d.Verdict.Outcome != scan.OutcomeError || d.Verdict.Cause != f.cause || d.Verdict.Detail == "" {
					t.Errorf("decided %+v", d)
				}
			})
		}
	}
}

// A policy without engines proves nothing.
func TestPolicyWithoutEngines(t *testing.T) {
	r := newRig()
	r.policy.Engines = nil
	for _, u := range []unwrapper{finds(), finds("part[1]")} {
		r.unwrap = u
		if d := r.judge(t); d.Action != scan.Block || d.Verdict.Outcome != scan.OutcomeError {
			t.Errorf("decided %+v", d)
		}
	}
}

// A panic while unwrapping ends this exchange with an ERROR and nothing else.
func TestUnwrapperPanics(t *testing.T) {
	r := newRig()
	r.unwrap = func(context.Context, scan.Object, func(scan.Object)) (scan.Verdict, io.Closer) {
		panic("a decoder broke")
	}
	d := r.judge(t)
	if d.Action != scan.Block || d.Verdict.Outcome != scan.OutcomeError || d.Verdict.Cause != scan.CauseInternal {
		t.Errorf("decided %+v", d)
	}
}

// A body that cannot be sealed was not kept whole.
func TestSealFails(t *testing.T) {
	r := newRig()
	r.store.sealErr = &scan.Error{Kind: scan.KindSpool, Op: "seal"}
	d := r.judge(t)
	if d.Action != scan.Block || d.Verdict.Outcome != scan.OutcomeError || d.Verdict.Cause != scan.CauseSpool {
		t.Errorf("decided %+v", d)
	}
}

// A held body without bytes is clean, and no engine is asked: some call an
// empty object clean without having looked at anything.
func TestHeldEmptyBody(t *testing.T) {
	r := newRig()
	r.engines["av"] = panics
	x := r.begin()
	defer x.Finish("complete")
	x.Plan(scan.Request, gate.Head{ContentLength: -1}, true)
	done := make(chan gate.Judgement, 1)
	x.Judge(t.Context(), scan.Request, func(j gate.Judgement) { done <- j })
	if d := x.Decide(scan.Request, <-done); d.Action != scan.Pass || d.Verdict.Cause != scan.CauseEmpty {
		t.Errorf("decided %+v", d)
	}
}

// The objects found stay open until the last engine has read them.
func TestFoundObjectsOutliveTheScan(t *testing.T) {
	closed := make(chan struct{})
	r := newRig()
	r.unwrap = func(ctx context.Context, o scan.Object, found func(scan.Object)) (scan.Verdict, io.Closer) {
		v, _ := finds("part[1]", "part[2]")(ctx, o, found)
		return v, closer(func() { close(closed) })
	}
	r.engines["av"] = engine(func(context.Context, scan.Object) (scan.Verdict, error) {
		select {
		case <-closed:
			t.Error("an object was closed before its scan ended")
		default:
		}
		return scan.CleanVerdict(), nil
	})
	r.judge(t)
	<-closed
}

type closer func()

func (c closer) Close() error { c(); return nil }

// An engine that does not heed its context is given up; the body it may still
// read is freed when it has returned, not before.
func TestEngineThatIgnoresItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		late := make(chan error, 1)
		r := newRig()
		r.engines["av"] = engine(func(_ context.Context, o scan.Object) (scan.Verdict, error) {
			<-stuck
			_, err := io.ReadAll(o.Reader())
			late <- err
			return scan.CleanVerdict(), err
		})
		x := r.begin()
		hold(t, x)
		ctx, cancel := context.WithCancel(t.Context())
		x.Judge(ctx, scan.Request, func(gate.Judgement) {})
		time.Sleep(x.JudgeLimit())
		if x.JudgeLimit() <= r.policy.ScanTimeout {
			t.Errorf("the limit of %v leaves no time to notice the end", x.JudgeLimit())
		}
		d := x.GiveUp(scan.Request)
		if d.Action != scan.Block || d.Verdict.Outcome != scan.OutcomeError || d.Verdict.Cause != scan.CauseEngineTimeout {
			t.Errorf("decided %+v", d)
		}
		cancel()
		x.Free(scan.Request) // a door that passes the leg releases it, and then frees it
		x.Finish("refused")
		if len(r.records) != 1 {
			t.Errorf("%d records although the exchange is over", len(r.records))
		}
		synctest.Wait()
		if diff := cmp.Diff([]int{0}, r.store.closes()); diff != "" {
			t.Errorf("closed while the engine reads (-want +got)\n%s", diff)
		}
		close(stuck)
		if err := <-late; err != nil {
			t.Errorf("the engine could not read to the end: %v", err)
		}
		synctest.Wait()
		if diff := cmp.Diff([]int{1}, r.store.closes()); diff != "" {
			t.Errorf("closed when the engine returned (-want +got)\n%s", diff)
		}
	})
}

// What is known when an engine is given up still counts: fail-open must not pass
// what another engine, or the unwrapping, has already condemned.
func TestGivingUpForgetsNothing(t *testing.T) {
	stubborn := func(stop chan struct{}) engine {
		return func(context.Context, scan.Object) (scan.Verdict, error) {
			<-stop
			return scan.CleanVerdict(), nil
		}
	}
	for name, c := range map[string]struct {
		change func(r *rig, stop chan struct{})
		want   scan.Outcome
		action scan.Action
	}{
		"another engine found malware": {func(r *rig, _ chan struct{}) {
			r.policy.Engines = append(r.policy.Engines, "good")
			r.engines["good"] = infected
		}, scan.OutcomeInfected, scan.Block},
		"the unwrapping found a bomb": {func(r *rig, _ chan struct{}) {
			r.unwrap = func(context.Context, scan.Object, func(scan.Object)) (scan.Verdict, io.Closer) {
				return verdict(scan.OutcomePolicy, scan.CauseBomb), io.NopCloser(nil)
			}
		}, scan.OutcomePolicy, scan.Block},
		"the unwrapping does not end": {func(r *rig, stop chan struct{}) {
			r.unwrap = func(context.Context, scan.Object, func(scan.Object)) (scan.Verdict, io.Closer) {
				<-stop
				return scan.CleanVerdict(), io.NopCloser(nil)
			}
		}, scan.OutcomeUnscannable, scan.Block},
		"nobody found anything": {func(r *rig, _ chan struct{}) {
			r.policy.Engines = append(r.policy.Engines, "good")
			r.engines["good"] = clean
		}, scan.OutcomeError, scan.Pass},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stop := make(chan struct{})
				r := newRig()
				failOpen(&r.policy)
				r.engines["av"] = stubborn(stop)
				c.change(r, stop)
				x := r.begin()
				hold(t, x)
				x.Judge(t.Context(), scan.Request, func(gate.Judgement) {})
				time.Sleep(x.JudgeLimit())
				if d := x.GiveUp(scan.Request); d.Verdict.Outcome != c.want || d.Action != c.action {
					t.Errorf("decided %+v", d)
				}
				x.Finish("complete")
				close(stop)
				synctest.Wait()
			})
		})
	}
}

// An engine that ran out of time because this content took the most of it, or
// that answered about other parts of it, is not down: a client must not reach
// fail-open by content that is slow to scan.
func TestSlowContentIsNotAFailedEngine(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*rig)
		want   scan.Verdict
	}{
		"slow to unwrap": {func(r *rig) {
			r.unwrap = func(context.Context, scan.Object, func(scan.Object)) (scan.Verdict, io.Closer) {
				time.Sleep(r.policy.ScanTimeout - time.Second)
				return scan.CleanVerdict(), io.NopCloser(nil)
			}
		}, verdict(scan.OutcomeUnscannable, scan.CauseScanTimeout)},
		"one slow part": {func(r *rig) {
			r.unwrap = finds("part[1]")
			r.engines["av"] = engine(func(ctx context.Context, o scan.Object) (scan.Verdict, error) {
				if o.Path == "part[1]" {
					return waits(ctx, o)
				}
				return scan.CleanVerdict(), nil
			})
		}, verdict(scan.OutcomeUnscannable, scan.CauseScanTimeout)},
		"answers nobody": {
			func(r *rig) { r.unwrap = finds("part[1]") },
			verdict(scan.OutcomeError, scan.CauseEngineTimeout),
		},
		"another engine answers": {func(r *rig) {
			r.policy.Engines = []string{"good", "av"}
			r.engines["good"] = clean
		}, verdict(scan.OutcomeError, scan.CauseEngineTimeout)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig()
				failOpen(&r.policy)
				r.engines["av"] = waits
				c.change(r)
				if v := r.judge(t).Verdict; v.Outcome != c.want.Outcome || v.Cause != c.want.Cause {
					t.Errorf("decided %+v", v)
				}
			})
		})
	}
}
