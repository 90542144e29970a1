package gate_test

import (
	"context"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/gate"
)

// The record says once, and with every field, what became of an exchange.
func TestRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		r.policy.Name = "strict"
		r.unwrap = finds("part[1]")
		r.engines["av"] = engine(func(ctx context.Context, o scan.Object) (scan.Verdict, error) {
			if o.Path == "part[1]" {
				time.Sleep(2 * time.Second)
				return infected(ctx, o)
			}
			return scan.CleanVerdict(), nil
		})
		begun := time.Now()
		x := gate.New(r.setup()).Begin(t.Context(), gate.Head{
			Attributes: scan.Attributes{Method: "PUT", Host: "shop.example", Path: "/up?token=x"}, RequestID: "r-1",
		}, "")
		x.Plan(scan.Request, gate.Head{ContentLength: -1}, true)
		time.Sleep(3 * time.Second)
		x.Append(scan.Request, []byte(body))
		done := make(chan gate.Judgement, 1)
		x.Judge(t.Context(), scan.Request, func(j gate.Judgement) { done <- j })
		d := x.Decide(scan.Request, <-done)
		time.Sleep(time.Second)
		x.Finish("refused")
		synctest.Wait()

		want := []*gate.Record{{
			ID: x.ID(), RequestID: "r-1", Policy: "strict", Enforced: true,
			Method: "PUT", Host: "shop.example", Path: "/up?token=x",
			Start: begun, Duration: 6 * time.Second, End: "refused",
			Legs: [2]gate.LegRecord{{
				Seen: true, Decided: true, Bytes: int64(len(body)), Objects: 2, Held: 5 * time.Second, Judged: 2 * time.Second,
				Decision: gate.Decision{
					Action: scan.Block, Covered: true,
					Verdict: scan.Verdict{
						Outcome: scan.OutcomeInfected, Cause: scan.CauseMalware, Threats: []string{"Eicar"}, Engine: "av", Object: "part[1]",
					},
				},
			}},
		}}
		if diff := cmp.Diff(want, r.records, cmpopts.IgnoreFields(gate.LegRecord{}, "Tree")); diff != "" {
			t.Errorf("recorded (-want +got)\n%s", diff)
		}
		if diff := cmp.Diff(want[0].Legs[0].Decision, d); diff != "" {
			t.Errorf("decided (-want +got)\n%s", diff)
		}
	})
}

// However an exchange ends, it is recorded once, counted as over and its bodies
// are freed once.
func TestFinish(t *testing.T) {
	for name, play := range map[string]func(*testing.T, *gate.Exchange){
		"nothing came":           func(*testing.T, *gate.Exchange) {},
		"planned, nothing held":  func(_ *testing.T, x *gate.Exchange) { x.Plan(scan.Request, gate.Head{ContentLength: -1}, true) },
		"cut off while it comes": hold,
		"expired":                func(t *testing.T, x *gate.Exchange) { hold(t, x); x.Expire(scan.Request, "too slow") },
		"both legs": func(t *testing.T, x *gate.Exchange) {
			hold(t, x)
			x.Plan(scan.Response, gate.Head{ContentLength: -1}, true)
		},
		"freed early": func(t *testing.T, x *gate.Exchange) {
			judgeLeg(t, x)
			x.Free(scan.Request)
			x.Free(scan.Response) // nothing is held there
		},
		"judged": judgeLeg,
		"while it is judged": func(t *testing.T, x *gate.Exchange) {
			hold(t, x)
			x.Judge(t.Context(), scan.Request, func(gate.Judgement) {})
		},
		"refused at the start": func(_ *testing.T, x *gate.Exchange) { x.Plan(scan.Request, gate.Head{Tunnel: true}, true) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig()
				r.engines["av"] = engine(func(context.Context, scan.Object) (scan.Verdict, error) {
					time.Sleep(time.Second)
					return scan.CleanVerdict(), nil
				})
				g := gate.New(r.setup())
				x := g.Begin(t.Context(), gate.Head{}, "")
				if g.Open() != 1 {
					t.Errorf("%d exchanges are open", g.Open())
				}
				play(t, x)
				x.Finish("over")
				time.Sleep(time.Minute)
				if g.Open() != 0 || len(r.records) != 1 {
					t.Errorf("%d exchanges are open, %d recorded", g.Open(), len(r.records))
				}
				for i, n := range r.store.closes() {
					if n != 1 && name != "freed early" {
						t.Errorf("body %d was freed %d times", i, n)
					}
				}
			})
		})
	}
}

// Judging that ends in the midst of Finish leaves no body behind.
func TestFinishWhileJudgingEnds(t *testing.T) {
	r := newRig()
	end, ended := make(chan struct{}), make(chan struct{})
	r.engines["av"] = engine(func(context.Context, scan.Object) (scan.Verdict, error) {
		<-end
		return scan.CleanVerdict(), nil
	})
	var once sync.Once
	r.store.closing = func() { once.Do(func() { close(end); <-ended }) }
	g := gate.New(r.setup())
	x := g.Begin(t.Context(), gate.Head{}, "")
	hold(t, x)
	x.Judge(t.Context(), scan.Request, func(gate.Judgement) { close(ended) })
	x.Plan(scan.Response, gate.Head{ContentLength: -1}, true)
	idle := g.Swap(r.setup())
	x.Finish("aborted") // frees the response's body, and only then is the request judged
	<-idle
	for i, n := range r.store.closes() {
		if n == 0 {
			t.Errorf("body %d was not freed", i)
		}
	}
}

