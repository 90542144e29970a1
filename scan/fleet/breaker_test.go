package fleet_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/fleet"
)

// Five failures in a row take an instance out of use; while none is left, the
// answer comes at once, asks nobody and names the reason.
func TestBreakerOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		f := newFleet(t, fleet.Options{}, counting(&asked, dead))
		defer run(t, f)()
		synctest.Wait()
		for range 5 {
			wantKind(t, f, object("x"), scan.KindUnreachable)
		}
		if s := f.Stats().Instances[0]; !s.Open || s.Transitions != 1 || asked.Load() != 5 {
			t.Errorf("after 5 failures: %+v, %d asked", s, asked.Load())
		}
		began := time.Now()
		_, err := f.Scan(t.Context(), object("x"))
		if scan.KindOf(err) != scan.KindUnreachable || !strings.Contains(err.Error(), "refused") || time.Since(began) != 0 {
			t.Errorf("out of use: %v after %v", err, time.Since(began))
		}
		if asked.Load() != 5 {
			t.Errorf("%d asked", asked.Load())
		}
	})
}

// A verdict in between starts the count anew, but half of the scans failing is
// too many.
func TestBreakerOpensByShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newChanging(right)
		f := newFleet(t, fleet.Options{}, e.scan)
		for i := range 19 {
			e.set([]engine{dead, right}[i%2])
			_, _ = f.Scan(t.Context(), object("x"))
		}
		if f.Stats().Instances[0].Open {
			t.Fatal("open after 10 failures of 19")
		}
		time.Sleep(11 * time.Second) // those are forgotten
		for i := range 20 {
			e.set([]engine{right, dead}[i%2])
			_, _ = f.Scan(t.Context(), object("x"))
			if open := f.Stats().Instances[0].Open; open != (i == 19) {
				t.Fatalf("after %d scans: open %v", i+1, open)
			}
		}
	})
}

// F-19: all engines down for a minute at 200 requests a second. Each is answered
// at once, nothing queues, and the first scans pass within 5 s of the return.
func TestAllDown(t *testing.T) {
	for name, broken := range map[string]engine{"dead": dead, "black hole": func(ctx context.Context, _ scan.Object) (scan.Verdict, error) {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		<-ctx.Done()
		return scan.Verdict{}, failure(scan.KindUnreachable, "connect: time-out")
	}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newChanging(right)
				f := newFleet(t, fleet.Options{}, e.scan, e.scan, e.scan)
				defer run(t, f)()
				synctest.Wait()
				e.set(broken)
				var late, served atomic.Int32
				var requests sync.WaitGroup
				start := time.Now()
				request := func() {
					began := time.Now()
					_, err := f.Scan(t.Context(), object("x"))
					switch {
					case err == nil:
						served.Add(1)
					case scan.KindOf(err) != scan.KindUnreachable && scan.KindOf(err) != scan.KindOverload:
						t.Errorf("got %v", err)
					}
					// Those that found out are allowed their connect time-outs.
					if time.Since(began) >= 50*time.Millisecond && began.Sub(start) > 3*time.Second {
						late.Add(1)
					}
				}
				for range 60 * 200 {
					requests.Go(request)
					time.Sleep(5 * time.Millisecond)
				}
				if q := f.Stats().Queued; q != 0 {
					t.Errorf("%d in the queue", q)
				}
				requests.Wait()
				if late.Load() != 0 || served.Load() != 0 {
					t.Errorf("%d late answers, %d served", late.Load(), served.Load())
				}
				e.set(right)
				time.Sleep(5 * time.Second)
				for i := range 30 {
					wantClean(t, f, object(fmt.Sprint(i)))
				}
			})
		})
	}
}

// F-03: an engine that accepts and never answers is out of use after five scans,
// and back within 5 s of its return.
func TestHanging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newChanging(right)
		f := newFleet(t, fleet.Options{}, e.scan)
		defer run(t, f)()
		synctest.Wait()
		time.Sleep(time.Second)
		e.set(hanging)
		var scans sync.WaitGroup
		for range 5 {
			scans.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				if _, err := f.Scan(ctx, object("x")); scan.KindOf(err) != scan.KindTimeout {
					t.Errorf("got %v", err)
				}
			})
		}
		scans.Wait()
		began := time.Now()
		wantKind(t, f, object("x"), scan.KindUnreachable)
		if time.Since(began) != 0 {
			t.Errorf("answered after %v", time.Since(began))
		}
		e.set(right)
		time.Sleep(5 * time.Second)
		wantClean(t, f, object("x"))
	})
}

