package gate_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/gate"
)

// by maps the path of an object to what an engine says about it; what is not
// named is clean.
type by map[string]scan.Verdict

func (b by) Scan(_ context.Context, o scan.Object) (scan.Verdict, error) {
	if v, ok := b[o.Path]; ok {
		return v, nil
	}
	return scan.CleanVerdict(), nil
}

func verdict(o scan.Outcome, c scan.Cause) scan.Verdict { return scan.Verdict{Outcome: o, Cause: c} }

// The worst verdict over objects and engines decides, whoever gave it and
// wherever it was found.
func TestWorstOfObjectsAndEngines(t *testing.T) {
	encrypted := verdict(scan.OutcomePolicy, scan.CauseEncrypted)
	limit := verdict(scan.OutcomeUnscannable, scan.CauseEngineLimit)
	for name, c := range map[string]struct {
		a, b    scan.Engine
		outcome scan.Outcome
		engine  string
		object  string
	}{
		"all clean":               {clean, clean, scan.OutcomeClean, "", ""},
		"one engine, one object":  {clean, by{"part[1]": scan.InfectedVerdict("X")}, scan.OutcomeInfected, "b", "part[1]"},
		"the raw body":            {by{"body": encrypted}, clean, scan.OutcomePolicy, "a", "body"},
		"infected over policy":    {by{"body": encrypted}, by{"part[2]": scan.InfectedVerdict("X")}, scan.OutcomeInfected, "b", "part[2]"},
		"policy over unscannable": {by{"body": limit}, by{"part[1]": encrypted}, scan.OutcomePolicy, "b", "part[1]"},
		"unscannable over error":  {fails(scan.KindUnreachable), by{"part[2]": limit}, scan.OutcomeUnscannable, "b", "part[2]"},
		"error over clean":        {clean, fails(scan.KindUnreachable), scan.OutcomeError, "b", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig()
			r.policy.Engines = []string{"a", "b"}
			r.engines = map[string]scan.Engine{"a": c.a, "b": c.b}
			r.unwrap = finds("part[1]", "part[2]")
			v := r.judge(t).Verdict
			if v.Outcome != c.outcome || c.engine != "" && v.Engine != c.engine || c.object != "" && v.Object != c.object {
				t.Errorf("decided %+v", v)
			}
			if n := r.records[0].Legs[scan.Request].Objects; n != 3 {
				t.Errorf("%d objects are recorded", n)
			}
		})
	}
}

// In mode first, the next engine is asked after an ERROR only, and not at all
// after any other answer.
func TestModeFirst(t *testing.T) {
	never := func(t *testing.T) engine {
		return func(context.Context, scan.Object) (scan.Verdict, error) {
			t.Error("the second engine was asked")
			return scan.CleanVerdict(), nil
		}
	}
	for name, c := range map[string]struct {
		first  scan.Engine
		second scan.Engine // nil: must not be asked
		want   scan.Outcome
		engine string
	}{
		"clean":          {clean, nil, scan.OutcomeClean, "a"},
		"infected":       {infected, nil, scan.OutcomeInfected, "a"},
		"unscannable":    {says(verdict(scan.OutcomeUnscannable, scan.CauseEngineLimit)), nil, scan.OutcomeUnscannable, "a"},
		"policy":         {says(verdict(scan.OutcomePolicy, scan.CauseMacro)), nil, scan.OutcomePolicy, "a"},
		"error":          {fails(scan.KindUnreachable), infected, scan.OutcomeInfected, "b"},
		"says nothing":   {says(scan.Verdict{}), clean, scan.OutcomeClean, "b"},
		"panics":         {panics, infected, scan.OutcomeInfected, "b"},
		"missing":        {nil, infected, scan.OutcomeInfected, "b"},
		"both are ERROR": {fails(scan.KindUnreachable), fails(scan.KindRefused), scan.OutcomeError, "a"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig()
			r.policy.Engines, r.policy.Mode = []string{"a", "b"}, scan.ModeFirst
			r.engines = map[string]scan.Engine{"a": c.first, "b": c.second}
			if c.first == nil {
				delete(r.engines, "a")
			}
			if c.second == nil {
				r.engines["b"] = never(t)
			}
			if v := r.judge(t).Verdict; v.Outcome != c.want || v.Engine != c.engine {
				t.Errorf("decided %+v", v)
			}
		})
	}
}