func judgeLeg(t *testing.T, x *gate.Exchange) {
	hold(t, x)
	done := make(chan gate.Judgement, 1)
	x.Judge(t.Context(), scan.Request, func(j gate.Judgement) { done <- j })
	x.Decide(scan.Request, <-done)
}

// An exchange keeps the setup that it began with: policy, engines, store and
// observer of one configuration are never mixed with another's.
func TestSwap(t *testing.T) {
	before, after := newRig(), newRig()
	before.engines["av"], before.policy.Name = infected, "before"
	after.policy.Name = "after"
	g := gate.New(before.setup())
	old := g.Begin(t.Context(), gate.Head{}, "")
	idle := g.Swap(after.setup())
	fresh := g.Begin(t.Context(), gate.Head{}, "")
	for x, want := range map[*gate.Exchange]struct {
		rig     *rig
		outcome scan.Outcome
	}{old: {before, scan.OutcomeInfected}, fresh: {after, scan.OutcomeClean}} {
		hold(t, x)
		done := make(chan gate.Judgement, 1)
		x.Judge(t.Context(), scan.Request, func(j gate.Judgement) { done <- j })
		if d := x.Decide(scan.Request, <-done); d.Verdict.Outcome != want.outcome {
			t.Errorf("policy %s: decided %+v", x.Policy().Name, d)
		}
		x.Finish("complete")
		if len(want.rig.records) != 1 || want.rig.records[0].Policy != want.rig.policy.Name || len(want.rig.store.bodies) != 1 {
			t.Errorf("policy %s was not recorded in its own setup", x.Policy().Name)
		}
	}
	if g.Open() != 0 {
		t.Errorf("%d exchanges are open", g.Open())
	}
	<-idle // or the test hangs
}

// A setup that was replaced is idle once the last exchange with it has ended and
// its scans have, not before; exchanges that begin meanwhile never join it.
func TestSwapTellsWhenIdle(t *testing.T) {
	r, never := newRig(), make(chan struct{})
	r.engines["av"] = engine(func(context.Context, scan.Object) (scan.Verdict, error) {
		<-never // heeds nothing
		return scan.CleanVerdict(), nil
	})
	g := gate.New(r.setup())
	first, stuck := g.Begin(t.Context(), gate.Head{}, ""), g.Begin(t.Context(), gate.Head{}, "")
	hold(t, stuck)
	stuck.Judge(t.Context(), scan.Request, func(gate.Judgement) {})
	idle := g.Swap(newRig().setup())
	isIdle := func() bool {
		select {
		case <-idle:
			return true
		default:
			return false
		}
	}
	first.Finish("complete")
	stuck.Finish("aborted")
	if isIdle() {
		t.Error("idle while a scan of it is under way")
	}
	close(never)
	<-idle

	for range 100 { // in and out while it is swapped again and again
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() { g.Begin(t.Context(), gate.Head{}, "").Finish("complete") })
		}
		before := g.Swap(newRig().setup())
		all.Wait()
		<-before
	}
}

// Ids are short, safe to show and differ.
func TestIDs(t *testing.T) {
	r := newRig()
	g := gate.New(r.setup())
	word, seen := regexp.MustCompile(`^[0-9a-f]{16}$`), map[string]bool{}
	for range 1000 {
		x := g.Begin(t.Context(), gate.Head{}, "")
		if id := x.ID(); !word.MatchString(id) || seen[id] {
			t.Fatalf("id %q", id)
		}
		seen[x.ID()] = true
		x.Finish("over")
	}
}

// Both legs of one exchange are judged side by side.
func TestLegsDoNotWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		r.engines["av"] = engine(func(context.Context, scan.Object) (scan.Verdict, error) {
			time.Sleep(10 * time.Second)
			return scan.CleanVerdict(), nil
		})
		x := r.begin()
		begun := time.Now()
		done := make(chan gate.Judgement, 2)
		for _, leg := range []scan.Leg{scan.Request, scan.Response} {
			x.Plan(leg, gate.Head{ContentLength: -1}, true)
			x.Append(leg, []byte(strings.Repeat(leg.String(), 3)))
			x.Judge(t.Context(), leg, func(j gate.Judgement) { done <- j })
		}
		for range 2 {
			if j := <-done; j.Verdict.Outcome != scan.OutcomeClean {
				t.Errorf("judged %+v", j)
			}
		}
		if took := time.Since(begun); took != 10*time.Second {
			t.Errorf("both took %v", took)
		}
		x.Finish("complete")
		synctest.Wait()
		if diff := cmp.Diff([]int{1, 1}, r.store.closes()); diff != "" {
			t.Errorf("freed (-want +got)\n%s", diff)
		}
	})
}