// Content that takes too long, and content that makes the engine stumble, must
// not put the last instance out of use: others would reach fail-open by it.
func TestContentDoesNotOpen(t *testing.T) {
	for name, bad := range map[string]engine{"bomb": sparing(hanging), "stumbles": sparing(garbled)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := func(ctx context.Context, o scan.Object) (scan.Verdict, error) {
					if o.Size > 10 {
						return bad(ctx, o)
					}
					return right(ctx, o)
				}
				f := newFleet(t, fleet.Options{}, e)
				defer run(t, f)()
				var scans sync.WaitGroup
				for i := range 9 {
					scans.Go(func() {
						ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
						defer cancel()
						_, _ = f.Scan(ctx, object(fmt.Sprint("a body that hurts ", i)))
					})
				}
				scans.Wait()
				if f.Stats().Instances[0].Open {
					t.Error("the instance is out of use")
				}
				wantClean(t, f, object("fine"))
			})
		})
	}
	// With others in use it is taken out.
	f := newFleet(t, fleet.Options{}, garbled, right)
	for i := range 40 {
		_, _ = f.Scan(t.Context(), object(fmt.Sprint(i)))
	}
	if s := f.Stats(); !s.Instances[0].Open || s.Instances[1].Open {
		t.Errorf("got %+v", s)
	}
}

// F-21: an engine that flaps every 2 s fails no more than its share, and its
// breaker changes at most once a second. The same when only canaries pass.
func TestFlapping(t *testing.T) {
	for name, broken := range map[string]engine{"all": dead, "all but canaries": sparing(dead)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newChanging(right)
				f := newFleet(t, fleet.Options{}, e.scan)
				defer run(t, f)()
				synctest.Wait()
				const seconds, rate = 60, 100
				failed := 0
				for i := range seconds * rate {
					e.set([]engine{right, broken}[i/(2*rate)%2])
					if _, err := f.Scan(t.Context(), object("x")); err != nil {
						failed++
					}
					time.Sleep(time.Second / rate)
				}
				// Half of the time it is down, and up to 2 s of each return go by before a probe.
				if failed > seconds*rate || f.Stats().Instances[0].Transitions > seconds {
					t.Errorf("%d failed, %d transitions", failed, f.Stats().Instances[0].Transitions)
				}
			})
		})
	}
	// Behind two steady ones it is not noticed but for the retry budget.
	synctest.Test(t, func(t *testing.T) {
		e := newChanging(right)
		f := newFleet(t, fleet.Options{}, right, e.scan, right)
		defer run(t, f)()
		synctest.Wait()
		failed := 0
		for i := range 6000 {
			e.set([]engine{right, dead}[i/200%2])
			if _, err := f.Scan(t.Context(), object("x")); err != nil {
				failed++
			}
			time.Sleep(10 * time.Millisecond)
		}
		if failed > 0 {
			t.Errorf("%d of 6000 failed", failed)
		}
	})
}

// Nobody probes for the command line: then a scan now and then is the trial.
func TestTrialWithoutProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		e := newChanging(dead)
		f := newFleet(t, fleet.Options{}, counting(&asked, e.scan))
		for range 1000 {
			wantKind(t, f, object("x"), scan.KindUnreachable)
			time.Sleep(10 * time.Millisecond)
		}
		if n := asked.Load(); n < 13 || n > 15 { // 5, then one every second
			t.Errorf("%d asked in 10 s", n)
		}
		e.set(right)
		time.Sleep(2 * time.Second)
		wantClean(t, f, object("x"))
		wantClean(t, f, object("x"))
		if s := f.Stats().Instances[0]; s.Open || s.Transitions != 2 {
			t.Errorf("got %+v", s)
		}
	})
}
