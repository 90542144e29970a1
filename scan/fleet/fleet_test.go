package fleet_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/fleet"
)

func TestNoInstance(t *testing.T) {
	if _, err := fleet.New("av", nil, fleet.Options{}); err == nil {
		t.Error("a fleet of nothing")
	}
}

// A broken instance costs nothing but the detour.
func TestFailover(t *testing.T) {
	for name, broken := range map[string]engine{"dead": dead, "dying": dying, "garbled": garbled, "busy": busy} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t, fleet.Options{}, broken, right)
			for i := range 4 {
				wantClean(t, f, object(fmt.Sprint(i)))
			}
			if n := f.Stats().Instances[1].Retries; n == 0 || n > 3 {
				t.Errorf("%d retries", n)
			}
		})
	}
	f := newFleet(t, fleet.Options{}, dead, dead)
	wantKind(t, f, object("fine"), scan.KindUnreachable)
}

// What is the content's, the caller's or the operator's to mend is not retried,
// and neither is anything by an instance that is alone.
func TestNoRetry(t *testing.T) {
	failing := func(kind scan.Kind) engine {
		return func(context.Context, scan.Object) (scan.Verdict, error) {
			return scan.Verdict{}, failure(kind, "no")
		}
	}
	for _, kind := range []scan.Kind{scan.KindTimeout, scan.KindCanceled, scan.KindRefused, scan.KindSpool, scan.KindInternal} {
		var asked atomic.Int32
		e := counting(&asked, failing(kind))
		wantKind(t, newFleet(t, fleet.Options{}, e, e, e), object("x"), kind)
		if asked.Load() != 1 {
			t.Errorf("%v: %d engines were asked", kind, asked.Load())
		}
	}
	var asked atomic.Int32
	for _, v := range []scan.Verdict{
		scan.InfectedVerdict("x"), {Outcome: scan.OutcomeUnscannable, Cause: scan.CauseTooLarge}, {Outcome: scan.OutcomePolicy},
	} {
		e := counting(&asked, func(context.Context, scan.Object) (scan.Verdict, error) { return v, nil })
		if got, err := newFleet(t, fleet.Options{}, e, e).Scan(t.Context(), object("x")); err != nil || got.Outcome != v.Outcome {
			t.Errorf("got %+v, %v, want %+v", got, err, v)
		}
	}
	wantKind(t, newFleet(t, fleet.Options{}, counting(&asked, dead)), object("x"), scan.KindUnreachable)
	if asked.Load() != 4 {
		t.Errorf("%d engines were asked, want 4", asked.Load())
	}
}

// There is no second try when it could not end in time.
func TestNoTimeToRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		e := func(ctx context.Context, o scan.Object) (scan.Verdict, error) {
			if broken.Load() {
				return dead(ctx, o)
			}
			return taking(time.Second)(ctx, o)
		}
		var asked atomic.Int32
		f := newFleet(t, fleet.Options{}, counting(&asked, e), counting(&asked, e))
		wantClean(t, f, object("fine"))
		broken.Store(true)
		for left, calls := range map[time.Duration]int32{900 * time.Millisecond: 1, 1100 * time.Millisecond: 2} {
			asked.Store(0)
			ctx, cancel := context.WithTimeout(t.Context(), left)
			if _, err := f.Scan(ctx, object("fine")); scan.KindOf(err) != scan.KindUnreachable {
				t.Error(err)
			}
			cancel()
			if asked.Load() != calls {
				t.Errorf("with %v left: %d engines asked, want %d", left, asked.Load(), calls)
			}
		}
	})
}

// F-22: when 30 % of the calls fail, an engine gets at most a tenth more of them.
func TestRetryBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked, turn atomic.Int32
		e := sparing(counting(&asked, func(ctx context.Context, o scan.Object) (scan.Verdict, error) {
			if turn.Add(1)%10 < 3 {
				return garbled(ctx, o)
			}
			return right(ctx, o)
		}))
		f := newFleet(t, fleet.Options{}, e, e, e)
		defer run(t, f)()
		synctest.Wait()
		const requests = 2000
		failed := 0
		for i := range requests {
			if v, err := f.Scan(t.Context(), object(fmt.Sprint(i))); err != nil {
				failed++
			} else if v.Outcome != scan.OutcomeClean {
				t.Fatalf("got %+v", v)
			}
			time.Sleep(5 * time.Millisecond)
		}
		if n := asked.Load(); n > requests+requests/10 || n < requests+requests/20 {
			t.Errorf("%d calls for %d requests", n, requests)
		}
		if failed == 0 || failed > requests*3/10 {
			t.Errorf("%d of %d requests failed", failed, requests)
		}
	})
}

// Results count each scan once, by what came of it.
func TestResults(t *testing.T) {
	f := newFleet(t, fleet.Options{}, garbled)
	wantKind(t, f, object("x"), scan.KindProtocol)
	wantKind(t, f, object("x"), scan.KindProtocol)
	f2 := newFleet(t, fleet.Options{}, right)
	wantClean(t, f2, object("x"))
	for i, want := range []map[string]uint64{{"protocol": 2}, {"verdict": 1}} {
		for _, r := range []*fleet.Fleet{f, f2}[i].Stats().Instances[0].Results {
			if r.Count != want[r.Name] || strings.Contains(r.Name, "(") {
				t.Errorf("%s: %d, want %d", r.Name, r.Count, want[r.Name])
			}
		}
	}
}

// An engine that panics frees its slot.
func TestPanic(t *testing.T) {
	f := newFleet(t, fleet.Options{MaxInFlight: 1}, func(context.Context, scan.Object) (scan.Verdict, error) { panic("ouch") })
	for range 3 {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic is lost")
				}
			}()
			_, _ = f.Scan(t.Context(), object("x"))
		}()
	}
	if n := f.Stats().Instances[0].InFlight; n != 0 {
		t.Errorf("%d in flight", n)
	}
}

// Whoever follows scans is told of every call of an instance, with what it
// answered, and of no probe.
func TestAsking(t *testing.T) {
	type key struct{}
	var told []string
	asking := func(ctx context.Context) (context.Context, func(scan.Verdict, error)) {
		return context.WithValue(ctx, key{}, true), func(v scan.Verdict, err error) {
			told = append(told, fmt.Sprintf("%v %v", v.Outcome, scan.KindOf(err)))
		}
	}
	followed := func(ctx context.Context, o scan.Object) (scan.Verdict, error) {
		if ctx.Value(key{}) == nil {
			t.Error("the instance was not asked in the follower's context")
		}
		return right(ctx, o)
	}
	f := newFleet(t, fleet.Options{Asking: asking}, dead, followed)
	for len(told) < 2 { // the first one asked may be the one that lives
		wantClean(t, f, object("fine"))
	}
	if got := strings.Join(told[len(told)-2:], ", "); got != "ERROR unreachable, CLEAN internal" {
		t.Errorf("told %s", got)
	}
	panics := newFleet(t, fleet.Options{Asking: asking}, func(context.Context, scan.Object) (scan.Verdict, error) { panic("x") })
	told = nil
	func() {
		defer func() { _ = recover() }()
		_, _ = panics.Scan(t.Context(), object("x"))
	}()
	if got := strings.Join(told, ", "); got != "ERROR internal" {
		t.Errorf("of a panic it was told %q", got)
	}
}