// Nothing is worse than INFECTED: whoever still scans is told to stop, and the
// exchange does not wait for scan_timeout.
func TestInfectedEndsTheRest(t *testing.T) {
	for name, change := range map[string]func(*rig){
		"another object": func(r *rig) {
			r.unwrap = finds("part[1]")
			r.engines["av"] = engine(func(ctx context.Context, o scan.Object) (scan.Verdict, error) {
				if o.Path == "part[1]" {
					return infected(ctx, o)
				}
				return waits(ctx, o)
			})
		},
		"another engine": func(r *rig) {
			r.policy.Engines = []string{"slow", "av"}
			r.engines = map[string]scan.Engine{"slow": waits, "av": infected}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig()
				change(r)
				begun := time.Now()
				if d := r.judge(t); d.Verdict.Outcome != scan.OutcomeInfected {
					t.Errorf("decided %+v", d.Verdict)
				}
				if took := time.Since(begun); took != 0 {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// What the unwrapping proves counts as an engine's verdict would.
func TestUnwrappersVerdictCounts(t *testing.T) {
	for name, c := range map[string]struct {
		unwrapped scan.Verdict
		engine    scan.Engine
		want      scan.Outcome
	}{
		"bomb over clean":     {verdict(scan.OutcomePolicy, scan.CauseBomb), clean, scan.OutcomePolicy},
		"malformed over down": {verdict(scan.OutcomeUnscannable, scan.CauseMalformedBody), fails(scan.KindUnreachable), scan.OutcomeUnscannable},
		"infected over bomb":  {verdict(scan.OutcomePolicy, scan.CauseBomb), infected, scan.OutcomeInfected},
		"its own failure":     {verdict(scan.OutcomeError, scan.CauseSpool), clean, scan.OutcomeError},
		"it says nothing":     {scan.Verdict{}, clean, scan.OutcomeUndecided},
	} {
		for _, inside := range []string{"", "part[1]"} {
			r := newRig()
			r.engines["av"] = c.engine
			r.unwrap = func(_ context.Context, o scan.Object, found func(scan.Object)) (scan.Verdict, io.Closer) {
				if inside != "" {
					found(scan.Object{Path: inside, Size: 1, Content: strings.NewReader("x")})
				}
				return c.unwrapped, io.NopCloser(nil)
			}
			d := r.judge(t)
			if d.Verdict.Outcome != c.want || d.Action != scan.Block {
				t.Errorf("%s, inside %q: decided %+v", name, inside, d)
			}
		}
	}
}

// A client's content made the unwrapping slow: that is no engine's failure, and
// fail-open does not pass it.
func TestUnwrappingThatTakesTooLong(t *testing.T) {
	slowly := func(ctx context.Context, _ scan.Object, _ func(scan.Object)) (scan.Verdict, io.Closer) {
		<-ctx.Done()
		return scan.ErrorVerdict(ctx.Err()), io.NopCloser(nil)
	}
	for name, e := range map[string]scan.Engine{"engine heeds the end": waits, "engine is clean": clean, "engine is down": fails(scan.KindUnreachable)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig()
				failOpen(&r.policy)
				r.unwrap, r.engines["av"] = slowly, e
				begun := time.Now()
				d := r.judge(t)
				if d.Action != scan.Block || d.Verdict.Outcome != scan.OutcomeUnscannable || d.Verdict.Cause != scan.CauseScanTimeout {
					t.Errorf("decided %+v", d)
				}
				if took := time.Since(begun); took != r.policy.ScanTimeout {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// An engine whose object takes longer than scan_timeout is told to stop then.
func TestScanTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		r.engines["av"] = waits
		begun := time.Now()
		d := r.judge(t)
		if d.Verdict.Outcome != scan.OutcomeError || d.Verdict.Cause != scan.CauseEngineTimeout || time.Since(begun) != r.policy.ScanTimeout {
			t.Errorf("after %v decided %+v", time.Since(begun), d)
		}
	})
}

// When the door's context ends, judging ends with it.
func TestJudgingEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		r.engines["av"] = waits
		x := r.begin()
		hold(t, x)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan gate.Judgement, 1)
		x.Judge(ctx, scan.Request, func(j gate.Judgement) { done <- j })
		synctest.Wait()
		cancel()
		if j := <-done; j.Verdict.Outcome != scan.OutcomeError || j.Took != 0 {
			t.Errorf("judged %+v", j)
		}
		x.Finish("aborted")
		synctest.Wait()
		if diff := cmp.Diff([]int{1}, r.store.closes()); diff != "" {
			t.Errorf("closed (-want +got)\n%s", diff)
		}
	})
}

// A body of many parts takes a few of an engine's slots at a time, not all.
func TestObjectsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		paths := make([]string, 20)
		for i := range paths {
			paths[i] = "part"
		}
		r.unwrap = finds(paths...)
		r.engines["av"] = engine(func(context.Context, scan.Object) (scan.Verdict, error) {
			time.Sleep(time.Second)
			return scan.CleanVerdict(), nil
		})
		begun := time.Now()
		d := r.judge(t)
		if took := time.Since(begun); d.Action != scan.Pass || took < 2*time.Second || took > 20*time.Second {
			t.Errorf("21 scans of a second took %v: %+v", took, d)
		}
	})
}

// What engines get is the sealed body with its digest and, if it is the only
// one, its label.
func TestWhatAnEngineGets(t *testing.T) {
	for name, c := range map[string]struct {
		lines []string
		want  string
	}{
		"none": {nil, ""}, "one": {[]string{"a/b"}, "a/b"}, "two": {[]string{"a/b", "c/d"}, ""},
	} {
		var got scan.Object
		var content []byte
		r := newRig()
		r.engines["av"] = engine(func(_ context.Context, o scan.Object) (scan.Verdict, error) {
			got = o
			var err error
			content, err = io.ReadAll(o.Reader())
			return scan.CleanVerdict(), err
		})
		x := r.begin()
		x.Plan(scan.Request, gate.Head{ContentLength: -1, Labels: scan.Labels{ContentType: c.lines}}, true)
		x.Append(scan.Request, []byte("abc"))
		x.Append(scan.Request, []byte("def"))
		want := x.Body(scan.Request).SHA256()
		done := make(chan gate.Judgement, 1)
		x.Judge(t.Context(), scan.Request, func(j gate.Judgement) { done <- j })
		<-done
		x.Finish("complete")
		if string(content) != "abcdef" || got.Size != 6 || got.Digest() != want || got.Path != "body" || got.ContentType != c.want || got.Name != "" {
			t.Errorf("%s: the engine got %+v with %q", name, got, content)
		}
	}
}

// What an engine calls a threat is made safe where it comes in, once and for all.
func TestThreatsAreMadeSafe(t *testing.T) {
	r := newRig()
	r.engines["av"] = says(scan.InfectedVerdict("Eicar", "evil\r\nname", "Eicar"))
	if diff := cmp.Diff([]string{"Eicar", "unnamed-threat"}, r.judge(t).Verdict.Threats); diff != "" {
		t.Error(diff)
	}
}
